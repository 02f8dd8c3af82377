"""An edit whose transitions are known: the demo's painted scenes joined in ways of which half were
never composed for training, with flashes and a passer-by that are no cuts.

Neither the scenes nor the code that mixes them here has a part in training.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from curation.demo.film import FPS, SHOTS

WIDTH_PX, HEIGHT_PX = 320, 180
JUMP_S = 2.5
Mix = Callable[[np.ndarray, np.ndarray, float], np.ndarray]
"""Two pictures float32 (H, W, 3) and how far it has got, 0..1, to one."""


@dataclass(frozen=True)
class Step:
    """A shot and the way out of it."""

    scene: int
    """Index in the demo film's shots."""
    num_frames: int
    mix: str = "cut"
    mix_frames: int = 0
    trap: str = ""
    start_s: float = 0.0


STEPS = (
    Step(0, 60, "cut", trap="flash"),
    Step(1, 50, "dissolve", 20),
    Step(3, 55, "cut", trap="passer"),
    Step(4, 9, "cut"),
    Step(8, 60, "fade black", 32),
    Step(12, 50, "wipe", 16),
    Step(6, 45, "dither", 20),
    Step(5, 40, "cut"),
    Step(9, 45, "checks", 24, trap="flash"),
    Step(11, 45, "cut"),
    Step(0, 30, "cut", start_s=1.0),
    Step(0, 40, "dip white", 14, start_s=1.0 + JUMP_S),
    Step(3, 60, "wave", 22),
    Step(8, 50, "dissolve", 72, start_s=2.0),
    Step(12, 80, "spiral", 28),
    Step(1, 60, "cut", trap="dark"),
    Step(10, 45, "push", 12),
    Step(4, 60),
)
"""Pushes, dissolves, fades and straight wipes are trained on; dithers, checks, waves and spirals
are not."""


def fade_through(tone: float) -> Mix:
    def mix(a: np.ndarray, b: np.ndarray, w: float) -> np.ndarray:
        return tone + (a - tone) * max(0.0, 1 - 2.2 * w) + (b - tone) * max(0.0, 2.2 * w - 1.2)

    return mix


def ordered(order: Callable[[np.ndarray, np.ndarray], np.ndarray], *, soft: float) -> Mix:
    """Pixels change when w passes their place in the order, which lies in 0..1."""
    x, y = np.meshgrid(np.linspace(0, 1, WIDTH_PX), np.linspace(0, 1, HEIGHT_PX))
    place = order(x, y)

    def mix(a: np.ndarray, b: np.ndarray, w: float) -> np.ndarray:
        alpha = np.clip((w * (1 + soft) - place) / soft, 0, 1)[..., None]
        return a + (b - a) * alpha

    return mix


def checks(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    squares = np.random.default_rng(1).permutation(48).reshape(6, 8) / 48
    return squares[(y * 5.999).astype(int), (x * 7.999).astype(int)]


def spiral(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    turn = np.arctan2(y - 0.5, x - 0.5) / (2 * math.pi)
    return (2 * np.hypot(x - 0.5, y - 0.5) + turn) % 1


def push(a: np.ndarray, b: np.ndarray, w: float) -> np.ndarray:
    at = round(w * WIDTH_PX)
    return np.concatenate([a[:, at:], b[:, :at]], axis=1)


MIXES: dict[str, Mix] = {
    "dissolve": lambda a, b, w: a + (b - a) * w,
    "fade black": fade_through(0.0),
    "dip white": fade_through(1.0),
    "wipe": ordered(lambda x, y: 1 - x, soft=0.01),
    "wave": ordered(lambda x, y: (y + 0.08 * np.sin(9 * x) + 0.08) / 1.16, soft=0.05),
    "dither": ordered(lambda x, y: np.random.default_rng(0).random(x.shape), soft=0.01),
    "checks": ordered(checks, soft=0.1),
    "spiral": ordered(spiral, soft=0.02),
    "push": push,
}


def truth() -> dict[str, Any]:
    """cuts: first frames of new shots. gradual: [first, last] frame of each that is mixed."""
    cuts, gradual, kinds, at = [], [], [], 0
    for step in STEPS[:-1]:
        at += step.num_frames
        if step.mix == "cut":
            cuts.append(at)
        else:
            gradual.append([at, at + step.mix_frames - 1])
            kinds.append(step.mix)
        at += step.mix_frames
    return {"cuts": cuts, "gradual": gradual, "kinds": kinds}


def frames() -> Iterator[np.ndarray]:
    """uint8 (180, 320, 3) RGB."""
    draws = [SHOTS[step.scene].scene() for step in STEPS]

    def picture(index: int, frame: int) -> np.ndarray:
        step = STEPS[index]
        full = draws[index](step.start_s + max(0, frame) / FPS)
        small = cv2.resize(full, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_AREA)
        return trap(small, step, frame)

    lead = 0
    for index, step in enumerate(STEPS):
        for frame in range(lead, lead + step.num_frames):
            yield levels(picture(index, frame))
        for i in range(step.mix_frames):
            a = picture(index, lead + step.num_frames + i)
            b = picture(index + 1, i)
            yield levels(MIXES[step.mix](a, b, (i + 1) / (step.mix_frames + 1)))
        lead = step.mix_frames


def trap(image: np.ndarray, step: Step, frame: int) -> np.ndarray:
    if step.trap == "flash" and frame in (24, 25):
        return image + (0.9 if frame == 24 else 0.4)
    if step.trap == "dark" and 30 <= frame < 33:
        return image * 0.15
    if step.trap == "passer" and 15 <= frame < 33:
        image = image.copy()
        left = (frame - 15) * 30 - 200
        image[:, max(0, left) : max(0, left + 200)] = (0.1, 0.12, 0.2)
    return image


def levels(image: np.ndarray) -> np.ndarray:
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)


def write_edit(path: Path) -> dict[str, Any]:
    """Write the edit as H.264 in mp4 and return its truth."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as container:
        options = {"crf": "26", "preset": "veryfast", "threads": "1"}
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        for index, image in zip(itertools.count(), frames()):  # noqa: B905
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return truth()
