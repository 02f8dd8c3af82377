"""What moves within a shot besides the camera: things in front, and pictures that bend."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

WIDTH_PX, HEIGHT_PX = 96, 64
"""Size of a shot's pictures."""


@dataclass
class Sprite:
    """Something that moves in front: a cut-out with a soft mask."""

    image: np.ndarray
    mask: np.ndarray
    at: np.ndarray
    speed: np.ndarray
    stop: float
    """Frame at which it comes to rest."""
    wobble: float
    phase: float
    growth: float
    """Logarithm of its growth per frame, as it comes nearer."""
    middle: float
    """Frame at which it has the size of its picture."""

    def draw(self, image: np.ndarray, t: int) -> None:
        h, w = self.mask.shape[:2]
        x, y = self.at + self.speed * min(t, self.stop)
        y += self.wobble * math.sin(t * 0.3 + self.phase)
        if self.growth:
            self._draw_grown(image, t, (x + w / 2, y + h / 2))
        else:
            self._put(image, self.image, self.mask, (x, y))

    def _draw_grown(self, image: np.ndarray, t: int, centre: tuple[float, float]) -> None:
        scale = math.exp(self.growth * (min(t, self.stop) - self.middle))
        h, w = (round(scale * n) for n in self.mask.shape[:2])
        if min(h, w) < 2 or max(h, w) > 3 * WIDTH_PX:
            return
        over, mask = (cv2.resize(part, (w, h)) for part in (self.image, self.mask))
        self._put(image, over, mask[..., None], (centre[0] - w / 2, centre[1] - h / 2))

    @staticmethod
    def _put(
        image: np.ndarray, over: np.ndarray, mask: np.ndarray, at: tuple[float, float]
    ) -> None:
        x, y = at
        h, w = mask.shape[:2]
        x, y = int(round(x)), int(round(y))
        x0, y0, x1, y1 = max(0, x), max(0, y), min(WIDTH_PX, x + w), min(HEIGHT_PX, y + h)
        if x1 <= x0 or y1 <= y0:
            return
        mask = mask[y0 - y : y1 - y, x0 - x : x1 - x]
        here = image[y0:y1, x0:x1].astype(np.float32)
        over = over[y0 - y : y1 - y, x0 - x : x1 - x]
        image[y0:y1, x0:x1] = (here + (over - here) * mask + 0.5).astype(np.uint8)


def sprite(rng: np.random.Generator, image: np.ndarray, *, num_frames: int, near: bool) -> Sprite:
    """A blob cut out of a picture. A near one is large and crosses the frame or stops in it."""
    scale = rng.uniform(0.3, 1.6) if near else rng.uniform(0.08, 0.6)
    w, h = max(4, int(WIDTH_PX * scale * rng.uniform(0.5, 1))), max(4, int(HEIGHT_PX * scale))
    part = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA).astype(np.float32)
    part[..., 0] = np.clip(part[..., 0] * rng.uniform(0.2, 1.3) + rng.normal(0, 40), 0, 255)
    mask = np.zeros((h, w), np.float32)
    radii = rng.uniform(rng.choice([0.5, 0.9]), 1, 12)
    angles = np.linspace(0, 2 * math.pi, len(radii), endpoint=False)
    corners = np.stack([w * (0.5 + 0.48 * radii * np.cos(angles)),
                        h * (0.5 + 0.48 * radii * np.sin(angles))], axis=1)  # fmt: skip
    cv2.fillPoly(mask, [corners.astype(np.int32)], 1.0)
    mask = cv2.GaussianBlur(mask, (0, 0), max(0.6, scale * rng.uniform(0.3, 3)))[..., None]
    stop, middle, growth = np.inf, 0.0, 0.0
    if near:
        frames = math.exp(rng.uniform(math.log(4), math.log(120)))
        heading = rng.choice([0, 0.5, 1, 1.5]) * math.pi + rng.normal(0, 0.3)
        way = np.array([math.cos(heading), math.sin(heading)])
        reach = abs(way[0]) * (WIDTH_PX + w) + abs(way[1]) * (HEIGHT_PX + h)
        speed = way * reach / frames
        through = np.array([rng.uniform(0.2, 0.8) * WIDTH_PX - w / 2,
                            rng.uniform(0.2, 0.8) * HEIGHT_PX - h / 2])  # fmt: skip
        middle = rng.uniform(0, num_frames)
        at = through - speed * middle
        if rng.random() < 0.3:
            stop = middle
        if rng.random() < 0.4:
            growth = rng.choice([-1, 1]) * rng.uniform(0.2, 2) / frames
    else:
        at = np.array(
            [rng.uniform(-w / 2, WIDTH_PX - w / 2), rng.uniform(-h / 2, HEIGHT_PX - h / 2)]
        )
        speed = rng.normal(0, 1, 2) * rng.choice([0.0, 0.2, 1.0, 3.0])
    wobble, phase = rng.choice([0, 0.5, 2.0]), rng.uniform(0, 6)
    return Sprite(part, mask, at, speed, stop, wobble, phase, growth, middle)


def waves(rng: np.random.Generator) -> Callable[[np.ndarray, int], np.ndarray]:
    """Bends a picture a little differently each frame, as water, leaves and faces do."""
    gx, gy = np.meshgrid(np.arange(WIDTH_PX), np.arange(HEIGHT_PX))
    size = rng.choice([0.4, 1.0, 2.5])
    kx, ky, pace = rng.uniform(0.05, 0.5), rng.uniform(0.05, 0.5), rng.uniform(0.02, 0.6)
    middle, reach = rng.uniform(0, 1, 2) * (WIDTH_PX, HEIGHT_PX), rng.uniform(10, 90)
    weight = size * np.exp(-((gx - middle[0]) ** 2 + (gy - middle[1]) ** 2) / reach**2)

    def bend(image: np.ndarray, t: int) -> np.ndarray:
        mx = gx + weight * np.sin(kx * gx + ky * gy + pace * t)
        my = gy + weight * np.cos(ky * gx - kx * gy + 1.3 * pace * t)
        return cv2.remap(image, mx.astype(np.float32), my.astype(np.float32), cv2.INTER_LINEAR,
                         borderMode=cv2.BORDER_REFLECT_101)  # fmt: skip

    return bend
