"""Blockiness of pictures with and without a grid."""

import cv2
import numpy as np
import pytest

from curation.meters.blockiness import blockiness
from tests.videos import texture

IMAGE = texture(3, height=480, width=640)[..., 1]


def of(image: np.ndarray) -> float:
    return blockiness(image[::8], np.ascontiguousarray(image[:, ::8].T))


def as_jpeg(image: np.ndarray, *, quality: int) -> np.ndarray:
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))


def test_steps_on_the_grid_against_those_within() -> None:
    line = np.cumsum(
        np.where(np.arange(256) % 8 == 0, 6, 2) * np.where(np.arange(256) // 8 % 2, -1, 1)
    )
    lines = np.tile((line + 100).astype(np.uint8), (9, 1))
    assert blockiness(lines) == pytest.approx((6 - 2) / (2 + 0.5))


def test_a_picture_and_noise_have_no_grid() -> None:
    assert of(IMAGE) < 0.05
    noise = np.random.default_rng(0).normal(128, 9, (480, 640))
    assert of(np.clip(noise, 0, 255).astype(np.uint8)) < 0.05


def test_the_coarser_the_blockier_wherever_the_grid_lies() -> None:
    found = [of(as_jpeg(IMAGE, quality=quality)) for quality in (90, 50, 20, 8)]
    assert np.all(np.diff(found) > 0)
    assert found[-1] > 0.5
    cropped = as_jpeg(IMAGE, quality=8)[3:, 5:]
    assert of(cropped) == pytest.approx(found[-1], rel=0.2)


def test_too_short_a_line_says_nothing() -> None:
    assert np.isnan(blockiness(IMAGE[:4, :20], IMAGE[:0]))
