"""The measured pass is the real one: its tables, its clips, every part of it."""

from pathlib import Path

import pytest

from curation.bench.passes import curate, cut_all, laps
from curation.meters import METERS
from curation.stages.scan import Scan


@pytest.fixture(scope="module")
def tables(film: Path):
    return curate(str(film), knobs=Scan())


def test_one_pass_gives_clips_thumbs_and_columns(tables) -> None:
    assert tables["videos"]["decoded_frames"].to_pylist() == [250]
    assert tables["clips"]["start_frame"].to_pylist() == [0, 30, 76, 137, 187, 242]
    assert tables["thumbs"].num_rows >= 10 and tables["keyframes"].num_rows >= 6


def test_every_clip_is_copied(film: Path, tables) -> None:
    assert cut_all(str(film), tables) == {"copy": 6}


def test_every_part_has_its_share(film: Path) -> None:
    spent_s = laps(str(film))
    assert {meter.__name__.lower() for meter in METERS} < set(spent_s)
    assert {"decode", "small planes", "cuts", "thumbs"} < set(spent_s)
    assert all(seconds > 0 for seconds in spent_s.values())
    assert spent_s["decode"] > spent_s["fingerprint"]
