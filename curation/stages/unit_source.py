"""The source of a unit's clips, found again when `shard` cuts it."""

import contextlib
from pathlib import Path
from typing import Any

from curation import storage
from curation.video.cut import Reel, Window, open_reel


class UnitSource:
    """The source of a unit's clips: fetched and opened when the first clip needs it, once."""

    def __init__(self, clips: list[dict[str, Any]]) -> None:
        self.clips = clips
        self.stack = contextlib.ExitStack()
        self.local: Path | None = None
        self.opened: Reel | None = None

    def __enter__(self) -> "UnitSource":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.stack.close()

    def path(self, clip: dict[str, Any]) -> Path:
        """Raises SourceError where the file is gone or another one."""
        if self.local is None:
            if not storage.exists(clip["uri"]):
                raise storage.SourceError(storage.VANISHED, "the source file is gone")
            self.local = self.stack.enter_context(storage.local_copy(clip["uri"]))
        if self.local.stat().st_size != clip["num_bytes"]:
            raise storage.SourceError("source_changed", "the file is not the one that split read")
        return self.local

    def reel(self, clip: dict[str, Any]) -> Reel:
        path = self.path(clip)
        if self.opened is None:
            window = window_of(self.clips)
            self.opened = self.stack.enter_context(open_reel(path, window=window))
            if not stands_for_frames(self.opened, window, clip["video_num_frames"]):
                self.opened.packets = None
        return self.opened


def window_of(clips: list[dict[str, Any]]) -> Window:
    """The stretch between two known keyframes that holds all the clips; in a source that has none
    the whole of it.
    """
    first, last = clips[0]["start_frame"], max(clip["end_frame"] for clip in clips)
    points = clips[0]["division_points"] or []
    before = [point for point in points if point["frame"] <= first]
    after = [point for point in points if point["frame"] >= last]
    return Window(
        start_pts=before[-1]["pts"] if before else None,
        start_frame=before[-1]["frame"] if before else 0,
        end_pts=after[0]["pts"] if after else None,
        end_frame=after[0]["frame"] if after else None,
    )


def stands_for_frames(reel: Reel, window: Window, num_frames: int) -> bool:
    """Whether there are as many packets as split counted frames, so that ranks are indices."""
    expected = (num_frames if window.end_frame is None else window.end_frame) - window.start_frame
    return reel.packets is not None and reel.packets.num_frames == expected
