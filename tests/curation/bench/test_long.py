"""Peak memory is that of a process that really scans, and its tables are those of a pass here."""

import math
import shutil
from pathlib import Path

import pytest

from curation.bench.long import TABLES, peak_gib, split, two_at_once
from curation.bench.passes import curate
from curation.stages.scan import Scan

pytestmark = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")


def test_a_scan_in_a_process_of_its_own(film: Path) -> None:
    peak, tables = peak_gib(film)
    here = curate(str(film), knobs=Scan())
    assert 0.05 < peak < 1.5
    assert all(tables[name].equals(here[name]) for name in TABLES)


def test_two_decodes_at_once_give_a_ratio(film: Path) -> None:
    assert 0 < two_at_once(film) < math.inf


@pytest.mark.slow
def test_the_command_gives_the_tables_of_a_pass(film: Path) -> None:
    run = split(film, workers=1)
    here = curate(str(film), knobs=Scan())
    assert all(run.tables[name].equals(here[name]) for name in TABLES)
    assert 0 < run.scan_s < run.command_s
