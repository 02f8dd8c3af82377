"""Arrays whose rows come in runs, end to end."""

from collections.abc import Iterator

import numpy as np

CHUNK = 1 << 18  # looks compared at a time: stays in the cache


def first_of_each(*sorted_columns: np.ndarray) -> np.ndarray:
    new = np.zeros(len(sorted_columns[0]), dtype=bool)
    new[:1] = True
    for column in sorted_columns:
        new[1:] |= column[1:] != column[:-1]
    return new


def stretches(upto: np.ndarray) -> Iterator[tuple[int, int]]:
    """[start, end) of rows that hold about CHUNK positions together, from the running sum."""
    start = 0
    while start < len(upto):
        before = upto[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(upto, before + CHUNK, side="right")))
        yield start, end
        start = end


def spread(first: np.ndarray, n: np.ndarray, *, step: int = 1) -> np.ndarray:
    inside = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    return np.repeat(first, n) + step * inside


def sums(values: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Sum of each run of n values."""
    total = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
    ends = np.cumsum(n)
    return total[ends] - total[ends - n]
