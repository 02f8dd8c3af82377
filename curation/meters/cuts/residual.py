"""Whether a clip still holds a transition inside."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from curation.meters.cuts.meter import Cuts
from curation.video.picture import Picture

RESIDUAL_WRITES = pa.schema({"residual_cut_score": pa.float32()})
"""0..1: the highest score of a transition strictly inside the clip."""


def residual(scores: np.ndarray, start: int, end: int) -> dict[str, Any]:
    """Columns of the clip of frames [start, end) from the SCORE rows of its whole source."""
    inside = scores[start:end]
    if len(inside) < 2:
        return {"residual_cut_score": 0.0}
    worst = max(float(inside["cut"][1:].max()), float(inside["gradual"].max()))
    return {"residual_cut_score": worst}


def residual_of_clip(pictures: Sequence[Picture]) -> float:
    """The same number from all decoded pictures of a cut clip, in order."""
    cuts = Cuts(detector="network")
    for picture in pictures:
        cuts.update(picture)
    return residual(cuts.scores(), 0, len(pictures))["residual_cut_score"]
