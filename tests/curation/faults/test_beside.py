"""Good files in bad company: the run ends, every file keeps its row, the good ones their bytes."""

import math
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
from tests.curation.splitting import split_folder
from tests.videos import pan, write_video

DETECTOR = "adaptive"  # what the network makes of three frames is not asked here
CONFIG = f"scan:\n  detector: {DETECTOR}\n  deadline_per_segment_s: {{:g}}\n"
SHORT_S, LONG_S = 8.0, 30.0  # a good file takes 0.3 s of a core
SPINS = "many times 8192.gif"
LARGE = {"8192.h264", "8192.png", "millions of samples.mp4", "megabytes of comment.png",
         "one frame again and again.mp4"}  # fmt: skip
"""Seconds of work each, tried by themselves in test_decoding."""
COMPANY = {SPINS, "hls of a file.mp4", "hls of a url.mp4", "concat.mp4", "external alias.mov",
           "30000 in the header.mp4", "30000.png", "grows to 30000.mkv", "boxes in boxes.mp4",
           "thousands of streams.mkv", "begins before time.mp4", "attachments.mkv"}  # fmt: skip
"""One of each kind of attack."""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("good")
    write_video(folder / "c.webm", pan(3, 24), codec="libvpx-vp9", options={"deadline": "realtime"})
    return [make_two(folder / "a.mp4", seed=41), folder / "c.webm",
            write_image(folder / "d.jpg", seed=44)]  # fmt: skip


def hostile(folder: Path, good: list[Path]) -> dict[str, Path]:
    files = write_hostile(folder, secret=good[0], url="http://127.0.0.1:9/x.mp4")
    return {path.name: path for path in files}


def split_beside(good: list[Path], bad: Path, base: Path, *, deadline_s: float) -> Job:
    """Split the good files alone, then beside everything in a folder. Returns the second job."""
    configs = write_configs(base / "configs", curation=CONFIG.format(deadline_s))
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


def errors(found: list[dict]) -> dict[str, str]:
    """By file name; "" where there is none."""
    return {Path(row["uri"]).name: row["error"] or "" for row in found}


def unforeseen(found: dict[str, str]) -> dict[str, str]:
    return {n: e for n, e in found.items() if e.startswith(("stage_failed", "decoder_crashed"))}


@pytest.mark.usefixtures("ray_session")
def test_a_run_goes_on_beside_files_of_every_kind_of_attack(
    good: list[Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad"
    for name, path in hostile(bad, good).items():
        if name not in COMPANY:
            path.unlink()
    for path in damaged(good[:1], tmp_path, seed=20261121, each=1):
        path.rename(bad / path.name)
    job = split_beside(good, bad, tmp_path, deadline_s=SHORT_S)
    found = errors(rows(job.data, "videos"))
    assert found[SPINS] == f"deadline: not finished after {SHORT_S:g} s in each of 2 attempts"
    assert {path.name: found[path.name] for path in good} == {path.name: "" for path in good}
    assert found["attachments.mkv"] == "" and found["concat.mp4"].startswith("not_media: ")
    assert unforeseen(found) == {}


def test_what_is_measured_of_hostile_files_are_numbers(good: list[Path], tmp_path: Path) -> None:
    files = hostile(tmp_path / "files", good)
    for name in LARGE | {SPINS}:
        files.pop(name).unlink()
    tables = split_folder(tmp_path / "files", scan={"detector": DETECTOR})
    assert {row["uri"] for row in tables["videos"]} == set(map(str, files.values()))
    assert sum(row["error"] is None for row in tables["videos"]) > len(files) / 3
    assert_numbers(tables)


def test_the_bad_files_of_the_shared_footage_are_refused_or_measured(footage: Path) -> None:
    tables = split_folder(footage / "bad", scan={"detector": DETECTOR})
    listed = [path for path in (footage / "bad").iterdir() if path.is_file()]
    assert {row["uri"] for row in tables["videos"]} == set(map(str, listed))
    assert_numbers(tables)


def assert_numbers(tables: dict[str, list[dict]]) -> None:
    for table in ("videos", "clips"):
        assert tables[table]
        for row in tables[table]:
            values = {k: v for k, v in row.items() if isinstance(v, float)}
            assert {k: v for k, v in values.items() if not math.isfinite(v)} == {}, row["uri"]
    for row in tables["clips"]:
        assert 0 <= row["start_frame"] < row["end_frame"] and row["start_s"] < row["end_s"]


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_a_run_goes_on_beside_all_of_them(good: list[Path], footage: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    hostile(bad, good)
    shutil.copytree(footage / "bad", bad / "shared")
    found = errors(rows(split_beside(good, bad, tmp_path, deadline_s=LONG_S).data, "videos"))
    assert unforeseen(found) == {}
