"""`shards/index.parquet` as a table in memory, and random reads by offset from the tars.

One row is one sample: where its bytes lie and what shape it has, so that a whole epoch is planned
without opening a tar. Rows are taken as they lie in the shards, whatever order the file has.
"""

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation import storage
from curation.clip import INDEX
from training.shards import ShardCache, Shards

JSON_COLUMNS = ["offset_json", "size_json"]
"""Where the captions of all kinds lie, which a caption mix draws from."""

COLUMNS = [name for name in INDEX.names if name not in ("bucket", "duration_s", *JSON_COLUMNS)]
"""The columns that training reads; the index holds more, and unknown ones are ignored."""

Part = Literal["media", "json", "txt"]
"""One file of a sample."""


@dataclass(frozen=True)
class Index:
    """The samples of one dataset."""

    data: str
    """Folder or s3:// URL of the dataset."""
    table: pa.Table
    """`COLUMNS` and `JSON_COLUMNS`, in the order of shards and of places in them."""
    shards: Shards | None = None
    """The tars; null for a table alone."""

    def __len__(self) -> int:
        return self.table.num_rows

    def row(self, number: int) -> dict[str, Any]:
        return {name: values[number].as_py() for name, values in self._arrays.items()}

    @cached_property
    def _arrays(self) -> dict[str, pa.Array]:
        return {name: self.table[name].combine_chunks() for name in self.table.column_names}

    def column(self, name: str) -> np.ndarray:
        return self.table[name].to_numpy()

    def codes(self, name: str) -> np.ndarray:
        """A column as numbers from 0 on, equal where its values are (and where both are null)."""
        return self.table[name].combine_chunks().dictionary_encode("encode").indices.to_numpy()

    def read(self, row: dict[str, Any], part: Part) -> bytes:
        """Bytes of one member of a sample: one read."""
        assert self.shards is not None
        size = row[f"size_{part}"]
        content = self.shards.read(row["shard"], offset=row[f"offset_{part}"], size=size)
        if len(content) != size:
            url = storage.join(self.shards.folder, row["shard"])
            raise ValueError(
                f"{url} ends early: {size} bytes of {row['key']}.{part} expected, "
                f"{len(content)} there; "
                "the index does not belong to this shard, run `make shard` again"
            )
        return content


def load_index(data: str, *, cache: ShardCache | None = None) -> Index:
    """Read and check the index of a dataset."""
    url = storage.join(data, "shards", "index.parquet")
    if not storage.exists(url):
        raise ValueError(
            f"no index at {url}, expected a dataset with shards: run `make shard DATA={data}` first"
        )
    table = storage.read_table(url)
    columns = [*COLUMNS, *JSON_COLUMNS]
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise ValueError(
            f"{url} lacks the columns {missing}: write the shards again with `make shard`"
        )
    if not table.num_rows:
        raise ValueError(
            f"{url} has no samples: every clip was rejected, see {data}/audit/index.html"
        )
    shards = Shards(storage.join(data, "shards"), cache=cache)
    return Index(data=data, table=in_order(table.select(columns)), shards=shards)


def in_order(table: pa.Table) -> pa.Table:
    """Rows as they lie in the shards, whatever order the file has."""
    shard = table["shard"].combine_chunks().dictionary_encode()
    place = np.argsort(np.array(shard.dictionary.to_pylist())).argsort()
    order = np.lexsort((table["offset_media"].to_numpy(), place[shard.indices.to_numpy()]))
    return table if np.array_equal(order, np.arange(len(order))) else table.take(order)


def index_hash(index: Index, *, columns: Sequence[str] = COLUMNS) -> str:
    """Content of all columns that training reads: equal exactly when every planned byte is
    equal.
    """
    digest = hashlib.sha256()
    for name in columns:
        column = index.table[name].combine_chunks()
        text = pa.types.is_string(column.type)
        whole = column.fill_null("" if text else 0)
        digest.update(f"{name} {len(whole)}\n".encode())
        digest.update(np.packbits(column.is_null().to_numpy(zero_copy_only=False)).tobytes())
        if text:
            digest.update(pc.binary_length(whole).to_numpy().tobytes())
            digest.update(text_bytes(whole))
        else:
            digest.update(whole.to_numpy(zero_copy_only=False).tobytes())
    return digest.hexdigest()[:32]


def text_bytes(column: pa.Array) -> memoryview:
    """The bytes of all strings of a column, one after another."""
    _, offsets, content = column.buffers()
    ends = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    return memoryview(content or b"")[ends[0] : ends[-1]]


def held_out(index: Index, pct: float) -> np.ndarray:
    """bool per row: kept from training."""
    if not pct:
        return np.zeros(len(index), dtype=bool)
    keys = index.table["key"].to_pylist()
    hashes = np.fromiter((zlib.crc32(key.encode()) for key in keys), np.int64, len(keys))
    return hashes % 10_000 < 100 * pct


def window_bytes(index: Index, *, samples: int) -> float:
    """Of the shards that hold so many samples in a row, about: the last one overlaps."""
    size = sum(index.column(f"size_{part}").sum() for part in ("media", "json", "txt"))
    largest = int(np.bincount(index.codes("shard")).max())
    return float(size) * min(1.0, (samples + largest) / len(index))
