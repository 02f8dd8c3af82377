"""Where shots begin and end: a score per frame from the pass, transitions from the scores."""

from curation.meters.cuts.meter import Cuts
from curation.meters.cuts.network import weights_digest
from curation.meters.cuts.residual import RESIDUAL_WRITES, residual, residual_of_clip
from curation.meters.cuts.returns import without_returns
from curation.meters.cuts.scores import OVERLAP, REACH, SCORE, Detector
from curation.meters.cuts.transitions import Transition, transitions

__all__ = [
    "OVERLAP",
    "REACH",
    "RESIDUAL_WRITES",
    "SCORE",
    "Cuts",
    "Detector",
    "Transition",
    "residual",
    "residual_of_clip",
    "transitions",
    "weights_digest",
    "without_returns",
]
