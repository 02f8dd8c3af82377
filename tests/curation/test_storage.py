import os
from pathlib import Path

import pyarrow as pa
import pytest

from curation import storage
from curation.stage import Abort


def test_a_file_appears_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    url = storage.join(str(tmp_path), "a", "b.bin")
    storage.commit(url, b"one")
    storage.commit(url, b"two")
    assert storage.read_bytes(url) == b"two"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.bin"]


def test_a_commit_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    url = str(tmp_path / "file")
    storage.commit(url, b"old")
    with pytest.raises(FileNotFoundError):
        storage.commit(url, tmp_path / "not-there")
    assert storage.read_bytes(url) == b"old"
    assert storage.list_files(str(tmp_path)) == [url]


def test_a_disk_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "tables").write_bytes(b"a file where a folder is expected")
    url = f"{tmp_path}/tables/clips/a.parquet"
    with pytest.raises(Abort, match=r"a\.parquet cannot be written \(Not a directory\), see to"):
        storage.commit(url, b"x")


def listed(path: Path) -> storage.Source:
    (source,) = storage.list_sources(str(path))
    return source


def test_what_is_read_from_a_source_that_changes_or_vanishes_is_not_believed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"one")
    with storage.unchanged(listed(path)):
        assert path.read_bytes() == b"one"
    with pytest.raises(storage.SourceError, match="source_changed: ") as changed:
        with storage.unchanged(listed(path)):
            path.write_bytes(b"two files in one")
            raise ValueError("what a decoder says of that")
    assert changed.value.code == "source_changed"
    before = listed(path)
    with pytest.raises(storage.SourceError, match="vanished: "), storage.unchanged(before):
        path.unlink()
    with pytest.raises(storage.SourceError, match="vanished: "), storage.unchanged(before):
        raise AssertionError("the block is not entered")


def test_half_written_files_are_not_listed_and_are_swept(tmp_path: Path) -> None:
    (tmp_path / f"{storage.TEMPORARY}abc").write_bytes(b"half")
    assert storage.list_files(str(tmp_path)) == []
    storage.sweep(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_bytes_can_be_read_from_the_middle(tmp_path: Path) -> None:
    url = str(tmp_path / "file")
    storage.commit(url, b"0123456789")
    assert storage.read_bytes(url, offset=3, size=4) == b"3456"


def test_the_same_table_gives_the_same_bytes_and_comes_back(tmp_path: Path) -> None:
    table = pa.table({"name": ["a", None], "value": [1.5, 2.5]})
    assert storage.table_bytes(table) == storage.table_bytes(table)
    storage.write_table(str(tmp_path / "x.parquet"), table)
    assert storage.read_table(str(tmp_path)).equals(table)


def test_a_column_that_older_files_lack_reads_as_null(tmp_path: Path) -> None:
    storage.write_table(str(tmp_path / "1.parquet"), pa.table({"id": ["a"]}))
    storage.write_table(str(tmp_path / "2.parquet"), pa.table({"id": ["b"], "new": [7]}))
    assert storage.read_table(str(tmp_path)).to_pylist() == [
        {"id": "a", "new": None},
        {"id": "b", "new": 7},
    ]


def test_sources_are_all_files_at_any_depth_with_any_name(tmp_path: Path) -> None:
    names = ["b.mp4", "a [1].mkv", "sub/ü ñ \"q\" & 'x'.mov", ".hidden", "sub/.git/x"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = [
        Path(s.uri).relative_to(tmp_path).as_posix() for s in storage.list_sources(str(tmp_path))
    ]
    assert found == sorted(["b.mp4", "a [1].mkv", "sub/ü ñ \"q\" & 'x'.mov"])


def test_sources_can_be_a_glob_or_one_file(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mkv"):
        (tmp_path / name).write_bytes(b"x")
    assert len(storage.list_sources(f"{tmp_path}/*.mp4")) == 1
    assert len(storage.list_sources(f"{tmp_path}/b.mkv")) == 1


def test_a_glob_reaches_into_a_hidden_folder_that_it_names(tmp_path: Path) -> None:
    for name in (".cache/a.mp4", ".cache/.b.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (found,) = storage.list_sources(f"{tmp_path}/.cache/*.mp4")
    assert found.uri.endswith("/.cache/a.mp4")


def test_a_link_to_nowhere_and_a_name_that_is_no_utf8_are_listed(tmp_path: Path) -> None:
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nothing")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mp4")).write_bytes(b"x")
    names = [Path(source.uri).name for source in storage.list_sources(str(tmp_path))]
    assert names == ["gone.mp4", "\\xff.mp4"]


def test_no_footage_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no files; expected a folder, a glob or s3"):
        storage.list_sources(str(tmp_path / "nothing"))


def test_an_unknown_storage_is_a_clear_error() -> None:
    with pytest.raises(ValueError, match="expected a local path or s3"):
        storage.filesystem("gopher://x/y")


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ValueError, match="cannot be written.*expected a folder that you may write"):
        storage.require_writable(str(tmp_path / "file" / "data"))
    storage.require_writable(str(tmp_path / "new"))
    assert list((tmp_path / "new").iterdir()) == []
