"""`make bench` on a folder: every table, each figure with its goal, copies measured once."""

import shutil
from pathlib import Path

import pytest

from curation.bench import cost
from curation.bench.clock import Paired
from curation.bench.cost import Cost, naive_ratio, ratio, unlike

pytestmark = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")


def known(*, unit_s: float, pass_ratio: float, encode_s: float | None) -> Cost:
    usual = {} if encode_s is None else {"encode": {"detect": 1.0, "cut": encode_s - 1.0}}
    paired = Paired(unit_s, unit_s * pass_ratio, pass_ratio)
    return Cost("x", "h264 720p", 1, 1, 1, 1, paired, paired, {}, usual, {}, {})


def test_ratios_of_several_files_are_weighted_by_their_decoding() -> None:
    costs = [
        known(unit_s=1, pass_ratio=1.0, encode_s=10),
        known(unit_s=3, pass_ratio=2.0, encode_s=None),
    ]
    assert ratio(costs, lambda c: c.exact) == pytest.approx((1 + 6) / 4)
    assert naive_ratio(costs, "encode") == pytest.approx(10), "only where the tools work"


def test_files_with_the_same_bytes_are_measured_once(film: Path, tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(film, tmp_path / name)
    (tmp_path / "c.mp4").write_bytes(b"no video")
    uris = [str(tmp_path / name) for name in ("a.mp4", "b.mp4", "c.mp4")]
    assert unlike(uris) == [uris[0], uris[2]]


def test_the_bench_of_a_folder(
    film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(film, tmp_path / "film.mp4")
    (tmp_path / "page.mp4").write_bytes(b"<!doctype html>")
    cost.bench(str(tmp_path), rounds=1)
    said = capsys.readouterr().out
    figures = said[said.index("figure ") :].splitlines()[1:]
    assert [line.split("  ")[0] for line in figures] == [
        "pass / decode, h264 272p",
        "fast / decode, h264 272p",
        "usual way / ours, clips re-encoded",
        "usual way / ours, clips copied",
    ]
    assert all(float(line.split()[-1]) > 0 for line in figures)
    assert "page.mp4" not in said and "6/6" in said  # clips copied


def test_a_folder_without_video_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "page.mp4").write_bytes(b"<!doctype html>")
    with pytest.raises(ValueError, match="holds no video that can be decoded"):
        cost.bench(str(tmp_path), rounds=1)
