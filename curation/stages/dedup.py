"""Which clips come from footage that lies there more than once.

First tier only: source files with the same bytes. split cuts one of them (the smallest uri) and
gives the others `reject = "duplicate_file"`; here each clip learns how many there were.
Near-duplicates need embeddings and will add columns to the same table.
"""

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from curation.stage import Abort, Stage, Tables

DEDUP = pa.schema(
    {
        "clip_id": pa.string(),
        "file_copies": pa.int32(),  # source files with these bytes, the clip's own included
    }
)


@dataclass(frozen=True)
class Dedup(Stage):
    """Counts the source files that share their bytes."""

    name: ClassVar[str] = "dedup"
    reads: ClassVar[dict[str, list[str]]] = {
        "clips": ["clip_id", "video_id"],
        "videos": ["video_id"],
    }
    writes: ClassVar[dict[str, pa.Schema]] = {"dedup": DEDUP}
    unit: ClassVar = "dataset"

    def run(self, tables: Tables) -> Tables:
        clips = tables["clips"]
        copies = file_copies(clips["video_id"], video_ids=tables["videos"]["video_id"])
        assert copies.null_count == 0, "a clip whose video has no row in videos"
        return {"dedup": pa.table({"clip_id": clips["clip_id"], "file_copies": copies})}

    def failed(self, tables: Tables, *, error: str) -> Tables:
        raise Abort(error)  # table work of one unit: what fails here is not some clip's fault


def file_copies(of: pa.ChunkedArray, *, video_ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """How often each id of `of` occurs in `video_ids`; null where it does not."""
    counted = pc.value_counts(video_ids.combine_chunks())
    where = pc.index_in(of, value_set=counted.field("values"))
    return counted.field("counts").cast(pa.int32()).take(where)
