"""Whether a clip still holds a transition inside.

A score below the threshold left no transition, but the higher it is the likelier the clip is two
shots after all. The column is for a rule of `filter`; the same number can be had from the decoded
frames of a clip that was cut already.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from curation.meters.cuts.meter import Cuts
from curation.video.picture import Picture

RESIDUAL_WRITES = pa.schema({"residual_cut_score": pa.float32()})
"""0..1: the highest score of a transition strictly inside the clip; null for a single frame."""


def residual(scores: np.ndarray, start: int, end: int) -> dict[str, Any]:
    """Columns of the clip of frames [start, end) from the SCORE rows of its whole source.

    The cut before the clip's own first frame is no part of it.
    """
    inside = scores[start + 1 : end]
    if not len(inside):
        return {"residual_cut_score": None}
    worst = max(float(inside["cut"].max()), float(inside["gradual"].max()))
    return {"residual_cut_score": worst}


def residual_of_clip(pictures: Iterable[Picture]) -> float:
    """The same number from all decoded pictures of a cut clip, in order; 0 for a single one."""
    cuts = Cuts(detector="network")
    for picture in pictures:
        cuts.update(picture)
    scores = cuts.scores()
    return residual(scores, 0, len(scores))["residual_cut_score"] or 0.0
