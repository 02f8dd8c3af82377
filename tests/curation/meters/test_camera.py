"""The fit on flow fields with worked-out answers, and the names of known moves."""

import math
from dataclasses import replace

import numpy as np
import pytest

from curation.meters.camera import Move, fit, grid, mean_radius, name

POINTS = grid(72, 128)
ALL = np.ones(len(POINTS), bool)
CALM = Move(pan=0, tilt=0, zoom=0, roll=0, speed=0, shake=0, jitter=0, aspect=16 / 9)


def field(shift: complex, scale: complex, *, noise_px: float = 0.05) -> np.ndarray:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, noise_px, len(POINTS)) + 1j * rng.normal(0, noise_px, len(POINTS))
    return (shift + scale * POINTS + noise).astype(np.complex64)


def test_the_grid_lies_about_the_middle() -> None:
    assert len(POINTS) == 9 * 16
    assert abs(POINTS.mean()) <= 1
    assert abs(POINTS.real).max() == pytest.approx(60.5)


@pytest.mark.parametrize(
    ("shift", "scale"), [(1.5 - 0.5j, 0), (0, 0.02), (0, 0.02j), (2 + 1j, 0.01 - 0.01j)]
)
def test_a_camera_alone_is_fitted_exactly(shift: complex, scale: complex) -> None:
    found = fit(field(shift, scale), POINTS, ALL)
    assert found[0] == pytest.approx(shift, abs=0.02)
    assert found[1] == pytest.approx(scale, abs=0.0005)


@pytest.mark.parametrize("share", [0.2, 0.4])
def test_a_subject_does_not_pull_at_the_camera(share: float) -> None:
    flow = field(2 + 1j, 0.01)
    side = math.sqrt(share)
    flow[(abs(POINTS.real) < 64 * side) & (abs(POINTS.imag) < 36 * side)] = -3
    shift, scale = fit(flow, POINTS, ALL)
    assert shift == pytest.approx(2 + 1j, abs=0.05)
    assert scale == pytest.approx(0.01, abs=0.001)


def test_only_the_points_that_count_are_asked() -> None:
    flow = field(2, 0)
    bars = abs(POINTS.imag) > 20  # nearly half of the picture stands still
    flow[bars] = 0
    assert fit(flow, POINTS, ~bars)[0] == pytest.approx(2, abs=0.04)
    nothing = np.zeros(len(POINTS), bool)  # where none counts all are asked
    assert fit(field(2, 0), POINTS, nothing)[0] == pytest.approx(2, abs=0.04)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"speed": 0.5}, "static"),
        ({"pan": 10, "speed": 10}, "pan right"),
        ({"pan": -10, "tilt": 3, "speed": 11}, "pan left"),
        ({"tilt": 10, "speed": 10}, "tilt up"),
        ({"tilt": -10, "speed": 10}, "tilt down"),
        ({"zoom": 20, "speed": 6}, "zoom in"),
        ({"zoom": -20, "speed": 6}, "zoom out"),
        ({"roll": 12, "speed": 6}, "roll"),
        ({"pan": 10, "tilt": 10, "speed": 14}, "mixed"),
        ({"pan": 1, "speed": 8, "shake": 6, "jitter": 150}, "handheld"),
        ({"pan": 10, "speed": 12, "shake": 25, "jitter": 600}, "handheld"),
        ({"pan": 0.2, "speed": 1.6, "shake": 0.8, "jitter": 20}, "static"),
    ],
)
def test_a_move_has_the_name_that_a_viewer_gives_it(parts: dict, expected: str) -> None:
    assert name(replace(CALM, **parts)) == expected


def test_mean_radius_of_a_square_is_the_known_integral() -> None:
    exact = (math.sqrt(2) + math.asinh(1)) / 6  # of the unit square about its middle
    assert mean_radius(1.0) == pytest.approx(exact, rel=0.002)
