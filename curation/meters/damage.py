"""Frames that came out of the decoder damaged."""

from typing import Any, ClassVar

import pyarrow as pa

from curation.meters.span import Span
from curation.video.picture import Picture


class Damage:
    writes: ClassVar[pa.Schema] = pa.schema({"corrupt_frames": pa.int32()})

    def __init__(self) -> None:
        self.corrupt: list[bool] = []

    def update(self, picture: Picture) -> None:
        self.corrupt.append(picture.is_corrupt)

    def clip(self, span: Span) -> dict[str, Any]:
        return {"corrupt_frames": sum(self.corrupt[span.start : span.end])}
