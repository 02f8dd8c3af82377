"""Triage from the command line: other rules leave what a first run with them leaves."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from curation import dataset
from curation.__main__ import main
from tests.videos import pan, write_video

CONFIG = """
look: {every_s: 1.0}
triage:
  enabled: true
  min_stretch_s: 0
  rules:
    - {name: black, column: dark_pct, max: 99.5}
"""
STILL = "    - {name: still, column: still_s, max: 3}\n"


def split(tmp_path: Path, config: str, data: str) -> dict[str, pa.Table]:
    yaml = tmp_path / "config.yaml"
    yaml.write_text(config)
    words = ["split", "--config", str(yaml), "--data", str(tmp_path / data)]
    assert main([*words, "--footage", str(tmp_path / "footage"), "--workers", "1"]) == 0
    tables = {name: dataset.require(str(tmp_path / data), name) for name in ("videos", "clips")}
    return {name: table.sort_by("uri").to_pylist() for name, table in tables.items()}


def test_other_rules_leave_what_a_fresh_run_leaves(tmp_path: Path) -> None:
    (tmp_path / "footage").mkdir()
    black = np.random.default_rng(0).integers(0, 6, (96, 96, 160, 3), np.uint8)
    still = np.repeat(pan(7, 1), 120, axis=0)
    film = np.concatenate([pan(1, 72), black, pan(2, 72), still, pan(3, 72)])
    write_video(tmp_path / "footage" / "film.mp4", film, options={"g": "12"})
    first = split(tmp_path, CONFIG, "data")
    more = split(tmp_path, CONFIG + STILL, "data")
    assert {row["reject"] for row in first["clips"]} == {None, "triage_black"}
    assert {row["reject"] for row in more["clips"]} == {None, "triage_black", "triage_still"}
    assert more == split(tmp_path, CONFIG + STILL, "fresh")
    assert split(tmp_path, CONFIG, "data") == first
