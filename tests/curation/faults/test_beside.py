"""Good files in bad company: the run ends, every file keeps its row, the good ones their bytes."""

import shutil
from pathlib import Path

import pytest

from curation.bench.faults import damaged, differing
from curation.bench.hostile import write_hostile
from tests.curation.footage_made import (
    Job,
    make_two,
    record,
    rows,
    run_here,
    write_configs,
    write_image,
)
from tests.curation.killing import processes
from tests.videos import pan, write_video

pytestmark = pytest.mark.usefixtures("ray_session")

CONFIG = "scan:\n  deadline_per_segment_s: 4\n"
SPINS = "many times 8192.gif"
LEFT_OUT = {"8192.h264", "8192.png", "millions of samples.mp4", "megabytes of comment.png",
            "one frame again and again.mp4"}  # fmt: skip
"""Seconds of work each, tried by themselves in test_decoding."""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("good")
    write_video(folder / "c.webm", pan(3, 24), codec="libvpx-vp9", options={"deadline": "realtime"})
    return [make_two(folder / "a.mp4", seed=41), make_two(folder / "b.mp4", seed=42),
            folder / "c.webm", write_image(folder / "d.jpg", seed=44)]  # fmt: skip


def split_beside(good: list[Path], bad: Path, base: Path) -> Job:
    """Split the good files alone, then beside everything in a folder. Returns the second job."""
    configs = write_configs(base / "configs", curation=CONFIG)
    alone = Job(str(base / "footage"), str(base / "alone"), configs)
    for path in good:
        (base / "footage").mkdir(exist_ok=True)
        shutil.copy2(path, base / "footage" / path.name)
    run_here(alone.split())
    bad.rename(base / "footage" / "bad")
    together = Job(alone.footage, str(base / "together"), configs)
    run_here(together.split())
    assert differing(Path(alone.data), Path(together.data)) == []
    listed = [path for path in (base / "footage").rglob("*") if path.is_file()]
    assert sorted(row["uri"] for row in rows(together.data, "videos")) == sorted(map(str, listed))
    counts = record(together.data, "split")["counts"]
    assert counts["rows"] == len(listed) >= counts["failed"]
    return together


def errors(job: Job) -> dict[str, str | None]:
    return {Path(row["uri"]).name: row["error"] for row in rows(job.data, "videos")}


def test_hostile_and_damaged_files(good: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    for path in write_hostile(bad, secret=good[0], url="http://127.0.0.1:9/x.mp4"):
        if path.name in LEFT_OUT:
            path.unlink()
    for path in damaged(good, tmp_path, seed=20261121, each=1):
        path.rename(bad / path.name)
    before = set(processes())
    found = errors(split_beside(good, bad, tmp_path))
    assert found[SPINS] == "deadline: not finished after 4 s in each of 2 attempts"
    assert {path.name: found[path.name] for path in good} == {path.name: None for path in good}
    assert found["attachments.mkv"] is None and (found["concat.mp4"] or "").startswith("not_media")
    unforeseen = {n: e for n, e in found.items() if e and e.startswith(("stage_failed", "decoder"))}
    assert unforeseen == {}
    left = [words for pid, (_, _, words) in processes().items() if pid not in before]
    assert not [words for words in left if "ray::" not in words and "defunct" not in words], left


@pytest.mark.slow
def test_the_bad_files_of_the_shared_footage(
    good: list[Path], footage: Path, tmp_path: Path
) -> None:
    shutil.copytree(footage / "bad", tmp_path / "bad")
    found = errors(split_beside(good, tmp_path / "bad", tmp_path))
    unforeseen = {n: e for n, e in found.items() if e and e.startswith(("stage_failed", "decoder"))}
    assert unforeseen == {}
