"""What looks like a transition and is none: flashes, strobes, passers-by, titles, damage."""

from collections.abc import Callable

import cv2
import numpy as np

from curation.meters.cuts.training.scenes import Stock
from curation.meters.cuts.training.sprites import HEIGHT_PX, WIDTH_PX, sprite

Trap = Callable[[np.random.Generator, np.ndarray, Stock], np.ndarray]


def _stretch(rng: np.random.Generator, total: int, low: int, high: int) -> tuple[int, int]:
    length = min(total, int(rng.integers(low, high + 1)))
    start = int(rng.integers(0, total - length + 1))
    return start, start + length


def flash(rng: np.random.Generator, frames: np.ndarray, stock: Stock) -> np.ndarray:
    """Light for 1-4 frames that dies away, from everywhere or from one side."""
    start, end = _stretch(rng, len(frames), 1, 5)
    frames = frames.copy()
    light = np.ones((HEIGHT_PX, WIDTH_PX), np.float32)
    if rng.random() < 0.4:
        x = np.linspace(0, 1, WIDTH_PX) if rng.random() < 0.5 else np.linspace(1, 0, WIDTH_PX)
        light *= x.astype(np.float32)
    strength = rng.uniform(40, 255)
    for i in range(start, end):
        frames[i, ..., 0] = np.clip(frames[i, ..., 0] + strength * light, 0, 255)
        strength *= rng.uniform(0.3, 0.95)
    return frames


def strobe(rng: np.random.Generator, frames: np.ndarray, stock: Stock) -> np.ndarray:
    """Every few frames brighter, darker, inverted or flat."""
    start, end = _stretch(rng, len(frames), 8, 60)
    frames = frames.copy()
    period, kind = int(rng.integers(2, 8)), rng.integers(4)
    strength = rng.uniform(0.3, 1)
    for i in range(start, end):
        if i % period == 0:
            x = frames[i, ..., 0].astype(np.float32)
            y = (x + 200, x * 0.2, 255 - x, np.full_like(x, rng.choice([0, 255])))[kind]
            frames[i, ..., 0] = np.clip(x + (y - x) * strength, 0, 255)
    return frames


def single_frame(rng: np.random.Generator, frames: np.ndarray, stock: Stock) -> np.ndarray:
    """One or two frames lost: black, white or those of somewhere else in the shot."""
    start, end = _stretch(rng, len(frames), 1, 2)
    frames = frames.copy()
    if rng.random() < 0.6:
        frames[start:end] = (rng.choice([0, 10, 255]), 128, 128)
    else:
        frames[start:end] = frames[rng.integers(len(frames))][:, ::-1]
    return frames


def light_switch(rng: np.random.Generator, frames: np.ndarray, stock: Stock) -> np.ndarray:
    """Exposure that jumps or drifts within a shot."""
    length = len(frames)
    at = int(rng.integers(0, length))
    over = int(rng.choice([1, 3, 10, 40]))
    gain = np.exp(rng.normal(0, 0.45))
    ramp = np.clip((np.arange(length) - at) / over, 0, 1)
    gains = (1 + (gain - 1) * ramp).astype(np.float32)
    frames = frames.copy()
    frames[..., 0] = np.clip(frames[..., 0] * gains[:, None, None], 0, 255)
    return frames


def flicker(rng: np.random.Generator, frames: np.ndarray, stock: Stock) -> np.ndarray:
    gains = 1 + rng.normal(0, rng.choice([0.03, 0.1, 0.25]), len(frames))
    frames = frames.copy()
    frames[..., 0] = np.clip(frames[..., 0] * gains[:, None, None], 0, 255)
    return frames


def passer_by(rng: np.random.Generator, frames: np.ndarray, stock: Stock) -> np.ndarray:
    """Something large passes near the camera, the shot goes on behind it."""
    frames = frames.copy()
    for _ in range(rng.integers(1, 3)):
        thing = sprite(rng, stock.still(rng), num_frames=len(frames), near=True)
        for i, frame in enumerate(frames):
            thing.draw(frame, i)
    return frames


def title(rng: np.random.Generator, frames: np.ndarray, stock: Stock | None = None) -> np.ndarray:
    """Text or a picture over part of the frame, that appears and goes, at once or by a fade, and
    stands or rolls.
    """
    start, end = _stretch(rng, len(frames), 10, 120)
    canvas = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    tone = np.array([rng.choice([235, 255, 20, 180]), *rng.normal(128, 15, 2)], np.float32)
    if rng.random() < 0.6:
        for row in range(rng.integers(1, 4)):
            words = "".join(rng.choice(list("aeklmnorstMNWBE "), int(rng.integers(4, 16))))
            at = int(rng.integers(0, 40)), int(rng.integers(12, 52)) + 9 * row
            cv2.putText(canvas, words, at, 0, rng.uniform(0.25, 0.6), 255, 1, cv2.LINE_AA)
    else:
        x, y = int(rng.integers(0, 60)), int(rng.integers(0, 48))
        cv2.rectangle(canvas, (x, y), (x + int(rng.integers(8, 50)), y + int(rng.integers(5, 16))),
                      int(rng.integers(100, 256)), -1)  # fmt: skip
    in_frames, out_frames = (int(rng.choice([1, 1, 8, 20])) for _ in range(2))
    t = np.arange(len(frames))
    alpha = np.clip(np.minimum((t - start) / in_frames, (end - t) / out_frames), 0, 1)
    mask = np.repeat((canvas / np.float32(255))[None, ..., None], len(frames), axis=0)
    if rng.random() < 0.25:
        speed = rng.uniform(-1.5, 1.5)
        mask = np.stack([np.roll(m, round(speed * i), 0) for i, m in enumerate(mask)])
    mask *= alpha[:, None, None, None].astype(np.float32)
    return (frames + (tone - frames) * mask).astype(np.uint8)


def freeze(rng: np.random.Generator, frames: np.ndarray, stock: Stock) -> np.ndarray:
    """A picture that stands, and then jumps to where the shot has got to."""
    start, end = _stretch(rng, len(frames), 2, 7)
    frames = frames.copy()
    frames[start:end] = frames[start]
    return frames


def damage(rng: np.random.Generator, frames: np.ndarray, stock: Stock) -> np.ndarray:
    """Blocks lost in decoding: stale, moved, grey or smeared until the next whole picture."""
    start, end = _stretch(rng, len(frames), 2, 40)
    frames = frames.copy()
    size = int(rng.choice([4, 8, 16]))
    lost = rng.random((HEIGHT_PX // size, WIDTH_PX // size)) < rng.uniform(0.05, 0.9)
    if rng.random() < 0.6:  # slices: everything from some row down
        lost[: rng.integers(0, len(lost))] = False
        lost[-1] = True
    kind = rng.integers(4)
    shift = [int(s) for s in rng.integers(-20, 21, 2)]
    stale = frames[start].copy()
    for i in range(start, end):
        if rng.random() < 0.25:
            lost |= rng.random(lost.shape) < 0.05
        mask = np.kron(lost, np.ones((size, size), bool))[..., None]
        wrong = (
            stale,
            np.roll(frames[i], shift, (0, 1)),
            np.broadcast_to(np.array([128, 128, 128], np.uint8), frames[i].shape),
            np.broadcast_to(frames[i, :1], frames[i].shape),
        )[kind]
        frames[i] = np.where(mask, wrong, frames[i])
        if rng.random() < 0.05:
            stale = frames[i].copy()
    return frames


def blur(rng: np.random.Generator, frames: np.ndarray, stock: Stock) -> np.ndarray:
    """Focus lost and found."""
    start, end = _stretch(rng, len(frames), 6, 60)
    width = rng.uniform(1, 6) * np.sin(np.linspace(0, np.pi, end - start + 2)[1:-1])
    frames = frames.copy()
    for i, sigma in zip(range(start, end), width, strict=True):
        if sigma > 0.3:
            frames[i] = cv2.GaussianBlur(frames[i], (0, 0), sigma)
    return frames


def inset(rng: np.random.Generator, frames: np.ndarray, stock: Stock) -> np.ndarray:
    """Another picture in a corner, that comes and goes."""
    start, end = _stretch(rng, len(frames), 10, 100)
    w, h = int(rng.integers(16, 40)), int(rng.integers(12, 26))
    x, y = int(rng.integers(0, WIDTH_PX - w)), int(rng.integers(0, HEIGHT_PX - h))
    frames = frames.copy()
    frames[start:end, y : y + h, x : x + w] = cv2.resize(stock.still(rng), (w, h))
    return frames


def leader(rng: np.random.Generator, frames: np.ndarray, stock: Stock) -> np.ndarray:
    """A hand that sweeps round over a sign that changes once a turn, as on film leaders, clocks and
    score boards.
    """
    turn, phase = int(rng.integers(8, 60)), int(rng.integers(0, 60))
    x, y = np.meshgrid(np.linspace(-1, 1, WIDTH_PX), np.linspace(-1, 1, HEIGHT_PX))
    angle = (np.arctan2(x, -y) / (2 * np.pi)) % 1
    inside = np.hypot(x, y) < rng.uniform(0.5, 2)
    gain, sweeps = rng.uniform(0.3, 0.95), rng.random() < 0.7
    signs, size = rng.permutation(list("0123456789")), rng.uniform(0.5, 1.6)
    tone = int(rng.choice([0, 20, 230, 255]))
    out = np.empty_like(frames)
    for i, frame in enumerate(frames):
        count, part = divmod(i + phase, turn)
        luma = frame[..., 0].astype(np.float32)
        if sweeps:
            luma = np.where(inside & (angle < part / turn), luma * gain, luma)
        luma = luma.astype(np.uint8)
        at = int(WIDTH_PX / 2 - 9 * size), int(HEIGHT_PX / 2 + 9 * size)
        cv2.putText(luma, str(signs[count % 10]), at, 0, size, tone, 2, cv2.LINE_AA)
        out[i] = frame
        out[i, ..., 0] = luma
    return out


TRAPS: dict[str, tuple[Trap, float]] = {
    "flash": (flash, 0.15),
    "strobe": (strobe, 0.06),
    "single": (single_frame, 0.05),
    "light": (light_switch, 0.08),
    "flicker": (flicker, 0.04),
    "passer": (passer_by, 0.24),
    "title": (title, 0.1),
    "freeze": (freeze, 0.04),
    "damage": (damage, 0.1),
    "blur": (blur, 0.04),
    "inset": (inset, 0.04),
    "leader": (leader, 0.06),
}
"""Name -> how, and how often."""
