"""Frames that came out of the decoder damaged."""

from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from curation.meters.span import Span
from curation.video.picture import Picture


class Damage:
    """Number and share of frames that the decoder marks as corrupt."""

    record: ClassVar[np.dtype] = np.dtype([("corrupt", "?")])
    writes: ClassVar[pa.Schema] = pa.schema(
        {"corrupt_frames": pa.int32(), "corrupt_pct": pa.float32()}
    )

    def update(self, picture: Picture) -> tuple:
        return (picture.is_corrupt,)

    @staticmethod
    def clip(rows: np.ndarray, span: Span) -> dict[str, Any]:
        corrupt = int(np.count_nonzero(rows["corrupt"]))
        return {"corrupt_frames": corrupt, "corrupt_pct": 100 * corrupt / span.num_frames}
