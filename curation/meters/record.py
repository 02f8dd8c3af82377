"""What the meters say of each frame, collected over a segment and joined over a source's
segments.
"""

from typing import Any

import numpy as np

FRAME = ("frame", "i8")


class Log:
    """The rows of one meter: (frame, its record) for the frames that it looked at."""

    def __init__(self, meter: Any) -> None:
        self.meter = meter
        self.rows: list[tuple[Any, ...]] = []

    def update(self, picture: Any) -> None:
        row = self.meter.update(picture)
        if row is not None:
            self.rows.append((picture.index, *row))

    def array(self) -> np.ndarray:
        return np.array(self.rows, dtype=row_dtype(self.meter))


def row_dtype(meter: Any) -> np.dtype:
    """The meter's record with the frame in front."""
    return np.dtype([FRAME, *meter.record.descr])


def between(rows: np.ndarray, *, start: int, end: int, offset: int) -> np.ndarray:
    """Rows of the frames [start, end), their frames moved by offset."""
    first, last = np.searchsorted(rows["frame"], [start, end])
    part = rows[first:last].copy()
    part["frame"] += offset
    return part
