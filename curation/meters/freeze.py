"""Frozen pictures and repeated frames.

A frame is frozen when it differs from the one before by at most 0.1 % of full scale on average,
FFmpeg's freezedetect at its default of -60 dB: below what any camera's noise gives, above what
re-encoding a repeated frame leaves.

A duplicate is a repeat inside a picture that goes on moving: film shown at a video rate (24 -> 30
repeats every fifth frame, 25 -> 30 every sixth), animation drawn on twos, a stuttering capture.
Coarse coding leaves some difference in a repeat, so that it is told by changing far less than the
frames around it.
"""

from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from curation.meters.span import Span, runs
from curation.video.picture import Picture

NOISE = 0.001 * 255
REPEAT_CHANGE = 0.2  # of the change of the moving frames around it
AROUND_FRAMES = 6  # to each side: two cadences of film at a video rate
LONGEST_REPEAT_FRAMES = 4  # shown five times: 5 drawings a second at 25; longer is a freeze
CADENCE_FRAMES = 30  # the longest period looked for: one repeat a second
CADENCE_REPEATS = 4  # fewer repeats have no period
CADENCE_AGREEMENT = 0.75  # of the repeats have another one a period on


class Freeze:
    """From each frame's mean luma difference to the frame before, of 255."""

    record: ClassVar[np.dtype] = np.dtype([("change", "f4")])
    writes: ClassVar[pa.Schema] = pa.schema(
        {
            "frozen_pct": pa.float32(),
            "longest_freeze_s": pa.float32(),
            "duplicate_frames_pct": pa.float32(),
            "duplicate_period_frames": pa.int32(),  # null where duplicates come without a cadence
        }
    )

    def update(self, picture: Picture) -> tuple:
        return (picture.change,)

    @staticmethod
    def clip(rows: np.ndarray, span: Span) -> dict[str, Any]:
        change = rows["change"][rows["frame"] > span.start]  # the first frame has no one before it
        if not len(change):
            return dict.fromkeys(Freeze.writes.names)
        frozen = change <= NOISE
        duplicate = duplicates(change)
        return {
            "frozen_pct": 100 * float(frozen.mean()),
            "longest_freeze_s": longest_run_s(frozen, edges_s=span.edges_s[1:]),
            "duplicate_frames_pct": 100 * float(duplicate.mean()),
            "duplicate_period_frames": period_frames(duplicate),
        }


def duplicates(change: np.ndarray) -> np.ndarray:
    """Whether each frame repeats the one before while the picture around it moves, from the
    changes.
    """
    around = np.lib.stride_tricks.sliding_window_view(
        np.pad(change, AROUND_FRAMES, mode="reflect" if len(change) > AROUND_FRAMES else "edge"),
        2 * AROUND_FRAMES + 1,
    )
    moving = np.quantile(around, 0.8, axis=1)  # animation on fives has one moving frame in five
    repeat = (change <= REPEAT_CHANGE * moving) & (moving > NOISE)
    for start, end in runs(repeat | (change <= NOISE)):
        if end - start > LONGEST_REPEAT_FRAMES:
            repeat[start:end] = False
    return repeat


def period_frames(duplicate: np.ndarray) -> int | None:
    """The shortest distance at which duplicates recur, in frames; None where they do not."""
    for period in range(2, min(CADENCE_FRAMES, len(duplicate) // 3) + 1):
        now, later = duplicate[:-period], duplicate[period:]
        if np.count_nonzero(now & later) >= max(
            CADENCE_REPEATS - 1, CADENCE_AGREEMENT * np.count_nonzero(now | later)
        ):
            return period
    return None


def longest_run_s(frozen: np.ndarray, *, edges_s: np.ndarray) -> float:
    """Seconds of the longest unbroken run of True; edges_s has one entry more than frozen."""
    return max((float(edges_s[end] - edges_s[start]) for start, end in runs(frozen)), default=0.0)
