"""What the benchmark of triage counts, on two small films."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from curation.bench import films
from curation.bench.films import Film, frames
from curation.bench.triage import _rejected, bench
from curation.stages.filter import Rule
from curation.stages.look import Look
from curation.stages.scan import Scan
from curation.stages.triage import Triage
from tests.videos import pan, write_video

pytestmark = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")


def test_a_clip_is_lost_by_the_frames_that_were_rejected() -> None:
    edges = [(0, 100, "triage_black"), (100, 160, None), (160, 300, "triage_text")]
    stretches = [{"start_frame": a, "end_frame": b, "reject": why} for a, b, why in edges]
    for clip, lost in [((0, 80), 80), ((90, 200), 50), ((100, 160), 0)]:
        row = {"start_frame": clip[0], "end_frame": clip[1]}
        assert _rejected(row, {"stretches": stretches})[0] == lost
    assert _rejected({"start_frame": 90, "end_frame": 200}, {"stretches": stretches})[1] == (
        "triage_text"
    )


def test_what_is_saved_and_lost_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"g": "48"}
    black, shot = np.zeros((192, 96, 160, 3), np.uint8), pan(1, 96)
    write_video(tmp_path / "black.mp4", black, options=options)
    write_video(tmp_path / "film.mp4", np.concatenate([black, shot]), options=options)
    triage = Triage(enabled=True, rules=[Rule("black", "dark_pct", max=99.5)])
    rules = [Rule("too_dark", "luma_mean_pct", min=5)]
    scanning = Scan(detector="adaptive")
    bench(Look(), triage, scanning, rules, footage=str(tmp_path), rounds=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[5:] for line in lines[1:3]] == [["0.00", "black"], ["0.33", "black"]]
    figures = {line[:56].strip(): line.split()[-1] for line in lines[4:11]}
    assert figures["frames of kept clips"] == "0.200"
    assert figures["kept clips of which triage rejected more than half"] == "0.000"
    assert "1 clips kept without triage; 0 of them divided otherwise with it" in lines

    careless = Triage(enabled=True, rules=[Rule("all", "luma_mean_pct", max=-1)])
    bench(Look(), careless, scanning, rules, footage=str(tmp_path), rounds=1)
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("kept clips of which") and "1.000" in line for line in lines)
    assert lines[-1].startswith("lost: 96 frames of ") and lines[-1].endswith("triage_all")


def test_a_film_has_its_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    width, height = 320, 180
    monkeypatch.setattr(films, "SIZE", (width, height))
    shots = (bytes([level]) * (width * height * 3 // 2) for level in range(1, 99))
    monkeypatch.setattr(films, "pictures", lambda edit: shots)
    kinds = [("black", 0.2), ("good", 0.2), ("written", 0.2), ("still", 0.2)]
    film = Film("x.mp4", (), tuple(kinds), 1, size=(width, height))
    made = [np.frombuffer(f, np.uint8)[: width * height] for f in frames(film)]
    assert [len(f) for f in made] == [width * height] * 24
    assert max(f.mean() for f in made[:6]) == pytest.approx(20, abs=0.1)
    assert [f[0] for f in made[6:12]] == [1, 2, 3, 4, 5, 6]
    assert made[12].std() > 20
    for first in (12, 18):  # a picture that stands still, each frame with a noise of its own
        apart = [f.astype(int) - made[first] for f in made[first + 1 : first + 6]]
        assert all(abs(d.mean()) < 0.1 and 1.5 < d.std() < 3 for d in apart)
    assert made[18].mean() == pytest.approx(7, abs=0.3)
