"""Reads of shards by several processes, out of local files, object storage and a cache."""

import multiprocessing
import os
import pickle
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from curation import storage
from tests.training.resharded import reshard
from training import shards
from training.index import load_index
from training.shards import ShardCache, Shards

CONTENT = {f"{number}.tar": bytes([number]) * 1000 + b"end" for number in range(8)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "shards"
    folder.mkdir()
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content)
    return folder


def in_processes(how: str, work: Callable, files: Shards, *, number: int) -> list:
    """What `work` returns of one reader in some processes at a time, forked or spawned.

    A process of its own does it, since this one may have threads (Ray's, after other tests), beside
    which a forked process may wait for a lock for ever.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(all_of, how, work, files, number).result()


def all_of(how: str, work: Callable, files: Shards, number: int) -> list:
    context = multiprocessing.get_context(how)
    with ProcessPoolExecutor(number, context, initializer=take, initargs=(files,)) as pool:
        return [job.result() for job in [pool.submit(on_taken, work) for _ in range(number)]]


def take(files: Shards) -> None:
    global taken
    taken = files


def on_taken(work: Callable) -> Any:
    return work(taken)


taken: Shards


def opened_before(how: str, files: Shards) -> list:
    """A reader that has its files open, in others."""
    assert read_all(files) == EXPECTED
    return all_of(how, read_all, files, 3)


def read_all(files: Shards) -> list[bytes]:
    return [files.read(name, offset=999, size=9) for _ in range(3) for name in reversed(CONTENT)]


EXPECTED = [bytes([n]) + b"end" for n in range(8)][::-1] * 3


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_processes_share_a_reader_that_has_files_open(folder: Path, how: str) -> None:
    files = Shards(str(folder))
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(opened_before, how, files).result() == [EXPECTED] * 3
    assert read_all(files) == EXPECTED
    assert not pickle.loads(pickle.dumps(files)).files
    assert read_all(files) == EXPECTED


def test_few_files_are_open_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "OPEN_FILES", 3)
    before = len(os.listdir("/proc/self/fd"))
    files = Shards(str(folder))
    assert read_all(files) == EXPECTED
    assert len(files.files) == 3
    assert len(os.listdir("/proc/self/fd")) == before + 3
    del files
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_shard_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"shards/none.tar"):
        Shards(str(folder)).read("none.tar", offset=0, size=1)


@pytest.fixture
def remote(folder: Path, s3: str) -> str:
    return uploaded(folder, f"{s3}/{folder.parent.name}/shards")


def uploaded(folder: Path, url: str) -> str:
    for path in folder.rglob("*.*"):
        storage.commit(f"{url}/{path.relative_to(folder)}", path)
    return url


def test_object_storage_is_read_by_ranges(remote: str) -> None:
    files = Shards(remote)
    assert read_all(files) == EXPECTED
    assert files.read("0.tar", offset=3, size=0) == b""
    assert in_processes("fork", read_all, files, number=2) == [EXPECTED] * 2


@pytest.mark.parametrize("where", ["remote", "folder"])
def test_whole_shards_are_fetched_once_by_all_processes(
    where: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    cache = ShardCache(str(tmp_path / "cache"), 10_000)
    files = Shards(str(request.getfixturevalue(where)), cache=cache)
    everyone = in_processes("fork", fetched_by, files, number=4)
    assert [found for found, _ in everyone] == [EXPECTED] * 4
    fetched = [url for _, urls in everyone for url in urls]
    assert len(fetched) == len(set(fetched)) == 8
    assert read_all(files) == EXPECTED
    assert not cache.fetched
    assert len([*(tmp_path / "cache").glob("*.shard")]) == 8
    assert not [*(tmp_path / "cache").glob(".tmp-*")]


def fetched_by(files: Shards) -> tuple[list[bytes], list[str]]:
    """What was read, and what this call fetched for it: a process may be called twice."""
    assert files.cache
    before = len(files.cache.fetched)
    return read_all(files), files.cache.fetched[before:]


def test_what_was_read_longest_ago_goes_first(folder: Path, tmp_path: Path) -> None:
    cache = ShardCache(str(tmp_path / "cache"), 3 * 1003)
    files = Shards(str(folder), cache=cache)

    def read(number: int) -> None:
        time.sleep(0.01)  # file times have a grain of some milliseconds
        assert files.read(f"{number}.tar", offset=0, size=1) == bytes([number])

    for number in (0, 1, 2, 0, 3):
        read(number)
    held = sorted(copy.read_bytes()[0] for copy in (tmp_path / "cache").glob("*.shard"))
    assert held == [0, 2, 3]
    read(1)
    assert [url[-5:] for url in cache.fetched] == ["0.tar", "1.tar", "2.tar", "3.tar", "1.tar"]
    # what has gone is not kept open either, or its room would not be free
    assert all(os.fstat(file).st_nlink for file in files.files.values())


def test_many_processes_in_a_cache_too_small_for_all(folder: Path, tmp_path: Path) -> None:
    files = Shards(str(folder), cache=ShardCache(str(tmp_path / "cache"), 2 * 1003))
    assert in_processes("fork", read_all, files, number=4) == [EXPECTED] * 4
    assert len([*(tmp_path / "cache").glob("*.shard")]) <= 2


def test_a_shard_that_was_written_again_is_fetched_again(folder: Path, tmp_path: Path) -> None:
    cache = ShardCache(str(tmp_path / "cache"), 10_000)
    assert Shards(str(folder), cache=cache).read("0.tar", offset=0, size=2) == b"\0\0"
    (folder / "0.tar").write_bytes(b"other")
    assert Shards(str(folder), cache=cache).read("0.tar", offset=0, size=2) == b"ot"


def test_what_a_killed_process_left_takes_no_room(folder: Path, tmp_path: Path) -> None:
    left = tmp_path / "cache" / ".tmp-900000-killed"
    left.parent.mkdir()
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    files = Shards(str(folder), cache=ShardCache(str(left.parent), 10_000))
    assert read_all(files) == EXPECTED
    assert not left.exists()
    assert len([*left.parent.glob("*.shard")]) == 8


def test_samples_are_the_same_out_of_the_cache(dataset: Path, tmp_path: Path) -> None:
    cache = ShardCache(str(tmp_path / "cache"), 10**9)
    plain, cached = load_index(str(dataset)), load_index(str(dataset), cache=cache)
    for number in range(len(plain)):
        row = plain.row(number)
        for part in ("media", "json", "txt"):
            assert plain.read(row, part) == cached.read(row, part)
    assert len(cache.fetched) == 1


@pytest.fixture
def bucket(data: Path, s3: str) -> str:
    """The same dataset on object storage."""
    return uploaded(data, f"{s3}/{data.parent.name}/data")


@pytest.fixture
def data(dataset: Path, tmp_path: Path) -> Path:
    """Six samples in three shards."""
    return reshard(dataset, tmp_path / "data", samples_per_shard=2)


def test_a_run_on_object_storage_is_the_run_on_local_files(
    run: Callable[..., Path], data: Path, bucket: str, tmp_path: Path
) -> None:
    """By ranged reads, out of a cache of whole shards, and on latents; in forked workers."""
    first = ["--data.view.window=first", "--data.num_workers=2"]
    runs = {"local": run("local", *first, data=data)}
    where: Any = bucket
    runs["ranged"] = run("ranged", *first, data=where)
    cache = f"--data.shard_cache={tmp_path / 'cache'}"
    runs["cached"] = run("cached", *first, cache, "--data.shard_cache_gb=1", data=where)
    assert len([*(tmp_path / "cache").glob("*.shard")]) == 3
    run("encode", *first, "--dtype=float32", command="encode", data=where)
    runs["latents"] = run("latents", *first, "--data.latents=auto", data=where)
    weights = {
        name: torch.load(output / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name, output in runs.items()
    }
    for name, found in weights.items():
        for key, value in found.items():
            assert torch.equal(value, weights["local"][key]), (name, key)
    with pytest.raises(ValueError, match="data.shard_cache_gb = 1e-06 and the shards that are sh"):
        run("small", cache, "--data.shard_cache_gb=1e-6", data=data)
