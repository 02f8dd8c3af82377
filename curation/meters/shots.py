"""From transitions to clips: the frames between them, long shots divided."""

from dataclasses import dataclass

import numpy as np

from curation.meters.cuts import Transition


@dataclass(frozen=True)
class Piece:
    """Frames [start, end) and what bounds them."""

    start: int
    end: int
    transition_in: str
    transition_out: str


def shots_between(transitions: list[Transition], *, num_frames: int) -> list[Piece]:
    """The frames between transitions; those inside a gradual one belong to no shot."""
    ins = [(0, "edge"), *((t.end, t.kind) for t in transitions)]
    outs = [*((t.start, t.kind) for t in transitions), (num_frames, "edge")]
    return [
        Piece(start, end, kind_in, kind_out)
        for (start, kind_in), (end, kind_out) in zip(ins, outs, strict=True)
        if end > start
    ]


def divide(shot: Piece, *, edges_s: np.ndarray, max_s: float) -> list[Piece]:
    """Near-equal pieces of at most max_s seconds, divided at the frames nearest to equal times.

    A single frame that is shown for longer is a piece of its own.
    """
    parts = max(1, int(np.ceil((edges_s[shot.end] - edges_s[shot.start]) / max_s - 1e-6)))
    bounds = _equal_bounds(shot, edges_s, parts)
    if _too_long(bounds, edges_s, max_s):
        bounds = _equal_bounds(shot, edges_s, parts + 1)  # rounding to a frame made one too long
    while long := _too_long(bounds, edges_s, max_s):  # the frame rate varies: halve what is left
        halves = [_nearest_frame(edges_s, a, b, (edges_s[a] + edges_s[b]) / 2) for a, b in long]
        bounds = sorted({*bounds, *halves})
    ins = [shot.transition_in, *["division"] * (len(bounds) - 2)]
    outs = [*["division"] * (len(bounds) - 2), shot.transition_out]
    return [Piece(a, b, i, o) for a, b, i, o in zip(bounds, bounds[1:], ins, outs, strict=False)]


def _equal_bounds(shot: Piece, edges_s: np.ndarray, parts: int) -> list[int]:
    times = np.linspace(edges_s[shot.start], edges_s[shot.end], parts + 1)[1:-1]
    if shot.end - shot.start == 1:
        return [shot.start, shot.end]
    inner = {_nearest_frame(edges_s, shot.start, shot.end, time_s) for time_s in times}
    return sorted({shot.start, *inner, shot.end})


def _nearest_frame(edges_s: np.ndarray, start: int, end: int, time_s: float) -> int:
    """The frame after start and before end that begins nearest to a time."""
    return start + 1 + int(np.abs(edges_s[start + 1 : end] - time_s).argmin())


def _too_long(bounds: list[int], edges_s: np.ndarray, max_s: float) -> list[tuple[int, int]]:
    pieces = zip(bounds, bounds[1:], strict=False)
    return [(a, b) for a, b in pieces if b - a > 1 and edges_s[b] - edges_s[a] > max_s + 1e-6]
