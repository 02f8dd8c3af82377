"""The stretch of a source that a clip covers, and the rows of a meter that lie in it."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Span:
    """A clip's frames [start, end) and the seconds at which each begins and the last one ends."""

    start: int
    end: int
    edges_s: np.ndarray
    """(end - start + 1,) seconds."""

    @property
    def num_frames(self) -> int:
        return self.end - self.start

    def of(self, rows: np.ndarray) -> np.ndarray:
        """The rows, in order of their field `frame`, that lie in the span."""
        first, last = np.searchsorted(rows["frame"], [self.start, self.end])
        return rows[first:last]


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """[start, end) of each unbroken run of True."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(changes[0::2], changes[1::2], strict=True)]
