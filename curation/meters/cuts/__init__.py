"""Where shots begin and end: a score per frame from the pass, transitions from the scores."""

from curation.meters.cuts.meter import Cuts
from curation.meters.cuts.residual import RESIDUAL_WRITES, residual, residual_of_clip
from curation.meters.cuts.scores import REACH, SCORE, Detector
from curation.meters.cuts.transitions import Transition, transitions

__all__ = [
    "REACH",
    "RESIDUAL_WRITES",
    "SCORE",
    "Cuts",
    "Detector",
    "Transition",
    "residual",
    "residual_of_clip",
    "transitions",
]
