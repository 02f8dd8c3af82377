"""Pictures of each clip for later models and pages, kept from the one pass.

The cuts are known only after it, so a picture is kept as JPEG once a second, and three frames after
every sudden change, which may be a cut (25 KB each: about 100 MB for an hour). A clip gets up to
three of them.
"""

import math
from bisect import bisect_left
from typing import Any

import numpy as np

from curation.video.decode import DecodePass, frames_at, turn
from curation.video.open import Source
from curation.video.picture import Picture, jpeg

POSITIONS = (0.1, 0.5, 0.9)
SAMPLES_PER_S = 1.0
SUDDEN_CHANGE = 8.0  # of 255: a mean change that may be a cut
SUDDEN_RATIO = 2.0  # ... when it is this much larger than the one before; else it is motion
NEAR_S = 2.0  # a seek decodes half a group of pictures for nothing, 1 to 5 s
FRAMES_AFTER_CUT = 3  # by then a transition between fields or a short fade is over


class Thumbs:
    """Fed every frame of a segment once; `jpegs` by frame afterwards."""

    def __init__(self, decode: DecodePass) -> None:
        self.decode = decode
        self.jpegs: dict[int, bytes] = {}
        self.changed = -math.inf

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
    """(JPEGs of frames that the pass kept none of, frames decoded for them): a seek for those that
    lie near each other, and the whole stream only where that does not lead to them.
    """
    decoded = 0
    jpegs: dict[int, bytes] = {}
    groups: list[dict[float, int]] = []
    for frame in sorted(frames):
        time_s = float(times_s[frame])
        if groups and time_s - max(groups[-1]) < NEAR_S:
            groups[-1][time_s] = frame
        else:
            groups.append({time_s: frame})
    for times in groups:
        pictures, looked_at = frames_at(source, list(times))
        decoded += looked_at
        for time_s, picture in pictures.items():
            jpegs[times[time_s]] = jpeg(picture, display=display, rotation=turn(picture))
    missing = set(frames) - set(jpegs)
    for frame in DecodePass(source) if missing else ():
        decoded += 1
        if frame.index in missing:
            picture = frame.picture
            jpegs[frame.index] = jpeg(picture, display=display, rotation=turn(picture))
        if frame.index >= max(missing):
            break
    return jpegs, decoded
