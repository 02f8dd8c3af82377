"""What the machine does to a run: a full disk, a folder that cannot be written, sources that change
or vanish. One sentence, and the same command after the cure gives the bytes of an undisturbed run.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from curation import dataset, pipeline, storage
from curation.__main__ import main
from curation.stages import inventory, scan, split
from curation.stages.inventory import Inventory
from curation.stages.scan import Scan
from curation.stages.split import Split
from tests.curation.footage_made import (
    Job,
    assert_same,
    make_two,
    rows,
    run_here,
    write_configs,
    write_image,
)

pytestmark = pytest.mark.usefixtures("ray_session")


CONFIG = """\
split:
  max_s: 1.5
shard:
  short_sides: [48, 64, 96]
  frame_counts: [1, 17, 33]
  samples_per_shard: 2
"""


def everything(job: Job) -> list[str]:
    """Split, filter and shard in one command."""
    options = ["--footage", job.footage, "--data", job.data]
    return [
        *("curation", "split", "filter", "shard"),
        *options,
        *("--config", f"{job.configs}/curation.yaml"),
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Job:
    """Three files and their dataset from one undisturbed run."""
    base = tmp_path_factory.mktemp("made")
    for seed in (51, 52):
        make_two(base / "footage" / f"{seed}.mp4", seed=seed)
    write_image(base / "footage" / "still.jpg", seed=53)
    job = Job(
        str(base / "footage"), str(base / "data"), write_configs(base / "configs", curation=CONFIG)
    )
    run_here(everything(job))
    return job


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, of 96 KB: the dataset needs more."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def remount(folder: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True)


def stopped(command: list[str], capsys: pytest.CaptureFixture) -> str:
    """The sentence with which a command ends that must not end well."""
    capsys.readouterr()
    assert main(command[1:]) == 1
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("curation: ")]
    assert len(told) == 1
    return told[0]


def test_a_full_disk_is_one_sentence_and_the_run_goes_on_when_there_is_room(
    made: Job, disk: Path, capsys: pytest.CaptureFixture
) -> None:
    job = Job(made.footage, f"{disk}/data", made.configs)
    told = stopped(everything(job), capsys)
    assert "cannot be written (No space left on device)" in told
    assert told.endswith("; run the same command to continue") and told.count("same command") == 1
    remount(disk, "size=64m")
    run_here(everything(job))
    assert_same(job.data, made.data)


def test_a_disk_that_can_only_be_read_is_one_sentence(
    made: Job, disk: Path, capsys: pytest.CaptureFixture
) -> None:
    remount(disk, "size=64m")
    job = Job(made.footage, f"{disk}/data", made.configs)
    run_here(job.split())
    remount(disk, "ro")
    told = stopped(everything(job), capsys)
    assert "cannot be written" in told and "Read-only file system" in told
    remount(disk, "rw")
    run_here(everything(job))
    assert_same(job.data, made.data)


@pytest.mark.parametrize("where", ["tables/segments", "merged", "shards"])
def test_a_file_in_the_place_of_a_folder_is_one_sentence(
    made: Job, tmp_path: Path, where: str, capsys: pytest.CaptureFixture
) -> None:
    job = Job(made.footage, str(tmp_path / "data"), made.configs)
    obstacle = Path(job.data, where)
    obstacle.parent.mkdir(parents=True)
    obstacle.write_bytes(b"")
    told = stopped(everything(job), capsys)
    assert "cannot be written (" in told
    obstacle.unlink()
    run_here(everything(job))
    assert_same(job.data, made.data)


def split_with_a_disturbance(job: Job, disturb: list[Path], *, how: str) -> dict[str, str | None]:
    """The steps of split, where something happens to files between the first and the second.
    Returns errors by name.
    """
    data = job.data
    listed = inventory.units(Inventory(), footage=job.footage)
    pipeline.run(Inventory(), listed, data=data)
    for path in disturb:
        if how == "vanish":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[::-1])
    scanned = scan.units(Scan(), sources=dataset.require(data, "sources"))
    written = pipeline.run(Scan(), scanned, data=data)["units"]
    stage = Split(max_s=1.5)  # as in the config
    pipeline.run(stage, split.units(stage, scanned, written, data=data), data=data)
    return {Path(row["uri"]).name: row["error"] for row in rows(data, "videos")}


@pytest.mark.parametrize(
    ("how", "code"), [("vanish", "vanished: "), ("change", "source_changed: ")]
)
def test_a_source_that_changes_or_vanishes_is_tried_again(
    made: Job, tmp_path: Path, how: str, code: str
) -> None:
    footage = tmp_path / "footage"
    shutil.copytree(made.footage, footage)
    configs = made.configs
    undisturbed = Job(str(footage), str(tmp_path / "undisturbed"), configs)
    run_here(everything(undisturbed))
    job = Job(str(footage), str(tmp_path / "data"), configs)
    victim = footage / "51.mp4"
    stat, content = victim.stat(), victim.read_bytes()
    errors = split_with_a_disturbance(job, [victim], how=how)
    assert (errors.pop("51.mp4") or "").startswith(code)
    assert errors == {"52.mp4": None, "still.jpg": None}
    good = {path: path.stat().st_mtime_ns for path in Path(job.data, "tables/segments").iterdir()}

    victim.write_bytes(content)
    os.utime(victim, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    run_here(everything(job))
    assert_same(job.data, undisturbed.data)
    kept = [path for path, written in good.items() if path.exists() and ".again" not in path.name]
    assert len(kept) == 2 and all(path.stat().st_mtime_ns == good[path] for path in kept)


def test_what_was_made_of_a_file_that_was_gone_is_made_anew(made: Job, tmp_path: Path) -> None:
    footage = tmp_path / "footage"
    shutil.copytree(made.footage, footage)
    configs = made.configs
    undisturbed = Job(str(footage), str(tmp_path / "undisturbed"), configs)
    run_here(everything(undisturbed))
    job = Job(str(footage), str(tmp_path / "data"), configs)
    away = (footage / "52.mp4").rename(tmp_path / "away.mp4")
    (footage / "52.mp4").symlink_to(tmp_path / "nowhere")
    run_here(everything(job))
    (failed,) = [row for row in rows(job.data, "videos") if row["error"]]
    assert failed["error"] == "unreadable: FileNotFoundError"
    (footage / "52.mp4").unlink()
    away.rename(footage / "52.mp4")
    run_here(everything(job))
    for table in ("clips", "filter", "shard"):
        assert storage.read_table(f"{job.data}/tables/{table}").num_rows == 5
    assert_same(job.data, undisturbed.data, without=("shards/", "tables/index"))
