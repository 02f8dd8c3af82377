"""Pictures of each clip for later models and pages, kept from the one pass.

The cuts are known only at its end, so a picture is kept as JPEG twice a second, and three frames
after every change that may be a cut (30 KB each: about 200 MB for an hour). A clip gets up to three
of them.
"""

from bisect import bisect_left
from pathlib import Path
from typing import Any

import numpy as np

from curation.meters.freeze import mean_difference
from curation.video.decode import DecodePass, Frame, frames_at
from curation.video.picture import jpeg

POSITIONS = (0.1, 0.5, 0.9)
SAMPLES_PER_S = 2.0
CUT_CHANGE = 8.0  # of 255: a mean change that may be a cut
FRAMES_AFTER_CUT = 3  # by then a transition between fields or a short fade is over


class Keyframes:
    """Fed every frame once; `rows` of a clip afterwards."""

    def __init__(self) -> None:
        self.jpegs: dict[int, bytes] = {}
        self.due_s = float("-inf")
        self.before: np.ndarray | None = None
        self.decoded_frames = 0
        """Frames that had to be decoded a second time."""

    def update(self, frame: Frame, luma_HW: np.ndarray, decode: DecodePass) -> None:
        before, self.before = self.before, luma_HW
        if before is not None and mean_difference(before, luma_HW) > CUT_CHANGE:
            soon_s = frame.time_s + FRAMES_AFTER_CUT * decode.last_duration_s
            self.due_s = min(self.due_s, soon_s)
        if frame.time_s >= self.due_s:
            self.due_s = frame.time_s + 1 / SAMPLES_PER_S
            self._keep(frame, decode)

    def complete(self, path: str | Path, clips: list[dict[str, Any]], decode: DecodePass) -> None:
        """A picture for each clip too short to have one, by a second and counted look at the
        source.
        """
        kept = sorted(self.jpegs)
        middles = [
            (clip["start_frame"] + clip["end_frame"] - 1) // 2
            for clip in clips
            if not _inside(kept, clip)
        ]
        if not middles:
            return
        times = {decode.times_s[index]: index for index in middles}
        found, self.decoded_frames = frames_at(path, list(times))
        for time_s, picture in found.items():
            self._keep(Frame(times[time_s], time_s, picture), decode)
        missing = set(middles) - set(self.jpegs)
        again = DecodePass(path)
        for frame in again if missing else ():
            self.decoded_frames += 1
            if frame.index in missing:
                self._keep(frame, again)
            if frame.index >= max(missing):
                return

    def _keep(self, frame: Frame, decode: DecodePass) -> None:
        size = decode.display_size()
        self.jpegs[frame.index] = jpeg(frame.picture, display=size, rotation=decode.rotation)

    def rows(self, clip: dict[str, Any], *, edges_s: np.ndarray) -> list[dict[str, Any]]:
        """Up to three pictures of a clip, those nearest to a tenth, half and nine tenths of its
        length.
        """
        first, last = clip["start_frame"], clip["end_frame"] - 1
        inside = _inside(sorted(self.jpegs), clip)
        targets = [first + position * (last - first) for position in POSITIONS]
        chosen = sorted({min(inside, key=lambda f: (abs(f - target), f)) for target in targets})
        return [
            {
                "clip_id": clip["clip_id"],
                "position": (frame - first) / max(1, last - first),
                "frame": frame,
                "time_s": float(edges_s[frame]),
                "jpeg": self.jpegs[frame],
            }
            for frame in chosen
        ]


def _inside(frames: list[int], clip: dict[str, Any]) -> list[int]:
    return frames[bisect_left(frames, clip["start_frame"]) : bisect_left(frames, clip["end_frame"])]
