"""The camera's part in the motion of a picture, and what a viewer would call it.

A camera that pans, tilts, zooms or rolls moves every still point z = x + iy of the picture by
t + k z: two complex numbers hold a translation, a scale and a rotation (a similarity). They are
fitted to the flow by weighted least squares, weighted anew by how well each point agrees (Holland
and Welsch 1977, "Robust regression using iteratively reweighted least-squares", with the weights of
Geman and McClure 1985), so that a subject of up to a third of the picture does not pull at it. What
the fit leaves is the subject's motion, and the parallax of a camera that travels.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

STRIDE = 4  # of the flow: the patches that it is made of lie so far apart
ROUNDS = 5  # of reweighting; more change the translation by less than 0.01 px
NOISE_PX = 0.1  # how far the flow of a still point strays, of 128; disagreement starts above it

STILL_WIDTH_PCT_PER_S = 1.0  # a camera on a tripod reads up to 0.5 from its sensor's noise
PURE = 2 / 3  # of the motion is of one kind, or it is called mixed
STEADY = 0.5  # of the mean speed is left as the speed of the mean where a move has a direction
SHAKING_WIDTH_PCT_PER_S = 20.0  # see `Motion`: from here on a viewer sees the hand


def grid(height: int, width: int) -> np.ndarray:
    """(N,) complex64 points x + iy, pixels from the middle, at which the flow is looked at."""
    return _grid(height, width)


@lru_cache(maxsize=8)  # a pass has one size
def _grid(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[STRIDE // 2 : height : STRIDE, STRIDE // 2 : width : STRIDE]
    return ((x - (width - 1) / 2) + 1j * (y - (height - 1) / 2)).astype(np.complex64).ravel()


def at_grid(flow_HW2: np.ndarray) -> np.ndarray:
    """(N,) complex64 flow u + iv, pixels, at the points of `grid`."""
    flow_HW = flow_HW2.view(np.complex64)[..., 0]
    return flow_HW[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE].ravel()


def fit(flow: np.ndarray, points: np.ndarray) -> tuple[complex, complex]:
    """(t, k): the similarity flow = t + k * points that most points agree with."""
    # weighted sums of these rows are all that least squares needs
    sums_of = np.stack(
        [
            np.ones_like(points),
            points,
            points * points.conj(),
            flow,
            flow * points.conj(),
        ]
    )
    weights = np.ones(len(points), np.complex64)
    shift, scale = 0j, 0j
    for _ in range(ROUNDS):
        one, z, zz, f, fz = (sums_of @ weights).tolist()
        spread = (zz - abs(z) ** 2 / one).real
        scale = (fz - f * z.conjugate() / one) / spread if spread > 0 else 0j
        shift = (f - scale * z) / one
        rest = flow - (shift + scale * points)
        rest2 = rest.real**2 + rest.imag**2
        mean2 = float(weights.real @ rest2) / one.real
        weights = (1 / (1 + rest2 / max(NOISE_PX**2, mean2)) ** 2).astype(np.complex64)
    return shift, scale


@dataclass(frozen=True)
class Move:
    """Mean motion of a camera over a clip."""

    pan: float
    """% of frame width per second; positive: the camera turns right."""
    tilt: float
    """% of frame width per second; positive: up."""
    zoom: float
    """% per second; positive: in."""
    roll: float
    """Degrees per second; positive: clockwise."""
    speed: float
    """Mean speed over the picture, % of frame width per second, whatever its direction."""
    jitter: float
    """Change of the camera's speed from one frame to the next, % of frame width per second."""
    aspect: float
    """Width / height."""


def name(move: Move) -> str:
    """static, pan left, pan right, tilt up, tilt down, zoom in, zoom out, roll, handheld, mixed."""
    if move.speed < STILL_WIDTH_PCT_PER_S:
        return "static"
    # a zoom and a roll move a point in proportion to its distance from the middle
    reach = mean_radius(move.aspect)
    parts = {
        "pan right" if move.pan > 0 else "pan left": abs(move.pan),
        "tilt up" if move.tilt > 0 else "tilt down": abs(move.tilt),
        "zoom in" if move.zoom > 0 else "zoom out": abs(move.zoom) * reach,
        "roll": abs(math.radians(move.roll)) * 100 * reach,
    }
    steady = math.hypot(*parts.values())
    if steady < STEADY * move.speed or move.jitter > SHAKING_WIDTH_PCT_PER_S:
        return "handheld"
    best = max(parts, key=lambda part: parts[part])
    return best if parts[best] ** 2 >= PURE * steady**2 else "mixed"


def mean_radius(aspect: float) -> float:
    """Mean distance of a picture's points from its middle, in widths (a picture of width 1)."""
    x, y = np.meshgrid(np.linspace(-0.5, 0.5, 33), np.linspace(-0.5, 0.5, 33) / aspect)
    return float(np.hypot(x, y).mean())
