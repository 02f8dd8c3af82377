"""The same on object storage: FOOTAGE and DATA on a server that speaks S3, on loopback."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from curation import storage
from tests.curation.footage_made import (
    Job,
    make_two,
    record,
    rows,
    run_alone,
    run_here,
    start,
    write_configs,
    write_image,
)
from tests.curation.killing import kill_when, wait_until_gone

NAMES = "one.mp4", 'sub/Gärten "nachts" & 庭 #2 50%.mp4', "still.jpg"


@dataclass(frozen=True)
class Bucket:
    """The same job there and here."""

    remote: Job
    local: Job


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory, ray_session: None, s3: str) -> Bucket:
    base = tmp_path_factory.mktemp("s3")
    configs = write_configs(base / "configs")
    for i, name in enumerate(NAMES[:2]):
        make_two(base / "footage" / name, seed=21 + i)
    write_image(base / "footage" / NAMES[2], seed=23)
    local = Job(str(base / "footage"), str(base / "data"), configs)
    run_here(local.split(), local.judge(), local.shard())
    remote = Job(f"{s3}/some footage", f"{s3}/first", configs)
    for name in NAMES:
        storage.commit(storage.join(remote.footage, name), base / "footage" / name)
    return Bucket(remote, local)


def without_uri(data: str, table: str) -> list[dict]:
    found = [{k: v for k, v in row.items() if k != "uri"} for row in rows(data, table)]
    return sorted(found, key=lambda row: list(row.values())[:1])


def objects(data: str) -> dict[str, str]:
    """Url -> (etag, time of writing) of every object under tables/ and shards/."""
    fs, path = storage.filesystem(data)
    found = fs.find(path, detail=True)
    return {
        name: f"{info['ETag']} {info['LastModified']}"
        for name, info in found.items()
        if "/runs/" not in name
    }


@pytest.fixture(scope="module")
def finished(bucket: Bucket, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The remote dataset, made by a run that was killed after split and another that finished it.
    Returns the objects that were there at the kill.
    """
    log = tmp_path_factory.mktemp("log") / "log"
    process = start(bucket.remote.everything(), log=log)

    def split_is_done() -> bool:
        return len(storage.list_files(f"{bucket.remote.data}/tables/aesthetics")) > 0

    started = kill_when(process, split_is_done, whole=False)
    present = objects(bucket.remote.data)
    run_alone(bucket.remote.everything(), log=log)
    wait_until_gone(started)
    after = objects(bucket.remote.data)
    repeated = [url for url in present if after.get(url) != present[url]]
    assert [url for url in repeated if "/merged/" not in url] == []
    return sorted(present)


def test_committed_units_are_not_repeated(bucket: Bucket, finished: list[str]) -> None:
    for stage, table in (("inventory", "sources"), ("split", "videos")):
        done = [url for url in finished if f"/tables/{table}/" in url]
        counts = record(bucket.remote.data, stage)["counts"]
        assert counts["units_done_before"] == counts["units"] == len(done) == len(NAMES)


def test_ids_and_tables_are_those_of_local_files(bucket: Bucket, finished: list[str]) -> None:
    for table in ("videos", "clips", "keyframes", "dedup", "filter", "shard"):
        here = without_uri(bucket.local.data, table)
        assert without_uri(bucket.remote.data, table) == here and here, table
    uris = {row["uri"] for row in rows(bucket.remote.data, "videos")}
    assert uris == {storage.join(bucket.remote.footage, name) for name in NAMES}


def test_shards_hold_the_same_media(bucket: Bucket, finished: list[str]) -> None:
    here, there = (media(job.data) for job in (bucket.local, bucket.remote))
    assert here == there and len(here) == 5


def media(data: str) -> dict[tuple[str, str], bytes]:
    """(shard, key) -> media bytes, by the index."""
    index = storage.read_table(f"{data}/shards/index.parquet").to_pylist()
    return {
        (row["shard"], row["key"]): storage.read_bytes(
            f"{data}/shards/{row['shard']}", offset=row["offset_media"], size=row["size_media"]
        )
        for row in index
    }


def test_the_plain_webdataset_library_reads_a_downloaded_shard(
    bucket: Bucket, finished: list[str], tmp_path: Path
) -> None:
    import webdataset

    keys = []
    for url in storage.list_files(f"{bucket.remote.data}/shards", ".tar"):
        (tmp_path / "shard.tar").write_bytes(storage.read_bytes(url))
        samples = webdataset.WebDataset(str(tmp_path / "shard.tar"), shardshuffle=False)
        keys += [sample["__key__"] for sample in samples]
    assert sorted(keys) == sorted(key for _, key in media(bucket.remote.data))


def test_the_same_command_again_does_nothing(
    bucket: Bucket, finished: list[str], tmp_path: Path
) -> None:
    before = objects(bucket.remote.data)
    run_alone(bucket.remote.everything(), log=tmp_path / "log")
    for stage in ("inventory", "split", "aesthetics", "dedup", "filter", "shard", "pack"):
        counts = record(bucket.remote.data, stage)["counts"]
        assert counts["units_done_before"] == counts["units"], stage
    written = {url for url, stamp in objects(bucket.remote.data).items() if before[url] != stamp}
    assert {url.rpartition("/")[2] for url in written} <= {"index.parquet"}


def test_a_bucket_that_does_not_exist_is_the_users_mistake(bucket: Bucket) -> None:
    with pytest.raises(ValueError, match=r"s3://nobody/x.* holds no files"):
        storage.list_sources("s3://nobody/x")


def test_a_bucket_that_does_not_exist_is_a_clear_error(bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be written.*a bucket that exists"):
        storage.require_writable("s3://no-such-bucket/data")
