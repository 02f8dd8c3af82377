"""Brushes for the scenes of the demo film: smooth noise, layers and sprites, on float RGB arrays.

A picture is float32 (height, width, 3) in 0-1. A sprite has a fourth channel, its opacity, and its
colours are already multiplied by it. Everything is a function of its arguments and of a seeded
generator, so that the film comes out the same each time.
"""

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np

WIDTH_PX, HEIGHT_PX = 640, 360
ROWS, COLUMNS = np.mgrid[0:HEIGHT_PX, 0:WIDTH_PX].astype(np.float32)

Colour = tuple[float, float, float]
Draw = Callable[[float], np.ndarray]
"""A scene: time in seconds -> picture."""


def noise(
    rng: np.random.Generator,
    *,
    height: int,
    width: int,
    cell: tuple[float, float],
    octaves: int = 4,
    falloff: float = 0.5,
) -> np.ndarray:
    """Smooth random field in 0-1; cell = (height, width) in pixels of its largest blobs."""
    field = np.zeros((height, width), np.float32)
    weight = 1.0
    for octave in range(octaves):
        rows = max(2, math.ceil(height * 2**octave / cell[0]) + 1)
        columns = max(2, math.ceil(width * 2**octave / cell[1]) + 1)
        grid = rng.random((min(rows, height), min(columns, width)), np.float32)
        field += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        weight *= falloff
    low, high = np.percentile(field, (0.5, 99.5))
    return np.clip((field - low) / (high - low), 0, 1)


def smoothstep(values: np.ndarray, low: float, high: float) -> np.ndarray:
    x = np.clip((values - low) / (high - low), 0, 1)
    return x * x * (3 - 2 * x)


def mix(a: np.ndarray | Colour, b: np.ndarray | Colour, amount: np.ndarray) -> np.ndarray:
    """a where amount is 0, b where it is 1; amount (H, W), a and b colours or pictures."""
    start, end = _spread(a, amount.shape), _spread(b, amount.shape)
    return start + (end - start) * _three(amount)


def _three(channel: np.ndarray) -> np.ndarray:
    """(H, W) -> (H, W, 3): several times cheaper than letting NumPy broadcast a last axis of 1."""
    return cv2.cvtColor(np.ascontiguousarray(channel, np.float32), cv2.COLOR_GRAY2BGR)


def _spread(colour: np.ndarray | Colour, shape: tuple[int, ...]) -> np.ndarray:
    if isinstance(colour, tuple):
        return cv2.merge([np.full(shape, value, np.float32) for value in colour])
    return colour.astype(np.float32, copy=False)


def gradient(
    colours: Sequence[Colour], *, height: int = HEIGHT_PX, width: int = WIDTH_PX
) -> np.ndarray:
    """A picture that runs through the colours from top to bottom."""
    at = np.linspace(0, len(colours) - 1, height)
    rows = np.stack([np.interp(at, range(len(colours)), c) for c in zip(*colours, strict=True)], 1)
    return np.repeat(rows[:, None, :], width, axis=1).astype(np.float32)


def window(texture: np.ndarray, *, x: float) -> np.ndarray:
    """As much of a wider texture as the frame shows, from column x on, subpixel."""
    move = np.array([[1, 0, -x], [0, 1, 0]], np.float64)
    size = (WIDTH_PX, texture.shape[0])
    return cv2.warpAffine(
        texture, move, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )


def lay(picture: np.ndarray, layer: np.ndarray) -> None:
    """Put a layer (RGBA, multiplied) over the foot of the picture, in place."""
    picture = picture[-layer.shape[0] :]
    picture *= _three(1 - layer[..., 3])
    picture += cv2.cvtColor(layer, cv2.COLOR_BGRA2BGR)


def paste(
    picture: np.ndarray,
    sprite: np.ndarray,
    *,
    x: float,
    y: float,
    scale: float = 1.0,
    squash: float = 1.0,
    angle_deg: float = 0.0,
) -> None:
    """Put a sprite's centre at (x, y), in place; squash scales the sprite's height again."""
    height, width = sprite.shape[:2]
    side = math.ceil(math.hypot(height, width) * scale) + 2
    left, top = math.floor(x - side / 2), math.floor(y - side / 2)
    turn = math.radians(angle_deg)
    a, b = scale * math.cos(turn), scale * math.sin(turn)
    matrix = np.array([[a, -b * squash, 0.0], [b, a * squash, 0.0]])
    matrix[:, 2] = np.array([x - left, y - top]) - matrix[:, :2] @ [
        (width - 1) / 2,
        (height - 1) / 2,
    ]
    patch = cv2.warpAffine(sprite, matrix, (side, side), flags=cv2.INTER_AREA)
    y0, y1 = max(0, top), min(picture.shape[0], top + side)
    x0, x1 = max(0, left), min(picture.shape[1], left + side)
    if y0 < y1 and x0 < x1:
        lay(picture[y0:y1, x0:x1], patch[y0 - top : y1 - top, x0 - left : x1 - left])


def sprite(colour: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """RGBA, multiplied, from a picture and its opacity in 0-1."""
    opacity = opacity.astype(np.float32)[..., None]
    return np.concatenate([colour.astype(np.float32) * opacity, opacity], axis=2)


def polygons(
    shapes: Sequence[tuple[Sequence[tuple[float, float]], Colour]], *, height: int, width: int
) -> np.ndarray:
    """A sprite of filled polygons (points in x, y pixels), smooth at the edges, lit from above."""
    fine = 4
    colour = np.zeros((height * fine, width * fine, 3), np.float32)
    cover = np.zeros((height * fine, width * fine), np.float32)
    for points, rgb in shapes:
        corners = np.round(np.array(points) * fine).astype(np.int32)
        cv2.fillPoly(colour, [corners], rgb)
        cv2.fillPoly(cover, [corners], 1.0)
    light = np.linspace(1.15, 0.8, height * fine, dtype=np.float32)[:, None, None]
    full = np.concatenate([colour * light * cover[..., None], cover[..., None]], axis=2)
    return np.clip(cv2.resize(full, (width, height), interpolation=cv2.INTER_AREA), 0, 1)


def ball(
    radius: int, *, colour: Colour, stripe: Colour, roll_rad: float = 0.0, tilt_rad: float = 0.4
) -> np.ndarray:
    """A sprite of a shiny ball with one stripe, rolled about the axis into the picture."""
    span = np.arange(-radius - 1, radius + 2, dtype=np.float32) / radius
    x, y = np.meshgrid(span, span)
    distance = np.hypot(x, y)
    z = np.sqrt(np.clip(1 - distance**2, 0, 1))
    # into the ball's own axes: undo the roll in the picture plane, then lean the stripe
    along = x * math.cos(roll_rad) + y * math.sin(roll_rad)
    across = along * math.cos(tilt_rad) + z * math.sin(tilt_rad)
    paint = mix(colour, stripe, smoothstep(0.3 - np.abs(across), -0.04, 0.04))
    light = np.clip(-0.5 * x - 0.65 * y + 0.57 * z, 0, 1)
    shine = np.clip(-0.3 * x - 0.45 * y + 0.84 * z, 0, 1) ** 40
    lit = paint * (0.28 + 0.8 * light)[..., None] + 0.75 * shine[..., None]
    return sprite(np.clip(lit, 0, 1), np.clip((1 - distance) * radius + 0.5, 0, 1))


def shadow(radius: int, *, opacity: float = 0.5) -> np.ndarray:
    """A soft dark spot to lay under a thing."""
    span = np.linspace(-1, 1, 2 * radius, dtype=np.float32)
    x, y = np.meshgrid(span, span)
    return sprite(
        np.zeros((2 * radius, 2 * radius, 3)), opacity * smoothstep(-np.hypot(x, y), -1, -0.3)
    )
