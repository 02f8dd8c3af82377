"""Pictures of each clip for later models and pages, kept from the one pass.

The cuts are known only after it, so a picture is kept as JPEG every two seconds, and three frames
after every sudden change, which may be a cut (25 KB each: about 60 MB for an hour). A clip gets up
to three of them.
"""

from bisect import bisect_left
from typing import Any

import numpy as np

from curation.video.decode import DecodePass, frames_at, turn
from curation.video.open import Source
from curation.video.picture import Picture, jpeg

POSITIONS = (0.1, 0.5, 0.9)
SAMPLES_PER_S = 0.5
SUDDEN_CHANGE = 8.0  # of 255: a mean change that may be a cut
SUDDEN_RATIO = 2.0  # ... when it is this much larger than the one before; else it is motion
FRAMES_AFTER_CUT = 3  # by then a transition between fields or a short fade is over


class Thumbs:
    """Fed every frame of a segment once; `jpegs` by frame afterwards."""

    def __init__(self, decode: DecodePass) -> None:
        self.decode = decode
        self.jpegs: dict[int, bytes] = {}
        self.changed = -1

    def update(self, picture: Picture) -> None:
        if picture.change > SUDDEN_CHANGE and picture.before is not None:
            if picture.change > SUDDEN_RATIO * picture.before.change:
                self.changed = picture.index
        if picture.begins(SAMPLES_PER_S) or picture.index == self.changed + FRAMES_AFTER_CUT:
            self.jpegs[picture.index] = jpeg(
                picture.frame, display=self.decode.display_size(), rotation=self.decode.rotation
            )


def choose(frames: list[int], clip: dict[str, Any]) -> list[int]:
    """Of the frames with a picture, in order, up to three of a clip: those nearest to a tenth, half
    and nine tenths of its length.
    """
    first, last = clip["start_frame"], clip["end_frame"] - 1
    inside = frames[bisect_left(frames, first) : bisect_left(frames, last + 1)]
    targets = [first + position * (last - first) for position in POSITIONS]
    return sorted({min(inside, key=lambda f: (abs(f - t), f)) for t in targets if inside})


def rows(
    clip: dict[str, Any],
    chosen: list[int],
    jpegs: dict[int, bytes],
    *,
    times_s: np.ndarray | dict[int, float],
) -> list[dict[str, Any]]:
    """The clip's rows of the table keyframes."""
    first, last = clip["start_frame"], clip["end_frame"] - 1
    return [
        {
            "clip_id": clip["clip_id"],
            "position": (frame - first) / max(1, last - first),
            "frame": frame,
            "time_s": float(times_s[frame]),
            "jpeg": jpegs[frame],
        }
        for frame in chosen
        if frame in jpegs
    ]


def look_again(
    source: Source, frames: list[int], *, times_s: np.ndarray, display: tuple[int, int]
) -> tuple[dict[int, bytes], int]:
    """(JPEGs of frames that the pass kept none of, frames decoded for them): one seek, and the
    whole stream only where that does not lead to them.
    """
    times = {float(times_s[frame]): frame for frame in frames}
    pictures, decoded = frames_at(source, list(times))
    found = {times[time_s]: picture for time_s, picture in pictures.items()}
    missing = set(frames) - set(found)
    for frame in DecodePass(source) if missing else ():
        decoded += 1
        if frame.index in missing:
            found[frame.index] = frame.picture
        if frame.index >= max(missing):
            break
    return {
        frame: jpeg(picture, display=display, rotation=turn(picture))
        for frame, picture in found.items()
    }, decoded
