"""A dataset of several shards, out of one of a single tar."""

import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curation.clip import INDEX
from training.index import load_index


def reshard(data: Path, target: Path, *, samples_per_shard: int) -> Path:
    """The samples of a dataset in shards of so many, with an index of their own."""
    index = load_index(str(data))
    folder = target / "shards" / "bucket"
    folder.mkdir(parents=True)
    rows = pq.read_table(data / "shards" / "index.parquet").to_pylist()
    for first in range(0, len(rows), samples_per_shard):
        name = f"bucket/bucket-{first // samples_per_shard:06d}.tar"
        with tarfile.open(target / "shards" / name, "w", format=tarfile.USTAR_FORMAT) as tar:
            for row in rows[first : first + samples_per_shard]:
                for part in ("media", "json", "txt"):
                    content = index.read(row, part)
                    row[f"offset_{part}"] = tar.offset + tarfile.BLOCKSIZE
                    suffix = row["media"] if part == "media" else part
                    info = tarfile.TarInfo(f"{row['key']}.{suffix}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
                row["new shard"] = name
    for row in rows:
        row["shard"] = row.pop("new shard")
    pq.write_table(pa.Table.from_pylist(rows, schema=INDEX), target / "shards" / "index.parquet")
    return target
