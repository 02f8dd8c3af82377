"""Gradual transitions: the frames between two shots.

Each takes the last n frames of one shot, the first n of the next, and a weight that grows from 0 to
1, and gives n frames none of which belongs to one shot alone.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np

from curation.meters.cuts.training.sprites import HEIGHT_PX, WIDTH_PX

Mix = Callable[[np.random.Generator, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def ease(rng: np.random.Generator, num_frames: int) -> np.ndarray:
    """(T,) weights strictly between 0 and 1."""
    x = (np.arange(num_frames) + 1) / (num_frames + 1)
    kind = rng.choice(["linear", "smooth", "power"], p=[0.6, 0.3, 0.1])
    if kind == "smooth":
        return x * x * (3 - 2 * x)
    return x ** rng.uniform(0.6, 1.7) if kind == "power" else x


def blend(a: np.ndarray, b: np.ndarray, weight_T111: np.ndarray) -> np.ndarray:
    a32 = a.astype(np.float32)
    return (a32 + (b - a32) * weight_T111 + 0.5).astype(np.uint8)


def dissolve(rng: np.random.Generator, a: np.ndarray, b: np.ndarray, w: np.ndarray) -> np.ndarray:
    return blend(a, b, w[:, None, None, None].astype(np.float32))


def blur_dissolve(
    rng: np.random.Generator, a: np.ndarray, b: np.ndarray, w: np.ndarray
) -> np.ndarray:
    mixed = dissolve(rng, a, b, w)
    size = 1 + rng.uniform(2, 8) * np.sin(w * math.pi)
    return np.stack([cv2.GaussianBlur(f, (0, 0), s) for f, s in zip(mixed, size, strict=True)])


def zoom_dissolve(
    rng: np.random.Generator, a: np.ndarray, b: np.ndarray, w: np.ndarray
) -> np.ndarray:
    grow = rng.uniform(0.3, 1.5)
    sharp = np.clip((w - 0.5) * rng.uniform(1, 6) + 0.5, 0, 1)
    a = np.stack([_zoomed(f, 1 + grow * x) for f, x in zip(a, w, strict=True)])
    b = np.stack([_zoomed(f, 1 + grow * (1 - x)) for f, x in zip(b, w, strict=True)])
    return dissolve(rng, a, b, sharp)


def _zoomed(image: np.ndarray, scale: float) -> np.ndarray:
    matrix = cv2.getRotationMatrix2D((WIDTH_PX / 2, HEIGHT_PX / 2), 0, scale)
    return cv2.warpAffine(image, matrix, (WIDTH_PX, HEIGHT_PX), borderMode=cv2.BORDER_REFLECT_101)


def fade(rng: np.random.Generator, a: np.ndarray, b: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Out to one tone, some frames of it, in again."""
    tone = tones(rng)
    held = rng.uniform(0, 0.6)
    out = np.clip(w / ((1 - held) / 2), 0, 1)
    back = np.clip((1 - w) / ((1 - held) / 2), 0, 1)
    flat = np.broadcast_to(tone, a.shape).astype(np.uint8)
    first = dissolve(rng, a, flat, out)
    return np.where((w < 0.5)[:, None, None, None], first, dissolve(rng, b, flat, back))


def tones(rng: np.random.Generator) -> np.ndarray:
    """Mostly black, sometimes white, seldom a colour."""
    kind = rng.random()
    if kind < 0.7:
        return np.array([rng.integers(0, 18), 128, 128], np.float32)
    if kind < 0.93:
        return np.array([rng.integers(225, 256), 128, 128], np.float32)
    return np.array([rng.uniform(30, 220), *rng.uniform(70, 190, 2)], np.float32)


def masked(order: Callable[[np.random.Generator], np.ndarray]) -> Mix:
    """A wipe: each pixel changes when the weight passes its place in the order (0..1)."""

    def mix(rng: np.random.Generator, a: np.ndarray, b: np.ndarray, w: np.ndarray) -> np.ndarray:
        place = order(rng)
        place = (place - place.min()) / max(1e-6, np.ptp(place))
        if rng.random() < 0.5:
            place = 1 - place
        soft = rng.choice([0.01, 0.05, 0.2, 0.5])
        alpha = (w[:, None, None] * (1 + soft) - place) / soft
        alpha = np.clip(alpha, 0, 1)[..., None].astype(np.float32)
        mixed = blend(a, b, alpha)
        if rng.random() < 0.2:  # a coloured line along the edge
            edge = (alpha > 0) & (alpha < 1)
            mixed = np.where(edge, tones(rng).astype(np.uint8), mixed)
        return mixed

    return mix


def _grid() -> tuple[np.ndarray, np.ndarray]:
    return np.meshgrid(np.linspace(-1, 1, WIDTH_PX), np.linspace(-1, 1, HEIGHT_PX))


def straight(rng: np.random.Generator) -> np.ndarray:
    x, y = _grid()
    angle = rng.choice([0, 0.5, 1, 1.5]) * math.pi if rng.random() < 0.7 else rng.uniform(0, 6.3)
    return x * math.cos(angle) + y * math.sin(angle)


def iris(rng: np.random.Generator) -> np.ndarray:
    x, y = _grid()
    x, y = x - rng.normal(0, 0.15), y - rng.normal(0, 0.15)
    kind = rng.integers(3)
    if kind == 0:
        return np.hypot(x, y * rng.uniform(0.5, 1))
    return np.maximum(abs(x), abs(y)) if kind == 1 else abs(x) + abs(y)


def barn_doors(rng: np.random.Generator) -> np.ndarray:
    x, y = _grid()
    return abs(x) if rng.random() < 0.5 else abs(y)


def clock(rng: np.random.Generator) -> np.ndarray:
    x, y = _grid()
    return (np.arctan2(y, x) + rng.uniform(0, 6.3)) % (2 * math.pi)


def blinds(rng: np.random.Generator) -> np.ndarray:
    x, y = _grid()
    return (x if rng.random() < 0.5 else y) * rng.integers(2, 7) % 1


def cloud(rng: np.random.Generator) -> np.ndarray:
    size = int(rng.integers(3, 16))
    coarse = rng.random((size, size)).astype(np.float32)
    return cv2.resize(coarse, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_CUBIC)


def moved(rng: np.random.Generator, a: np.ndarray, b: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Push, cover or uncover: pictures that slide in and out."""
    dx, dy = [(1, 0), (-1, 0), (0, 1), (0, -1)][rng.integers(4)]
    kind = rng.choice(["push", "cover", "uncover"])
    out = []
    for fa, fb, x in zip(a, b, w, strict=True):
        on_x, on_y = round(dx * WIDTH_PX * x), round(dy * HEIGHT_PX * x)
        back_x, back_y = on_x - dx * WIDTH_PX, on_y - dy * HEIGHT_PX
        canvas = np.empty_like(fa)
        layers = {
            "push": [(fa, on_x, on_y), (fb, back_x, back_y)],
            "cover": [(fa, 0, 0), (fb, back_x, back_y)],
            "uncover": [(fb, 0, 0), (fa, on_x, on_y)],
        }[kind]
        for image, ox, oy in layers:
            x0, y0 = max(0, ox), max(0, oy)
            x1, y1 = min(WIDTH_PX, WIDTH_PX + ox), min(HEIGHT_PX, HEIGHT_PX + oy)
            if x1 > x0 and y1 > y0:
                canvas[y0:y1, x0:x1] = image[y0 - oy : y1 - oy, x0 - ox : x1 - ox]
        out.append(canvas)
    return np.stack(out)


MIXES: dict[str, tuple[Mix, float]] = {
    "dissolve": (dissolve, 0.34),
    "fade": (fade, 0.22),
    "blur": (blur_dissolve, 0.04),
    "zoom": (zoom_dissolve, 0.04),
    "wipe": (masked(straight), 0.12),
    "iris": (masked(iris), 0.06),
    "doors": (masked(barn_doors), 0.03),
    "clock": (masked(clock), 0.03),
    "blinds": (masked(blinds), 0.03),
    "cloud": (masked(cloud), 0.03),
    "slide": (moved, 0.06),
}
"""Name -> how, and how often."""
