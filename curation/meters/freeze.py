"""Frozen pictures: frames that repeat the one before.

A frame is frozen when it differs from the one before by at most 0.1 % of full scale on average,
FFmpeg's freezedetect at its default of -60 dB: below what any camera's noise gives, above what
re-encoding a repeated frame leaves.
"""

from typing import Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa

from curation.meters.span import Span
from curation.video.picture import Picture

NOISE = 0.001 * 255


class Freeze:
    writes: ClassVar[pa.Schema] = pa.schema(
        {"frozen_pct": pa.float32(), "longest_freeze_s": pa.float32()}
    )

    def __init__(self) -> None:
        self.before: np.ndarray | None = None
        self.frozen: list[bool] = []

    def update(self, picture: Picture) -> None:
        before, self.before = self.before, picture.luma
        self.frozen.append(before is not None and mean_difference(before, picture.luma) <= NOISE)

    def clip(self, span: Span) -> dict[str, Any]:
        frozen = np.array(
            self.frozen[span.start + 1 : span.end]
        )  # the first frame has no one before it
        if not len(frozen):
            return {"frozen_pct": None, "longest_freeze_s": None}
        return {
            "frozen_pct": 100 * float(frozen.mean()),
            "longest_freeze_s": longest_run_s(frozen, edges_s=span.edges_s[1:]),
        }


def mean_difference(a_HW: np.ndarray, b_HW: np.ndarray) -> float:
    return cv2.norm(a_HW, b_HW, cv2.NORM_L1) / a_HW.size


def longest_run_s(frozen: np.ndarray, *, edges_s: np.ndarray) -> float:
    """Seconds of the longest unbroken run of True; edges_s has one entry more than frozen."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], frozen, [False]]).astype(np.int8)))
    starts, ends = changes[0::2], changes[1::2]
    return float(max((edges_s[ends] - edges_s[starts]), default=0.0))
