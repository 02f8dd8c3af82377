"""Sharpness of edges whose width is known, and of one texture made softer and softer."""

import cv2
import numpy as np
import pytest

from curation.meters.sharpness import sharpness

RNG = np.random.default_rng(0)


def patches(*, height: int = 480, width: int = 640) -> np.ndarray:
    """Rectangles of different greys: sharp edges both ways, as in a drawing."""
    coarse = RNG.integers(20, 236, (height // 16, width // 16), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)


def of(image: np.ndarray) -> float:
    return sharpness(image[::8], np.ascontiguousarray(image[:, ::8].T))


def noisy(image: np.ndarray, *, levels: float) -> np.ndarray:
    return np.clip(image + RNG.normal(0, levels, image.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("width_px", "expected"), [(1, 1.0), (2, 0.5), (4, 0.25), (8, 0.125)])
def test_an_edge_that_rises_over_so_many_pixels(width_px: int, expected: float) -> None:
    ramp = np.clip((np.arange(64) - 30) / width_px, 0, 1) * 160 + 40
    lines = np.tile(ramp.astype(np.uint8), (40, 1))
    assert sharpness(lines) == pytest.approx(expected, rel=0.02)


def test_contrast_does_not_count() -> None:
    image = cv2.GaussianBlur(patches(), (0, 0), 1.5)
    assert of((image // 3 + 60).astype(np.uint8)) == pytest.approx(of(image), rel=0.1)


def test_the_softer_the_less_sharp() -> None:
    image = patches()
    blurred = [of(cv2.GaussianBlur(image, (0, 0), sigma)) for sigma in (0.5, 1, 2, 4)]
    assert of(image) > 0.95
    assert np.all(np.diff([of(image), *blurred]) < -0.05)
    height, width = image.shape
    enlarged = []
    for factor in (1, 2, 4):
        small = cv2.resize(image, (width // factor, height // factor), interpolation=cv2.INTER_AREA)
        enlarged.append(of(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)))
    assert np.all(np.diff(enlarged) < -0.03)
    assert enlarged[1] == pytest.approx(0.5, abs=0.1)


def test_noise_makes_a_soft_picture_no_sharper() -> None:
    soft = cv2.GaussianBlur(patches(), (0, 0), 2.5)
    assert of(noisy(soft, levels=5)) == pytest.approx(of(soft), abs=0.06)
    assert of(noisy(patches(), levels=5)) > 0.9


def test_a_small_subject_in_focus_is_enough() -> None:
    image = patches()
    bokeh = cv2.GaussianBlur(image, (0, 0), 6)
    bokeh[160:320, 240:400] = image[160:320, 240:400]  # an eighth of the picture
    assert of(bokeh) > 0.9


def test_no_edges_no_verdict() -> None:
    assert np.isnan(of(np.full((480, 640), 90, np.uint8)))
    assert np.isnan(of(noisy(np.full((480, 640), 90, np.uint8), levels=1.5)))
    assert np.isnan(sharpness(np.zeros((0, 640), np.uint8), np.zeros((4, 5), np.uint8)))
