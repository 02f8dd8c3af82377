"""Which clips' texts or checks a run has changed, and that the shards still hold the older ones."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from curation import dataset, storage

Told = dict[str, dict[str, Any]]
"""clip_id -> some columns of its row."""


def read(data: str, table: str, columns: Sequence[str]) -> Told:
    """What a table says now; nothing where it has other columns."""
    files = dataset.table_files(data, table)
    if not files or not {*columns} <= dataset.columns_of(files[0]):
        return {}
    rows = dataset.load(data, table, columns=["clip_id", *columns])
    return {row.pop("clip_id"): row for row in rows.to_pylist()} if rows is not None else {}


def numbers(schema: pa.Schema) -> list[str]:
    """The columns that a shard tells of each clip beside its texts."""
    return [
        field.name
        for field in schema
        if not pa.types.is_string(field.type) and not field.name.endswith("_tokens")
    ]


def between(before: Told, after: Told) -> set[str]:
    """The clips of which something else is told."""
    return {clip for clip in before.keys() | after.keys() if before.get(clip) != after.get(clip)}


def tell_of_shards(changed: set[str], *, data: str, note: str) -> None:
    """Print a note where a shard holds one of these clips."""
    index = storage.join(data, "shards", "index.parquet")
    if not changed or not storage.exists(index):
        return
    if changed & set(storage.read_table(index, columns=["key"])["key"].to_pylist()):
        print(f"the shards {note}; run make shard", flush=True)
