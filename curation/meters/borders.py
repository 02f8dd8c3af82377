"""Letterbox and pillarbox: black bars that stay over the whole clip.

A row or column belongs to a bar when its brightest pixel stays below 24 of 255 (FFmpeg's cropdetect
limit) in every frame of the clip that is not black itself. Rows are 1/72 of a 16:9 picture, so
thinner bars are not seen.
"""

from typing import Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa

from curation.meters.span import Span
from curation.video.picture import Picture

BAR_LUMA = 24


class Borders:
    writes: ClassVar[pa.Schema] = pa.schema(
        {
            "border_pct": pa.float32(),
            "border_top_pct": pa.float32(),
            "border_bottom_pct": pa.float32(),
            "border_left_pct": pa.float32(),
            "border_right_pct": pa.float32(),
        }
    )

    def __init__(self) -> None:
        self.rows: list[np.ndarray] = []
        self.columns: list[np.ndarray] = []

    def update(self, picture: Picture) -> None:
        self.rows.append(cv2.reduce(picture.luma, 1, cv2.REDUCE_MAX).ravel())
        self.columns.append(cv2.reduce(picture.luma, 0, cv2.REDUCE_MAX).ravel())

    def clip(self, span: Span) -> dict[str, Any]:
        frames = slice(span.start, span.end)
        top, bottom = bars(np.max(self.rows[frames], axis=0))
        left, right = bars(np.max(self.columns[frames], axis=0))
        return {
            "border_pct": 100 * (1 - (1 - top - bottom) * (1 - left - right)),
            "border_top_pct": 100 * top,
            "border_bottom_pct": 100 * bottom,
            "border_left_pct": 100 * left,
            "border_right_pct": 100 * right,
        }


def bars(brightest: np.ndarray) -> tuple[float, float]:
    """Shares (0-1) of a line of brightest-ever pixels that are bar at its start and at its end.

    A line that is dark all over is a black clip, not a bar: (0, 0).
    """
    lit = np.flatnonzero(brightest >= BAR_LUMA)
    if not len(lit):
        return 0.0, 0.0
    return float(lit[0]) / len(brightest), float(len(brightest) - 1 - lit[-1]) / len(brightest)
