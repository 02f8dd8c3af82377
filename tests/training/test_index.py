import shutil
from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.index import index_hash, load_index


def test_members_are_read_by_offset(dataset: Path, specs: list) -> None:
    index = load_index(str(dataset))
    assert len(index) == len(specs)
    for number in range(len(index)):
        row = index.row(number)
        assert row["key"] == f"clip-{number}"
        assert index.read(row, "txt").decode() == f"grey clip {number}"
        assert index.read(row, "media")[4:8] == b"ftyp" or row["media"] == "png"


def test_object_storage_gives_the_same(dataset: Path) -> None:
    remote = fsspec.filesystem("memory")
    remote.put(f"{dataset}/shards", "/bucket/data/shards", recursive=True)
    here, there = load_index(str(dataset)), load_index("memory://bucket/data")
    assert index_hash(here) == index_hash(there)
    assert all(
        here.read(here.row(n), "media") == there.read(there.row(n), "media")
        for n in range(len(here))
    )


def test_the_hash_sees_every_column_and_not_the_order(dataset: Path, tmp_path: Path) -> None:
    def with_table(name: str, table: pa.Table) -> str:
        folder = tmp_path / name / "shards"
        folder.mkdir(parents=True)
        pq.write_table(table, folder / "index.parquet")
        return index_hash(load_index(str(tmp_path / name)))

    table = pq.read_table(dataset / "shards" / "index.parquet")
    before = index_hash(load_index(str(dataset)))
    assert with_table("turned", table.take(list(range(len(table)))[::-1])) == before
    assert (
        with_table("extra", table.append_column("later_stage", pa.array([1] * len(table))))
        == before
    )
    for column in ("offset_media", "num_frames", "fps", "caption_chars"):
        values = [(value or 0) + 1 for value in table[column].to_pylist()]
        field = table.schema.get_field_index(column)
        changed = table.set_column(field, column, pa.array(values, table.schema.field(field).type))
        assert with_table(column, changed) != before


def test_errors_say_what_to_do(
    dataset: Path, tmp_path: Path, make_shards: Callable[..., Path]
) -> None:
    with pytest.raises(ValueError, match=r"no index at .*index.parquet, expected .*make shard"):
        load_index(str(tmp_path))
    make_shards(tmp_path / "none", [])
    with pytest.raises(ValueError, match="has no samples"):
        load_index(str(tmp_path / "none"))
    cut = shutil.copytree(dataset, tmp_path / "cut")
    tar = cut / "shards" / "bucket" / "bucket-000000.tar"
    tar.write_bytes(tar.read_bytes()[:5000])
    index = load_index(str(cut))
    with pytest.raises(
        ValueError, match=r"ends early: \d+ bytes of clip-5.media expected, 0 there"
    ):
        index.read(index.row(5), "media")
