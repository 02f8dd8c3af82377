"""From scores to transitions: peaks are cuts, runs are gradual transitions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from curation.meters.span import runs

CUT_THRESHOLD = 0.6
GRADUAL_THRESHOLD = 0.6
"""On composed films of sources held out from training F1 of cuts rises from 0.5 to 0.8 (0.89 to
0.92), but these films hold far more flashes, passers-by and damage than footage does."""
LOW = 0.4  # of the gradual threshold: a run goes on for as long as the score stays above this part
GAP_FRAMES = 3  # runs closer than this with no cut between are one
SHORT_FRAMES = 4  # a gradual run as short as this around a cut is the cut's own
NEAR_FRAMES = 2  # cuts closer than this to a stronger one are its shadow


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
    hard = peaks(scores["cut"], CUT_THRESHOLD if threshold is None else threshold)
    level = GRADUAL_THRESHOLD if gradual_threshold is None else gradual_threshold
    blank = scores["blank"]
    spans = gradual_runs(np.where(blank, 0, scores["gradual"]), level, hard=hard)
    spans = [s for s in spans if s.end - s.start > SHORT_FRAMES or not _touches(s, hard)]
    spans = through_blank(spans, blank)
    kept = [c for c in hard if blank[c] != blank[c - 1]]  # into or out of black beside a fade
    spans = [_clipped(s, kept) for s in spans]
    joined = join(
        spans,
        [Transition(c, c) for c in hard if c not in kept],
        num_frames=len(scores),
        min_shot_frames=min_shot_frames,
        cuts_kept=kept,
    )
    return apart(joined, scores["cut"], min_shot_frames=min_shot_frames)


def peaks(score_T: np.ndarray, threshold: float) -> list[int]:
    """Frames after the first whose score is the highest around and reaches the threshold."""
    found: list[int] = []
    for t in np.flatnonzero(score_T >= threshold):
        if t == 0:
            continue
        if found and t - found[-1] <= NEAR_FRAMES:
            if score_T[t] > score_T[found[-1]]:
                found[-1] = int(t)
            continue
        found.append(int(t))
    return found


def gradual_runs(score_T: np.ndarray, threshold: float, *, hard: list[int]) -> list[Transition]:
    """Stretches above the low threshold that somewhere reach the high one, small gaps closed."""
    found: list[Transition] = []
    for run in stretches(score_T >= LOW * threshold):
        if score_T[run.start : run.end].max() < threshold:
            continue
        gap = run.start - found[-1].end if found else GAP_FRAMES + 1
        if gap <= GAP_FRAMES and not any(found[-1].end <= c <= run.start for c in hard):
            run = Transition(found.pop().start, run.end)
        found.append(run)
    return found


def _touches(span: Transition, hard: list[int]) -> bool:
    return any(span.start - NEAR_FRAMES <= c <= span.end + NEAR_FRAMES for c in hard)


def through_blank(spans: list[Transition], blank_T: np.ndarray) -> list[Transition]:
    """A fade goes on through the blank frames that it leads to or comes from."""
    inside = np.zeros(len(blank_T), bool)
    for s in spans:
        inside[s.start : s.end] = True
    for run in stretches(blank_T):
        near = slice(max(0, run.start - NEAR_FRAMES), run.end + NEAR_FRAMES)
        if inside[near].any():
            inside[run.start : run.end] = True
            first, last = (int(t) for t in np.flatnonzero(inside[near])[[0, -1]])
            inside[near.start + first : near.start + last] = True
    return stretches(inside)


def _clipped(span: Transition, kept: list[int]) -> Transition:
    """The span between cuts near its ends, which are transitions of their own."""
    start, end = span.start, span.end
    for c in kept:
        if abs(c - start) <= NEAR_FRAMES:
            start = c
        if abs(c - end) <= NEAR_FRAMES:
            end = c
    return Transition(start, end) if end > start else span


def stretches(inside: np.ndarray) -> list[Transition]:
    """The stretches in which a boolean array is true."""
    return [Transition(start, end) for start, end in runs(inside)]


def join(
    gradual: list[Transition],
    hard: list[Transition],
    *,
    num_frames: int,
    min_shot_frames: int,
    cuts_kept: Sequence[int] = (),
) -> list[Transition]:
    """All transitions in order. What lies within min_shot_frames of a gradual one is part of it.

    A dissolve's first and last frames hardly differ from the shot's own, and a cut reported inside
    it is its effect. cuts_kept are cuts all the same: a cut into black from which a fade leads out.
    """
    spans: list[Transition] = []
    for g in gradual:
        start = g.start if g.start >= min_shot_frames else 0
        end = g.end if num_frames - g.end >= min_shot_frames else num_frames
        kept_between = any(spans and spans[-1].end <= c <= start for c in cuts_kept)
        if spans and start - spans[-1].end < min_shot_frames and not kept_between:
            start = spans.pop().start
        spans.append(Transition(start, end))
    for i, g in enumerate(spans):
        near = [
            c.start for c in hard if g.start - min_shot_frames < c.start < g.end + min_shot_frames
        ]
        spans[i] = Transition(min([g.start, *near]), max([g.end, *near]))
    lone = [c for c in hard if not any(g.start <= c.start <= g.end for g in spans)]
    lone += [Transition(c, c) for c in cuts_kept if not any(g.start < c < g.end for g in spans)]
    return sorted(spans + lone, key=lambda t: (t.start, t.end))


def apart(
    found: list[Transition], score_T: np.ndarray, *, min_shot_frames: int
) -> list[Transition]:
    """Of two hard cuts nearer than min_shot_frames the stronger one."""
    kept: list[Transition] = []
    for t in found:
        if kept and t.kind == kept[-1].kind == "cut" and t.start - kept[-1].start < min_shot_frames:
            if score_T[t.start] > score_T[kept[-1].start]:
                kept[-1] = t
            continue
        kept.append(t)
    return kept
