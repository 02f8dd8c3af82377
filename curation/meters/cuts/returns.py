"""What comes back to where it began is no transition: a car that passes, a hand before the lens, a
flash.

The network sees 32 frames back at most. What passes may take longer, so each candidate's pictures
before and after are compared, by the fingerprints that the pass keeps of every frame.
"""

import itertools

import numpy as np

from curation.meters.cuts.transitions import (
    CUT_THRESHOLD,
    GRADUAL_THRESHOLD,
    NEAR_FRAMES,
    Transition,
    gradual_runs,
    peaks,
)

LOOKS_FRAMES = 1, 6, 12
"""Distances from a run's ends at which pictures are compared: its ends are not sharp."""
FLASH_FRAMES = 5  # a flash or a lost frame lasts no longer; shorter than the shortest shot
CUT_FLOOR = 0.2  # lower scores of a cut are of no consequence
KEPT_SHARE = 0.75
"""Of the picture that must be the same: another car may be in the rest of it."""
MIN_CORRELATION = 0.98
MIN_SPREAD = 6.0
"""Standard deviation of 255: two flat pictures, black before a title and after, say nothing."""
MAX_DIFFERENCE = 16.0
"""Mean, of 255: a camera answers a bright thing that passes with its exposure."""
FLASH_MEAN, FLASH_MAX = 3.0, 16.0
"""Mean and greatest difference, of 255, of the pictures around a flash. A jump cut within a scene
changes some part more."""


def without_returns(scores: np.ndarray, fingerprints_TF: np.ndarray) -> np.ndarray:
    """The SCORE rows of a whole source, with 0 for candidates that lead nowhere.

    fingerprints_TF: uint8, as curation.video.picture.fingerprint makes them; zeros where unknown.
    """
    rows = scores.copy()
    hard = peaks(scores["cut"], CUT_THRESHOLD)
    for run in gradual_runs(scores["gradual"], GRADUAL_THRESHOLD, hard=hard):
        is_fade = scores["blank"][run.start : run.end].sum() > FLASH_FRAMES
        if is_fade:
            continue
        for piece, seen in pieces(run, hard, num_frames=len(scores)):
            if comes_back(piece, fingerprints_TF, seen=seen):
                rows["gradual"][piece.start : piece.end] = 0
    for t in np.flatnonzero(scores["cut"] >= CUT_FLOOR):
        if is_flash(int(t), fingerprints_TF):
            rows["cut"][t] = 0
    return rows


def pieces(
    run: Transition, hard: list[int], *, num_frames: int
) -> list[tuple[Transition, Transition]]:
    """The run divided at cuts, each piece with the stretch between cuts that it lies in."""
    edges = [0, *hard, num_frames]
    shots = [Transition(a, b) for a, b in itertools.pairwise(edges)]
    inside = [
        (Transition(max(run.start, shot.start), min(run.end, shot.end)), shot) for shot in shots
    ]
    return [(piece, shot) for piece, shot in inside if piece.start < piece.end]


def comes_back(run: Transition, fingerprints_TF: np.ndarray, *, seen: Transition) -> bool:
    """Whether a picture soon before the run is one soon after it, of those within `seen`."""
    before = {max(seen.start, run.start - n) for n in LOOKS_FRAMES}
    after = {min(seen.end - 1, run.end - 1 + n) for n in LOOKS_FRAMES}
    return any(is_same_place(fingerprints_TF[a], fingerprints_TF[b]) for a in before for b in after)


def is_same_place(a_F: np.ndarray, b_F: np.ndarray) -> bool:
    """Whether three quarters of two pictures are the same but for the light."""
    a, b = a_F.astype(np.float32), b_F.astype(np.float32)
    change = np.abs(a - b)
    kept = np.argsort(change)[: int(KEPT_SHARE * len(change))]
    a, b = a[kept], b[kept]
    if min(a.std(), b.std()) < MIN_SPREAD or change[kept].mean() > MAX_DIFFERENCE:
        return False
    return float(np.corrcoef(a, b)[0, 1]) > MIN_CORRELATION


def is_flash(t: int, fingerprints_TF: np.ndarray) -> bool:
    """Whether the pictures before and soon after the cut, or long before and after it, are one."""
    pairs = [(t - 1 - NEAR_FRAMES, t + n) for n in range(NEAR_FRAMES, FLASH_FRAMES + 1)]
    pairs += [(t - 1 - n, t + NEAR_FRAMES) for n in range(NEAR_FRAMES, FLASH_FRAMES + 1)]
    inside = [(a, b) for a, b in pairs if a >= 0 and b < len(fingerprints_TF)]
    for a, b in inside:
        change = np.abs(fingerprints_TF[a].astype(np.int16) - fingerprints_TF[b])
        if change.mean() < FLASH_MEAN and change.max() < FLASH_MAX:
            return True
    return False
