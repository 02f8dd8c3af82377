"""Runs that are killed, run again and added to end in the bytes of an undisturbed run."""

import os
import random
import shutil
import signal
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from curation import storage
from tests.curation.footage_made import (
    CONFIG,
    STILL,
    Job,
    assert_same,
    contents,
    make_two,
    record,
    reference,
    rows,
    run_alone,
    run_here,
    stamps,
    start,
    write_configs,
    write_image,
)
from tests.curation.killing import PATIENCE_S, kill_when, tree, wait_for, wait_until_gone

STAGE_OF = {
    "sources": "inventory",
    "videos": "split",
    "aesthetics": "aesthetics",
    "shard": "shard",
    "index": "pack",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Job:
    return reference(tmp_path_factory.getbasetemp())


@pytest.fixture
def job(made: Job, tmp_path: Path) -> Job:
    """The same footage and configs, another dataset."""
    return Job(made.footage, str(tmp_path / "data"), made.configs)


def num_units(data: str, table: str) -> int:
    return len(list(Path(data, "tables", table).glob("*.parquet")))


# -- killing ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Moment:
    """When a command is killed: as soon as so many units of a table are there."""

    table: str
    num_units: int
    whole: bool
    """All its processes are killed with it, as in a power cut."""


def moments(data: str, tables: Sequence[str], *, seed: int) -> list[Moment]:
    """A random moment in the making of each table, by how many units the whole of it has."""
    rng = random.Random(seed)
    return [Moment(t, rng.randrange(1, num_units(data, t)), rng.random() < 0.5) for t in tables]


def kill_and_finish(command: list[str], at: list[Moment], *, job: Job, log: Path) -> None:
    """Kill the command at each of the moments, start it again at once, and let it finish."""
    started: dict[int, str] = {}
    present: dict[str, tuple[int, int]] = {}
    for moment in at:
        process = start(command, log=log)

        def reached(moment: Moment = moment) -> bool:
            return num_units(job.data, moment.table) >= moment.num_units

        started |= kill_when(process, reached, whole=moment.whole)
        present = stamps(job.data)
    run_alone(command, log=log)
    after = stamps(job.data)
    for moment in at:
        done = [name for name in present if name.startswith(f"tables/{moment.table}/")]
        counts = record(job.data, STAGE_OF[moment.table])["counts"]
        assert counts["units_done_before"] >= len(done) >= moment.num_units
        assert all(after[name] == present[name] for name in done), "a unit was made a second time"
    wait_until_gone(started)


def kill_everywhere(made: Job, job: Job, log: Path, *, tables: Sequence[str], seed: int) -> None:
    """The whole of curate, killed once while each of the tables is made."""
    at = {moment.table: moment for moment in moments(made.data, tables, seed=seed)}
    first, caption, shard = job.commands()
    early = [at[table] for table in ("sources", "videos", "aesthetics") if table in at]
    kill_and_finish(first, early, job=job, log=log)
    run_here(caption)
    kill_and_finish(
        shard, [at[table] for table in ("shard", "index") if table in at], job=job, log=log
    )
    assert_same(job.data, made.data)


def test_killed_runs_end_in_the_bytes_of_an_undisturbed_one(
    made: Job, job: Job, tmp_path: Path
) -> None:
    tables = ("videos", "shard", "index")
    kill_everywhere(made, job, tmp_path / "log", tables=tables, seed=20261121)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_runs_killed_at_many_moments(made: Job, job: Job, tmp_path: Path, seed: int) -> None:
    kill_everywhere(made, job, tmp_path / "log", tables=list(STAGE_OF), seed=seed)


def test_nothing_half_written_is_left(made: Job, tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    shutil.copytree(made.data, data)
    folders = "tables/clips", "merged", "runs", "shards", "shards/96p_4x3_033f"
    for folder in folders:
        Path(data, folder, f"{storage.TEMPORARY}of-a-killed-run").write_bytes(b"half")
    run_here(Job(made.footage, data, made.configs).shard())
    assert list(Path(data).rglob(f"{storage.TEMPORARY}*")) == []


def test_a_killed_worker_costs_one_attempt(made: Job, job: Job, tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = start(job.split(), log=log)
    killed = []

    def a_worker_is_killed() -> bool:
        assert process.poll() is None, f"it ended first:\n{log.read_text()[-4000:]}"
        for pid in tree(process.pid):
            # stopped, so that it is still at the same task when it is killed
            if is_at_work(pid) and num_units(job.data, "sources") == num_units(
                made.data, "sources"
            ):
                os.kill(pid, signal.SIGSTOP)
                if is_at_work(pid):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
                    return True
                os.kill(pid, signal.SIGCONT)
        return False

    wait_for("a worker that runs a unit of split", a_worker_is_killed)
    assert process.wait(timeout=PATIENCE_S) == 0, log.read_text()[-4000:]
    others = ("tables/" + table for table in ("aesthetics", "dedup", "filter", "captions"))
    later = (*others, "tables/shard", "tables/index", "shards")
    assert_same(job.data, made.data, without=later)


def is_at_work(pid: int) -> bool:
    """Whether a Ray worker is running one of our units: it has the task as its name."""
    try:
        return Path("/proc", str(pid), "cmdline").read_text().startswith("ray::MapBatches(")
    except OSError:
        return False


# -- a dataset that grows and shrinks --------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Job:
    """A finished dataset of three files, with a footage folder of its own."""
    base = tmp_path_factory.mktemp("small")
    for seed in (11, 12):
        make_two(base / "footage" / f"{seed}.mp4", seed=seed)
    write_image(base / "footage" / STILL, seed=13)
    job = Job(str(base / "footage"), str(base / "data"), write_configs(base / "configs"))
    run_here(*job.commands())
    return job


@pytest.fixture
def own(small: Job, tmp_path: Path) -> Job:
    """A copy of the dataset and of its configs, to be changed; the footage stays where it is."""
    shutil.copytree(small.data, tmp_path / "data")
    return Job(small.footage, str(tmp_path / "data"), write_configs(tmp_path / "configs"))


def shards_of(data: str) -> dict[str, set[str]]:
    """Shard -> keys of its samples, by the index."""
    found: dict[str, set[str]] = {}
    for row in storage.read_table(f"{data}/shards/index.parquet").to_pylist():
        found.setdefault(f"shards/{row['shard']}", set()).add(row["key"])
    return found


def test_new_footage_costs_only_itself(own: Job) -> None:
    before, old_shards = stamps(own.data), shards_of(own.data)
    new = make_two(Path(own.footage, "new.mp4"), seed=14)
    try:
        run_here(*own.commands())
    finally:
        new.unlink()
    after, shards = stamps(own.data), shards_of(own.data)
    judged_as_a_whole = ("tables/dedup/", "tables/filter/", "shards/index.parquet")
    for name, stamp in before.items():
        if not name.startswith(judged_as_a_whole):
            assert after[name] == stamp, f"{name} was written again"
    for stage in ("inventory", "split", "aesthetics", "caption", "shard", "pack"):
        counts = record(own.data, stage)["counts"]
        assert counts["units"] - counts["units_done_before"] == 1, stage
    assert {name: shards[name] for name in old_shards} == old_shards
    (added,) = shards.keys() - old_shards.keys()
    clips = {row["clip_id"] for row in rows(own.data, "clips") if row["uri"] == str(new)}
    assert shards[added] == clips and len(clips) == 2


@dataclass(frozen=True)
class Dark:
    """The darkest clip, which lies in a shard with another, and the config that drops it."""

    clip: str
    shard: str
    config: str


def darkest(job: Job) -> Dark:
    clips = sorted(rows(job.data, "clips"), key=lambda row: row["luma_mean_pct"])
    clips = [row for row in clips if row["num_frames"] > 1]
    bound = (clips[0]["luma_mean_pct"] + clips[1]["luma_mean_pct"]) / 2
    rule = f"  rules:\n    - {{name: dark, column: luma_mean_pct, min: {bound}}}\n"
    key = clips[0]["clip_id"]
    (shard,) = [name for name, keys in shards_of(job.data).items() if key in keys]
    assert len(shards_of(job.data)[shard]) == 2
    return Dark(key, shard, CONFIG.replace("  rules:\n", rule))


def test_a_clip_no_longer_kept_costs_its_own_shard(own: Job) -> None:
    before, shards, dark = stamps(own.data), shards_of(own.data), darkest(own)
    write_configs(Path(own.configs), curation=dark.config)
    run_here(own.shard())
    assert shards_of(own.data) == shards | {dark.shard: shards[dark.shard] - {dark.clip}}
    changed = {name for name, stamp in stamps(own.data).items() if before.get(name) != stamp}
    assert {name for name in changed if name.endswith(".tar")} == {dark.shard}
    assert_index_is_right(own.data)

    # kept again: cut again, and put behind the shards that stand
    write_configs(Path(own.configs))
    before, shards = stamps(own.data), shards_of(own.data)
    run_here(own.shard())
    (added,) = shards_of(own.data).keys() - shards.keys()
    assert shards_of(own.data) == shards | {added: {dark.clip}}
    assert {n: stamps(own.data)[n] for n in shards} == {n: before[n] for n in shards}
    assert_index_is_right(own.data)


def assert_index_is_right(data: str) -> None:
    """Every member of every tar lies where the index says, and the index names every member."""
    members = {}
    for path in Path(data, "shards").rglob("*.tar"):
        with tarfile.open(path) as tar:
            shard = path.relative_to(Path(data, "shards")).as_posix()
            members |= {(shard, m.name): (m.offset_data, m.size) for m in tar}
    named = {}
    for row in storage.read_table(f"{data}/shards/index.parquet").to_pylist():
        for kind, suffix in (("media", row["media"]), ("json", "json"), ("txt", "txt")):
            place = row[f"offset_{kind}"], row[f"size_{kind}"]
            named[row["shard"], f"{row['key']}.{suffix}"] = place
    assert members == named


def test_a_change_of_mind_after_a_kill_between_tar_and_index(own: Job, tmp_path: Path) -> None:
    dark = darkest(own)
    changed = Job(own.footage, str(tmp_path / "changed"), str(tmp_path / "other configs"))
    shutil.copytree(own.data, changed.data)
    write_configs(Path(changed.configs), curation=dark.config)
    run_here(changed.shard())
    # as a run with the new config leaves it that is killed right after it has put a tar in place:
    # the old tar's rows of the index are gone, the new one's are not written yet
    shutil.copy(Path(changed.data, dark.shard), Path(own.data, dark.shard))
    for name in contents(own.data).keys() - contents(changed.data).keys():
        if name.startswith("tables/index/"):
            Path(own.data, name).unlink()
    run_here(own.shard())
    assert_index_is_right(own.data)
    assert dark.clip in set().union(*shards_of(own.data).values())

    write_configs(Path(own.configs), curation=dark.config)
    run_here(own.shard())
    assert_same(own.data, changed.data)


def test_rebuild_gives_the_bytes_of_a_fresh_run(small: Job, own: Job) -> None:
    dark = darkest(own)
    write_configs(Path(own.configs), curation=dark.config)
    run_here(own.shard())
    write_configs(Path(own.configs))
    run_here(own.shard())  # now the dark clip lies in a shard of its own
    run_here([*own.shard(), "--rebuild", "true"])
    assert_same(own.data, small.data)


def test_rebuild_tries_again_what_had_failed(own: Job) -> None:
    source = min(Path(own.footage).glob("*.mp4"))
    away = source.rename(source.with_name(".hidden"))
    try:
        run_here([*own.shard(), "--rebuild", "true"])
    finally:
        away.rename(source)
    lost = [row["error"].split(":")[0] for row in rows(own.data, "shard") if row["error"]]
    assert lost == ["vanished", "vanished"]
    run_here([*own.shard(), "--rebuild", "true"])
    assert sum(len(keys) for keys in shards_of(own.data).values()) == 5
    assert [row["error"] for row in rows(own.data, "shard")] == [None] * 5
