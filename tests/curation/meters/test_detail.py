"""Sharpness and blockiness of frames and files."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from curation.meters.detail import NUM_LINES, Detail, lines
from curation.meters.sharpness import sharpness
from tests.curation.meters.feeding import feed, file_pictures, full_pictures, read
from tests.videos import texture, write_video


def fine(seed: int = 4) -> np.ndarray:
    """A 1280x720 picture with edges at every scale."""
    image = texture(seed, height=720, width=1280)[..., 1].astype(int)
    rng = np.random.default_rng(seed)
    for size in (11, 37):  # no multiple of a codec's blocks
        coarse = rng.integers(0, 120, (720 // size, 1280 // size)).astype(np.uint8)
        image += cv2.resize(coarse, (1280, 720), interpolation=cv2.INTER_NEAREST)
    return (image // 2 + 20).clip(0, 255).astype(np.uint8)


def columns_of(lumas: list[np.ndarray]) -> dict:
    meter = Detail()
    return read(meter, feed(meter, full_pictures(lumas)), 0, len(lumas))


def test_it_looks_once_a_second_and_takes_the_median() -> None:
    sharp = fine()
    soft = cv2.GaussianBlur(sharp, (0, 0), 3)
    meter = Detail()
    rows = feed(meter, full_pictures([sharp] * 2 + [soft] * 3, fps=1.0))
    assert rows["frame"].tolist() == [0, 1, 2, 3, 4]
    assert read(meter, rows, 0, 5)["sharpness_pct"] == pytest.approx(
        columns_of([soft])["sharpness_pct"]
    )
    assert len(feed(meter, full_pictures([sharp] * 48, fps=24.0))) == 2


def test_defocus_shows_though_coarse_coding_leaves_steps() -> None:
    squares = np.random.default_rng(1).integers(20, 230, (6, 10))
    squares = np.kron(squares, np.ones((120, 128))).astype(np.uint8)
    steps = cv2.GaussianBlur(squares, (0, 0), 20) // 16 * 16
    found, in_focus = columns_of([steps]), columns_of([squares])
    assert found["sharpness_pct"] >= 50  # the steps pass for sharp edges
    assert found["focus_pct"] < 15 < 60 < in_focus["focus_pct"]


def test_bars_and_their_edges_are_left_out() -> None:
    soft = cv2.GaussianBlur(fine(), (0, 0), 3)
    barred = soft.copy()
    barred[:95], barred[-95:], barred[:, :150] = 2, 2, 2  # their edges are sharp
    expected = columns_of([soft])["sharpness_pct"]
    assert columns_of([barred])["sharpness_pct"] == pytest.approx(expected, rel=0.1)


def test_black_and_empty_pictures_have_no_verdict() -> None:
    empty = {"sharpness_pct": None, "blockiness_pct": None, "focus_pct": None}
    assert columns_of([np.zeros((720, 1280), np.uint8)] * 3) == empty
    assert columns_of([np.full((720, 1280), 80, np.uint8)])["sharpness_pct"] is None


def test_lines_are_spread_over_the_inside() -> None:
    y, x = np.mgrid[0:720, 0:1280]
    rows, columns = lines((y // 4).astype(np.uint8), inside=(9, 0, 0, 0), small=(72, 128))
    assert rows[:, 0].min() == 100 // 4  # nine lines of ten pixels, and one more
    assert NUM_LINES <= len(rows) <= NUM_LINES + 2
    assert columns.shape == (NUM_LINES, 620)
    # one lit spot in the dark: its edges on both sides leave nothing, and no sharpness
    for dark in ((40, 31, 60, 67), (0, 71, 0, 127)):
        spot = lines(np.zeros((360, 640), np.uint8), inside=dark, small=(72, 128))
        assert spot[0].size == spot[1].size == 0 and np.isnan(sharpness(*spot))
    tiny = lines(np.zeros((4, 4), np.uint8), inside=(0, 0, 0, 0), small=(32, 32))
    assert tiny[1].shape == (0, 4)


@pytest.mark.parametrize(
    ("codec", "pixel_format", "coarse", "good"),
    [
        ("mpeg4", "yuv420p", {"qmin": "25", "qmax": "31"}, {"qmin": "1", "qmax": "2"}),
        ("mjpeg", "yuvj420p", {"qmin": "25", "qmax": "31"}, {"qmin": "1", "qmax": "2"}),
        ("libx264", "yuv420p", {"crf": "44", "x264-params": "no-deblock=1"}, {"crf": "10"}),
    ],
)
def test_a_codec_that_starves_is_seen(
    tmp_path: Path, codec: str, pixel_format: str, coarse: dict, good: dict
) -> None:
    picture = cv2.GaussianBlur(fine(), (0, 0), 1.5)
    frames = [np.repeat(picture[:, i : i + 640, None], 3, axis=2) for i in range(0, 8, 2)]
    original = columns_of([frame[..., 1] for frame in frames])["blockiness_pct"]
    found = {}
    for name, options in (("coarse", coarse), ("good", good)):
        path = tmp_path / f"{name}.mkv"
        write_video(path, frames, codec=codec, pixel_format=pixel_format, options=options)
        meter = Detail()
        found[name] = read(meter, feed(meter, file_pictures(path)), 0, 4)["blockiness_pct"]
    assert original < 5
    assert found["good"] < 35  # even the finest quantiser of MPEG-4 leaves a grid in flat places
    assert found["coarse"] > 120
