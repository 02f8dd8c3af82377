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
from curation.meters.cuts.returns import without_returns
from curation.meters.cuts.transitions import NEAR_FRAMES, SHORT_FRAMES
from curation.video.picture import Picture, fingerprint

RESIDUAL_WRITES = pa.schema({"residual_cut_score": pa.float32()})
"""0..1: the highest score of a transition strictly inside the clip; null for a single frame."""


def residual(scores: np.ndarray, start: int, end: int) -> dict[str, Any]:
    """Columns of the clip of frames [start, end) from the SCORE rows of its whole source.

    The cut before the clip's own first frame is no part of it, nor is the shadow that a transition
    at the clip's beginning or end throws on the frames beside it.
    """
    if end - start < 2:
        return {"residual_cut_score": None}
    worst = 0.0
    for name, shadow in (("cut", NEAR_FRAMES), ("gradual", SHORT_FRAMES)):
        first = start + 1 + (shadow if start > 0 else 0)
        last = end - (shadow if end < len(scores) else 0)
        worst = max(worst, *scores[name][first:last].tolist(), 0.0)
    return {"residual_cut_score": worst}


def residual_of_clip(pictures: Iterable[Picture]) -> float:
    """The same number from all decoded pictures of a cut clip, in order; 0 for a single one."""
    cuts, prints = Cuts(detector="network"), []
    for picture in pictures:
        cuts.update(picture)
        prints.append(np.frombuffer(fingerprint(picture.luma), np.uint8))
    scores = without_returns(cuts.scores(), np.array(prints))
    return residual(scores, 0, len(scores))["residual_cut_score"] or 0.0
