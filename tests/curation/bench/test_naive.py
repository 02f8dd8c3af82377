"""The usual way is done for real: shots found, clips written and read again."""

import shutil
from pathlib import Path

import cv2
import pytest

from curation.bench.naive import detect, few_pictures, flow, naive, write_clip

pytestmark = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")


def test_the_shots_are_found(film: Path) -> None:
    shots = detect(str(film))
    starts = [round(begin * 25) for begin, _ in shots]
    assert len(set(starts) & {0, 30, 76, 137, 187}) >= 4  # its last shot is too short for it


@pytest.mark.parametrize("cut", ["encode", "copy"])
def test_a_clip_is_written_and_read(cut: str, film: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mkv"
    write_clip(str(film), clip, 76 / 25, 137 / 25, stream=0, cut=cut)
    count, capture = 0, cv2.VideoCapture(str(clip))
    while capture.grab():
        count += 1
    assert count == 61 if cut == "encode" else 61 <= count <= 110
    assert flow(clip) > 0.1
    assert len(few_pictures(clip)) == 3


def test_every_step_costs(film: Path) -> None:
    spent = naive(str(film), stream=0)
    assert list(spent) == ["encode", "copy"]
    for steps in spent.values():
        assert list(steps) == ["detect", "cut", "flow", "pictures"]
        assert all(seconds > 0 for seconds in steps.values())
    assert spent["encode"]["cut"] > spent["copy"]["cut"]
    assert spent["encode"]["detect"] == spent["copy"]["detect"]


def test_a_file_that_the_tools_cannot_open_has_no_cost(tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"<!doctype html>")
    assert naive(str(broken), stream=0) == {}
