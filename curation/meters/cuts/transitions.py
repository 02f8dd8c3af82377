"""From scores to transitions: peaks are cuts, runs are gradual transitions."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

CUT_THRESHOLD = 0.5
GRADUAL_THRESHOLD = 0.5


@dataclass(frozen=True)
class Transition:
    """Frames [start, end) that belong to no shot; start == end is a hard cut before that frame."""

    start: int
    end: int

    @property
    def kind(self) -> Literal["cut", "gradual"]:
        return "cut" if self.start == self.end else "gradual"


def transitions(
    scores: np.ndarray,
    *,
    threshold: float | None,
    gradual_threshold: float | None,
    min_shot_frames: int,
) -> list[Transition]:
    """In order of time, not overlapping; a hard cut inside a gradual transition is part of it.

    scores: SCORE rows of a whole source. A threshold of None is the default.
    """
    cut = CUT_THRESHOLD if threshold is None else threshold
    gradual = GRADUAL_THRESHOLD if gradual_threshold is None else gradual_threshold
    hard = [Transition(int(t), int(t)) for t in np.flatnonzero(scores["cut"] >= cut) if t]
    return join(
        runs(scores["gradual"] >= gradual),
        hard,
        num_frames=len(scores),
        min_shot_frames=min_shot_frames,
    )


def runs(inside: np.ndarray) -> list[Transition]:
    """The stretches in which a boolean array is true."""
    changes = np.flatnonzero(np.diff(np.concatenate([[0], inside.astype(np.int8), [0]])))
    return [Transition(int(a), int(b)) for a, b in zip(changes[0::2], changes[1::2], strict=True)]


def join(
    gradual: list[Transition], hard: list[Transition], *, num_frames: int, min_shot_frames: int
) -> list[Transition]:
    """All transitions in order. What lies within min_shot_frames of a gradual one is part of it.

    A dissolve's first and last frames hardly differ from the shot's own, and a cut reported inside
    it is its effect.
    """
    spans = []
    for g in gradual:
        start = g.start if g.start >= min_shot_frames else 0
        end = g.end if num_frames - g.end >= min_shot_frames else num_frames
        if spans and start - spans[-1].end < min_shot_frames:
            start = spans.pop().start
        spans.append(Transition(start, end))
    for i, g in enumerate(spans):
        near = [
            c.start for c in hard if g.start - min_shot_frames < c.start < g.end + min_shot_frames
        ]
        spans[i] = Transition(min([g.start, *near]), max([g.end, *near]))
    apart = [c for c in hard if not any(g.start <= c.start <= g.end for g in spans)]
    return sorted(spans + apart, key=lambda t: t.start)
