"""Brightness, contrast and empty frames of pictures whose levels are known."""

import numpy as np
import pytest

from curation.meters.exposure import Exposure, measure, percentile_range
from tests.curation.meters.feeding import feed, flat, pictures, read


def histogram(luma: np.ndarray) -> np.ndarray:
    return np.bincount(luma.ravel(), minlength=256).astype(np.float32)


def test_exposure_of_flat_frames() -> None:
    meter = Exposure()
    rows = feed(meter, pictures([flat(0), flat(51), flat(102), flat(255)], chroma=160, fps=2.0))
    found = read(meter, rows, 0, 4)
    assert found["luma_mean_pct"] == pytest.approx((0 + 20 + 40 + 100) / 4)
    assert (found["black_frames_pct"], found["blown_frames_pct"]) == (25, 25)
    assert found["chroma_mean_pct"] == pytest.approx(25)  # 32 of 128 from grey
    assert found["contrast_pct"] == 0
    assert read(meter, rows, 1, 2)["luma_mean_pct"] == pytest.approx(20)


def test_a_frame_is_black_with_98_per_cent_of_black_pixels() -> None:
    luma = np.full((100, 100), 10, np.uint8)
    luma[:2] = 200
    assert measure(luma)[1:3] == (True, False)
    luma[:3] = 200
    assert measure(luma)[1:3] == (False, False)


def test_a_frame_is_blown_with_half_of_its_pixels_white() -> None:
    luma = np.full((100, 100), 120, np.uint8)
    luma[:50] = 250
    assert measure(luma)[1:3] == (False, True)
    luma[49] = 249
    assert measure(luma)[1:3] == (False, False)


def test_contrast_is_the_range_without_the_extreme_twentieths() -> None:
    ramp = np.repeat(np.arange(200, dtype=np.uint8), 50)  # 5 % lie below 10, 95 % below 190
    assert percentile_range(histogram(ramp)) == 180
    haze = np.where(np.arange(10000) % 50 == 0, 255, 120 + np.arange(10000) % 11).astype(np.uint8)
    assert percentile_range(histogram(haze)) <= 11  # sparks of white add none


def test_grey_is_what_a_decoder_paints_and_not_a_flat_colour_nor_a_picture() -> None:
    faint = (128 + (np.arange(72 * 128).reshape(72, 128) % 3)).astype(np.uint8)
    picture = (np.arange(72 * 128) % 200).astype(np.uint8).reshape(72, 128)
    meter = Exposure()

    def grey(luma: np.ndarray, *, chroma: int) -> float:
        return read(meter, feed(meter, pictures([luma], chroma=chroma)), 0, 1)["grey_frames_pct"]

    assert grey(flat(130), chroma=128) == 100
    assert grey(faint, chroma=129) == 100
    assert grey(flat(130), chroma=140) == 0
    assert grey(picture, chroma=128) == 0
    assert grey(flat(3), chroma=128) == 0  # black is black
    assert grey(flat(255), chroma=128) == 0
