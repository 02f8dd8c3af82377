"""Single shots to compose films from: real footage, and pictures brought to motion.

Pictures are uint8 YCrCb with all three planes at full size, stretched to 96 x 64.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from curation.meters.cuts.training.sprites import HEIGHT_PX, WIDTH_PX, sprite, waves

SOURCE_PX = 192, 128
STILL_SUFFIXES = {".jpg", ".jpeg", ".png"}
MAX_FRAMES_PER_SHOT = 400


@dataclass(frozen=True)
class Source:
    """Frames (T, 128, 192, 3) of one shot; a single one is a still."""

    name: str
    frames_THWC: np.ndarray


def load(path: Path, *, ranges: tuple[tuple[int, int], ...] = ()) -> list[Source]:
    """The shots of a file: the given frame ranges of it, or all of it as one."""
    if path.suffix.lower() in STILL_SUFFIXES:
        image = cv2.imread(str(path))
        if image is None or min(image.shape[:2]) < HEIGHT_PX:
            return []
        return [Source(path.name, _stored(image)[None])]
    import av

    frames: list[np.ndarray] = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            frames.append(_stored(frame.to_ndarray(format="bgr24")))
    shots = ranges or ((0, len(frames)),)
    return [
        Source(f"{path.name}:{a}", np.stack(frames[a : min(b, a + MAX_FRAMES_PER_SHOT)]))
        for a, b in shots
        if b - a >= 8
    ]


def _stored(image_bgr: np.ndarray) -> np.ndarray:
    small = cv2.resize(image_bgr, SOURCE_PX, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_BGR2YCrCb)


def painted(rng: np.random.Generator) -> np.ndarray:
    """A picture of nothing in particular: noise of several sizes, gradients, shapes, stripes; or
    hardly anything, as of a sky, a wall or a road.
    """
    if rng.random() < 0.2:
        return gaudy(rng)
    width, height = SOURCE_PX
    image = np.zeros((height, width, 3), np.float32)
    plain = rng.random() < 0.4
    slope = rng.uniform(0.6, 1.6)
    for octave in range(1, 7):
        grid = rng.normal(0, 1, (2**octave, 2**octave + 1, 3)).astype(np.float32)
        layer = cv2.resize(grid, SOURCE_PX, interpolation=cv2.INTER_CUBIC)
        image += layer * 2.0 ** (-slope * octave)
    image[..., 1:] *= rng.uniform(0, 0.5)
    contrast = rng.uniform(1, 8) if plain else rng.uniform(15, 60)
    image *= contrast / max(1e-3, image[..., 0].std())
    image += np.array([rng.uniform(40, 200), rng.normal(128, 12), rng.normal(128, 12)])
    image = np.clip(image, 0, 255).astype(np.uint8)
    for _ in range(rng.integers(0, 2 if plain else 25)):
        tone = (int(rng.integers(0, 256)), *(int(c) for c in rng.normal(128, 25, 2).clip(40, 215)))
        at = rng.integers(0, width), rng.integers(0, height)
        size = rng.integers(4, 60, 2)
        if rng.random() < 0.5:
            cv2.ellipse(image, [int(x) for x in at], [int(s) for s in size],
                        float(rng.uniform(0, 180)), 0, 360, tone, -1)  # fmt: skip
        else:
            other = [int(a + s) for a, s in zip(at, size, strict=True)]
            cv2.rectangle(image, [int(x) for x in at], other, tone, int(rng.choice([-1, 1, 3])))
    if rng.random() < 0.1 and not plain:
        period = rng.uniform(6, 40)
        wave = 40 * np.sign(np.sin(np.arange(width) / period * 2 * math.pi))
        image[..., 0] = np.clip(image[..., 0] + wave, 0, 255)
    return image


def gaudy(rng: np.random.Generator) -> np.ndarray:
    """Spots of one size in all colours, as of a mosaic, a crowd or confetti."""
    across = int(rng.integers(5, 40))
    spots = rng.integers(0, 256, (max(3, across * 2 // 3), across, 3), np.uint8)
    smooth = rng.choice([cv2.INTER_CUBIC, cv2.INTER_LINEAR, cv2.INTER_NEAREST], p=[0.5, 0.3, 0.2])
    image = cv2.resize(spots, SOURCE_PX, interpolation=int(smooth))
    return cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb)


def camera(rng: np.random.Generator, num_frames: int, *, calm: bool = False) -> np.ndarray:
    """(T, 4): x, y of the window's middle in source pixels, its width there, its angle."""
    t = np.arange(num_frames)
    speed = 0.0 if calm else rng.choice([0, 0.3, 1.0, 3.0, 8.0], p=[0.3, 0.25, 0.25, 0.14, 0.06])
    heading = rng.uniform(0, 2 * math.pi)
    turn = rng.normal(0, 0.01)
    speeds = speed * rng.uniform(0.5, 1.5) * (1 + 0.3 * np.sin(t * rng.uniform(0.02, 0.2)))
    x = np.cumsum(speeds * np.cos(heading + turn * t))
    y = np.cumsum(speeds * np.sin(heading + turn * t)) * 0.5
    width = SOURCE_PX[0] * rng.uniform(0.4, 0.95)
    zoom = 0.0 if calm else rng.choice([0, 0.002, 0.01, 0.03], p=[0.6, 0.2, 0.15, 0.05])
    zooms = np.exp(np.clip(np.cumsum(np.full(num_frames, rng.choice([-1, 1]) * zoom)), -0.7, 0.7))
    shake = rng.choice([0, 0.4, 1.5, 5.0], p=[0.5, 0.3, 0.15, 0.05]) * (0.2 if calm else 1)
    jitter = _smooth(rng.normal(0, 1, (num_frames, 3)), rng.uniform(0.3, 0.9)) * shake
    angle = rng.normal(0, 3) + t * (0 if rng.random() < 0.9 else rng.normal(0, 0.6))
    middle = [SOURCE_PX[i] * rng.uniform(0.4, 0.6) for i in (0, 1)]
    return np.stack(
        [middle[0] + x + jitter[:, 0], middle[1] + y + jitter[:, 1],
         (width * zooms).clip(48, 300), angle + 0.2 * jitter[:, 2]], axis=1
    )  # fmt: skip


def whip(rng: np.random.Generator, path_TX: np.ndarray) -> np.ndarray:
    """The same camera with a whip pan somewhere in it."""
    num_frames = len(path_TX)
    length = int(rng.integers(4, 16))
    start = int(rng.integers(0, max(1, num_frames - length)))
    push = np.zeros(num_frames)
    ease = np.sin(np.linspace(0, math.pi, length + 2)[1:-1])
    push[start : start + length] = ease[: num_frames - start] * rng.uniform(8, 60)
    heading = rng.uniform(0, 2 * math.pi)
    moved = path_TX.copy()
    moved[:, 0] += np.cumsum(push) * math.cos(heading)
    moved[:, 1] += np.cumsum(push) * math.sin(heading)
    return moved


def _smooth(noise_TX: np.ndarray, keep: float) -> np.ndarray:
    out = np.zeros_like(noise_TX)
    for i in range(1, len(noise_TX)):
        out[i] = keep * out[i - 1] + math.sqrt(1 - keep**2) * noise_TX[i]
    return out


def view(
    image: np.ndarray, window: np.ndarray, *, blur_xy: tuple[float, float] = (0, 0)
) -> np.ndarray:
    """What the camera sees of a picture, mirrored beyond its edges; blurred along its motion."""
    x, y, width, angle = window
    scale = width / WIDTH_PX
    cos, sin = math.cos(math.radians(angle)) * scale, math.sin(math.radians(angle)) * scale
    matrix = np.array([
        [cos, -sin, x - cos * WIDTH_PX / 2 + sin * HEIGHT_PX / 2],
        [sin, cos, y - sin * WIDTH_PX / 2 - cos * HEIGHT_PX / 2],
    ])  # fmt: skip
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    seen = cv2.warpAffine(image, matrix, (WIDTH_PX, HEIGHT_PX), flags=flags,
                          borderMode=cv2.BORDER_REFLECT_101)  # fmt: skip
    if max(abs(blur_xy[0]), abs(blur_xy[1])) > 3:
        size = [max(1, min(31, int(abs(b) / scale / 2))) for b in blur_xy]
        seen = cv2.blur(seen, (size[0], size[1]))
    return seen


def grading(rng: np.random.Generator) -> np.ndarray:
    """(256, 3) table: exposure, gamma, contrast, saturation and cast of a shot."""
    x = np.arange(256) / 255
    luma = x ** math.exp(rng.normal(0, 0.3)) * math.exp(rng.normal(0, 0.25))
    luma = (luma - 0.5) * rng.uniform(0.6, 1.2) + 0.5 + rng.normal(0, 0.04)
    if rng.random() < 0.15:
        luma *= rng.uniform(0.1, 0.5)  # night
    saturation = rng.choice([0, 1], p=[0.1, 0.9]) * rng.uniform(0.3, 1.4)
    chroma = [(x - 0.5) * saturation + 0.5 + rng.normal(0, 0.02) for _ in range(2)]
    return (np.stack([luma, *chroma], 1).clip(0, 1) * 255).astype(np.uint8)


@dataclass
class Stock:
    """All that shots are drawn from."""

    real: list[Source]
    stills: list[Source]
    real_share: float = 0.5

    def still(self, rng: np.random.Generator) -> np.ndarray:
        if not self.stills or rng.random() < 0.3:
            return painted(rng)
        return self.stills[rng.integers(len(self.stills))].frames_THWC[0]


def shot(rng: np.random.Generator, stock: Stock, num_frames: int) -> np.ndarray:
    """(T, 64, 96, 3) frames of a new shot."""
    flip, table = rng.random() < 0.5, grading(rng)
    if stock.real and rng.random() < stock.real_share:
        source = stock.real[rng.integers(len(stock.real))].frames_THWC
        frames = real_motion(rng, source, num_frames)
    else:
        frames = made_motion(rng, stock, num_frames)
    if flip:
        frames = frames[:, :, ::-1]
    return graded(frames, table, rng)


def real_motion(rng: np.random.Generator, source: np.ndarray, num_frames: int) -> np.ndarray:
    """A stretch of real footage at some speed, to and fro where it is too short, seen by a second
    camera that mostly rests.
    """
    step = rng.choice([1, 1, 1, 0.5, 2, 3, 6])
    at = rng.integers(0, len(source)) + np.floor(np.arange(num_frames) * step).astype(int)
    period = max(1, 2 * (len(source) - 1))
    at = np.abs((at + len(source) - 1) % period - (len(source) - 1))
    path = camera(rng, num_frames, calm=rng.random() < 0.8)
    return np.stack([view(source[i], window) for i, window in zip(at, path, strict=True)])


def made_motion(rng: np.random.Generator, stock: Stock, num_frames: int) -> np.ndarray:
    """A still seen by a moving camera, bent by waves, with things moving in front of it."""
    image = stock.still(rng)
    path = camera(rng, num_frames)
    if rng.random() < 0.12:
        path = whip(rng, path)
    speed = np.abs(np.diff(path[:, :2], axis=0, prepend=path[:1, :2]))
    bend = waves(rng) if rng.random() < 0.35 else None
    count = rng.choice([0, 1, 3, 8], p=[0.4, 0.3, 0.2, 0.1])
    sprites = [sprite(rng, stock.still(rng), num_frames=num_frames, near=rng.random() < 0.3)
               for _ in range(count)]  # fmt: skip
    step = int(rng.choice([1, 1, 1, 1, 2, 3, 5]))  # a low frame rate, or every frame shown twice
    held = int(rng.choice([1, 1, 1, 2, 3]))
    out = []
    for i in range(num_frames):
        t = min(num_frames - 1, i // held * held)
        seen = view(image, path[t], blur_xy=(speed[t, 0], speed[t, 1]))
        if bend:
            seen = bend(seen, t * step)
        for s in sprites:
            s.draw(seen, t * step)
        out.append(seen)
    return np.stack(out)


def graded(frames_THWC: np.ndarray, table: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    flat = np.ascontiguousarray(frames_THWC).reshape(-1, WIDTH_PX, 3)
    flat = cv2.LUT(flat, table[:, None, :])
    grain = rng.choice([0, 1.5, 4, 10], p=[0.4, 0.3, 0.2, 0.1])
    if grain:
        flat = cv2.add(flat, _noise(rng, len(flat)) * np.float32(grain), dtype=cv2.CV_8U)
    return flat.reshape(frames_THWC.shape)


_NOISE: dict[str, np.ndarray] = {}


def _noise(rng: np.random.Generator, height: int) -> np.ndarray:
    """(height, 96, 3) of unit noise, weaker in chroma; cut out of one large piece at random."""
    if not _NOISE:
        bank = np.random.default_rng(0).normal(0, 1, (HEIGHT_PX * 500, WIDTH_PX, 3))
        _NOISE["bank"] = (bank * (1, 0.3, 0.3)).astype(np.float32)
    bank = _NOISE["bank"]
    start = int(rng.integers(0, max(1, len(bank) - height)))
    return (
        bank[start : start + height]
        if height <= len(bank)
        else np.resize(bank, (height, *bank.shape[1:]))
    )
