"""The camera's part in the motion of a picture, and what a viewer would call it.

A camera that pans, tilts, zooms or rolls moves every still point z = x + iy of the picture by
t + k z: two complex numbers hold a translation, a scale and a rotation (a similarity). They are
fitted to the flow by weighted least squares, starting at the median and weighted anew by how well
each point agrees (Holland and Welsch 1977, "Robust regression using iteratively reweighted
least-squares", with the weights of Geman and McClure 1985), so that a subject of up to 40 % of the
picture does not pull at it. What the fit leaves is the subject's motion, and the parallax of a
camera that travels.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

STRIDE = 8  # pixels: the side of the patches that the flow is made of
ROUNDS = 3  # of reweighting; five more move the shift by less than 0.03 px
NOISE_PX = 0.05  # how far the flow of a still point strays
DOUBT = 0.3  # of the mean squared disagreement: a point that disagrees by as much counts a quarter
FEW_POINTS = 0.1  # of the grid: fewer do not speak for the camera

STILL_WIDTH_PCT_PER_S = 1.5  # noise reads up to 0.6, a subject that fills the picture up to 1.6
PURE = 2 / 3  # of the squared speed is of one kind, or the move is called mixed
STEADY = 0.5  # of the speed is left in its mean where a move has a direction
HAND_WIDTH_PCT_PER_S2 = 50.0  # jitter: a tripod before a moving subject reads up to 40


@lru_cache(maxsize=4)  # a pass has one size
def grid(height: int, width: int) -> np.ndarray:
    """(N,) complex64 points x + iy, pixels from the middle, at which the flow is looked at."""
    y, x = np.mgrid[STRIDE // 2 : height : STRIDE, STRIDE // 2 : width : STRIDE]
    return ((x - (width - 1) / 2) + 1j * (y - (height - 1) / 2)).astype(np.complex64).ravel()


def on_grid(image: np.ndarray) -> np.ndarray:
    """(N,) values of (H, W) at the points of `grid`."""
    return image[STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE].ravel()


def fit(flow: np.ndarray, points: np.ndarray, counts: np.ndarray) -> tuple[complex, complex]:
    """(t, k): the similarity flow = t + k * points that most of the (N,) points that count agree
    with; flow u + iv in pixels.
    """
    if np.count_nonzero(counts) < FEW_POINTS * len(points):
        counts = np.ones(len(points), bool)
    prior = counts.astype(np.float32)
    # weighted sums of these rows are all that least squares needs
    rows = np.empty((5, len(points)), np.complex64)
    rows[0], rows[1], rows[3] = 1, points, flow
    np.multiply(rows[1::2], points.conj(), out=rows[2::2])
    counted = flow[counts]
    middle = len(counted) // 2
    shift = complex(np.sort(counted.real)[middle], np.sort(counted.imag)[middle])
    scale = 0j
    weights, total = prior, float(prior.sum())
    for _ in range(ROUNDS):
        rest2 = np.square(np.abs(flow - (shift + scale * points)))
        doubt = DOUBT * float(weights @ rest2) / total
        weights = prior / np.square(1 + rest2 / max(NOISE_PX**2, doubt))
        one, z, zz, f, fz = (rows @ weights.astype(np.complex64)).tolist()
        total = one.real
        spread = zz.real - abs(z) ** 2 / total
        scale = (fz - f * z.conjugate() / total) / spread if spread > 0 else 0j
        shift = (f - scale * z) / total
    return shift, scale


@dataclass(frozen=True)
class Move:
    """What a camera did over a clip: the median of its looks."""

    pan: float
    """% of frame width per second; positive: the camera turns right."""
    tilt: float
    """% of frame width per second; positive: up."""
    zoom: float
    """% per second; positive: in."""
    roll: float
    """Degrees per second; positive: clockwise."""
    speed: float
    """% of frame width per second that the picture's points move by it, in any direction."""
    shake: float
    """Mean change of (pan, tilt) from one frame to the next, % of frame width per second."""
    jitter: float
    """The same per second."""
    aspect: float
    """Width / height."""


def name(move: Move) -> str:
    """static, pan left, pan right, tilt up, tilt down, zoom in, zoom out, roll, handheld or mixed.

    A camera that travels reads as a pan, tilt or zoom: from the picture's motion as a whole they
    cannot be told apart.
    """
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
    if steady < STEADY * max(move.speed, move.shake):
        return "handheld" if move.jitter >= HAND_WIDTH_PCT_PER_S2 else "static"
    best = max(parts, key=lambda part: parts[part])
    return best if parts[best] ** 2 >= PURE * steady**2 else "mixed"


def mean_radius(aspect: float) -> float:
    """Mean distance of a picture's points from its middle, in widths."""
    steps = (np.arange(32) + 0.5) / 32 - 0.5
    return float(np.hypot(steps[None], steps[:, None] / aspect).mean())
