"""One long run, killed with all its processes at twenty random moments: not one byte differs."""

import random
from pathlib import Path

import pytest

from tests.curation.footage_made import (
    Job,
    assert_same,
    make_footage,
    make_two,
    record,
    run_alone,
    start,
    write_configs,
)
from tests.curation.killing import kill_when, wait_until_gone
from tests.videos import pan, write_video

SEED = 20261121
NUM_KILLS = 20
CONFIG = """\
inventory:
  divide_from_s: 6
  divide_every_s: 2
scan:
  segment_s: 3
split:
  max_s: 1.5
filter:
  rules:
    - {name: black, column: black_frames_pct, max: 20}
shard:
  short_sides: [48, 64, 96]
  frame_counts: [1, 13, 17, 25, 33, 49]
  samples_per_shard: 4
"""


def num_files(data: str) -> int:
    """Committed files: every unit of every stage adds some, and none goes before its stage ends."""
    return sum(1 for path in Path(data).rglob("*") if path.is_file() and path.name[0] != ".")


@pytest.mark.slow
def test_a_run_killed_at_twenty_random_moments_ends_in_the_same_bytes(tmp_path: Path) -> None:
    footage = make_footage(tmp_path / "footage")
    for seed in range(20, 32):
        make_two(footage / f"{seed}.mp4", seed=seed)
    long = pan(32, 400, height=64, width=112)
    write_video(footage / "segments.mp4", long, fps=25, options={"g": "25", "preset": "ultrafast"})
    configs = write_configs(tmp_path / "configs", curation=CONFIG)
    undisturbed, job = (
        Job(str(footage), str(tmp_path / name), configs) for name in ("undisturbed", "killed")
    )
    log = tmp_path / "log"
    command = ["curation", "split", "dedup", "filter", "shard", "--footage", job.footage]
    command += ["--config", f"{configs}/curation.yaml", "--workers", "2", "--data"]
    run_alone([*command, undisturbed.data], log=log)
    units = {
        stage: record(undisturbed.data, stage)["counts"]["units"] for stage in ("scan", "split")
    }
    assert units["scan"] == units["split"] + 3, "the long file is scanned in four segments"

    last = num_files(undisturbed.data) - 10  # a kill may come some files late
    started: dict[int, str] = {}
    for moment in sorted(random.Random(SEED).sample(range(1, last), NUM_KILLS)):
        process = start([*command, job.data], log=log)
        enough = max(moment, num_files(job.data) + 1)

        def reached(enough: int = enough) -> bool:
            return num_files(job.data) >= enough

        started |= kill_when(process, reached, whole=True)
    run_alone([*command, job.data], log=log)
    assert_same(job.data, undisturbed.data)
    wait_until_gone(started)
