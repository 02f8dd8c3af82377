"""Films put together from single shots, so that every transition in them is known."""

import cv2
import numpy as np

from curation.meters.cuts.training.film import Film, Truth, change, finished
from curation.meters.cuts.training.mixes import MIXES, blend, ease, tones
from curation.meters.cuts.training.scenes import Stock, shot
from curation.meters.cuts.training.sprites import HEIGHT_PX, WIDTH_PX
from curation.meters.cuts.training.traps import TRAPS

NUM_FRAMES = 224
INVISIBLE = 3.0
"""Levels of 255: a cut or a mix that changes less on average is neither asked for nor punished."""
JUMP = 2.0
"""A jump within a scene counts as a cut when it changes this many times what its frames do."""


def film(rng: np.random.Generator, stock: Stock, *, num_frames: int = NUM_FRAMES) -> Film:
    build = Build()
    single = rng.random() < 0.2
    build.add(trapped(rng, stock, num_frames if single else shot_length(rng)))
    if rng.random() < 0.12:
        build.fade_edge(rng, opens=True)
    while build.num_frames < num_frames:
        kind = rng.choice(["cut", "jump", "soft", "mix", "blank"], p=[0.31, 0.2, 0.04, 0.37, 0.08])
        if kind == "jump":
            build.jump(rng, stock, shot_length(rng))
            continue
        new = trapped(rng, stock, shot_length(rng) + (60 if kind == "mix" else 0))
        if kind == "mix":
            build.mix(rng, new)
        elif kind == "blank":
            build.blank(rng, new)
        else:
            build.cut(new, soft=kind == "soft")
    build.trim(num_frames)
    if rng.random() < 0.1:
        build.fade_edge(rng, opens=False)
    shown = np.arange(num_frames)
    if rng.random() < 0.12:  # at a higher rate than it was filmed
        shown = np.floor(shown * rng.choice([0.4, 0.5, 0.8])).astype(int)
    return finished(rng, build.parts[0], build.truth, shown=shown)


def shot_length(rng: np.random.Generator) -> int:
    low, high = [(6, 25), (25, 70), (70, 200)][rng.choice(3, p=[0.35, 0.45, 0.2])]
    return int(rng.integers(low, high))


def trapped(rng: np.random.Generator, stock: Stock, num_frames: int) -> np.ndarray:
    frames = shot(rng, stock, num_frames)
    names = list(TRAPS)
    shares = [TRAPS[n][1] for n in names]
    for _ in range(rng.choice([0, 1, 2], p=[0.5, 0.37, 0.13])):
        frames = TRAPS[rng.choice(names, p=shares)][0](rng, frames, stock)
    return frames


class Build:
    """A film that grows at its end."""

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []
        self.num_frames = 0
        self.truth = Truth()

    def add(self, frames: np.ndarray) -> None:
        self.parts.append(frames)
        self.num_frames += len(frames)

    def last(self) -> np.ndarray:
        return self.parts[-1]

    def cut(self, new: np.ndarray, *, soft: bool = False, kind: str = "cut") -> None:
        old = self.last()
        at = self.num_frames
        if soft:  # fields or a frame rate converter: one frame of both
            new = new.copy()
            new[0] = blend(old[-1:], new[:1], np.full(1, 0.5, np.float32))[0]
            self.truth.unasked.append((at + 1, at + 2))
        if change(old[-1], new[0 if not soft else 1]) < INVISIBLE:
            self.truth.unasked.append((at - 1, at + 2))
        else:
            self.truth.cuts.add(at)
            self.truth.events.append((kind, at, at))
        self.add(new)

    def jump(self, rng: np.random.Generator, stock: Stock, length: int) -> None:
        """The same scene again, a while later or seen from nearer."""
        first, gap = shot_length(rng), int(rng.integers(15, 60))
        whole = shot(rng, stock, first + gap + length)
        self.cut(whole[:first])
        old, new = whole[:first], whole[first + gap :]
        if rng.random() < 0.5:
            size = rng.uniform(0.6, 0.92)
            w, h = int(WIDTH_PX * size), int(HEIGHT_PX * size)
            x = int(rng.integers(0, WIDTH_PX - w + 1))
            y = int(rng.integers(0, HEIGHT_PX - h + 1))
            size_px = WIDTH_PX, HEIGHT_PX
            new = np.stack([cv2.resize(f[y : y + h, x : x + w], size_px) for f in new])
        usual = max(change(a, b) for a, b in zip(old[-5:-1], old[-4:], strict=True))
        usual = max(usual, *(change(a, b) for a, b in zip(new[:4], new[1:5], strict=True)))
        if change(old[-1], new[0]) < max(INVISIBLE, JUMP * usual):
            self.truth.unasked.append((self.num_frames - 1, self.num_frames + 2))
            self.add(new)
        else:
            self.cut(new, kind="jump")

    def mix(self, rng: np.random.Generator, new: np.ndarray) -> None:
        old = self.last()
        longest = min(len(old) - 2, len(new) - 4, 100)
        if longest < 4:
            return self.cut(new)
        length = int(np.exp(rng.uniform(np.log(3), np.log(longest))))
        kind = str(rng.choice(list(MIXES), p=[share for _, share in MIXES.values()]))
        mixed = MIXES[kind][0](rng, old[-length:], new[:length], ease(rng, length))
        start = self.num_frames - length
        self.parts[-1] = old[:-length]
        self.num_frames -= length
        self._gradual(kind, start, mixed, old[-length:], new[:length])
        self.add(mixed)
        self.add(new[length:])

    def _gradual(
        self, kind: str, start: int, mixed: np.ndarray, old: np.ndarray, new: np.ndarray
    ) -> None:
        end = start + len(mixed)
        if change(old[-1], new[0]) < 2 * INVISIBLE and kind != "fade":
            self.truth.unasked.append((start, end))
            return
        self.truth.graduals.append((start, end))
        self.truth.events.append((kind, start, end))
        for i, frame in enumerate(mixed):  # ends that hardly differ from the shots
            if min(change(frame, old[i]), change(frame, new[i])) < 1:
                self.truth.unasked.append((start + i, start + i + 1))

    def blank(self, rng: np.random.Generator, new: np.ndarray) -> None:
        """A cut into a flat tone, a cut out of it, or one of them and a fade."""
        length = int(rng.integers(3, 40))
        flat = np.broadcast_to(tones(rng).astype(np.uint8), (length, *new.shape[1:])).copy()
        way = rng.integers(3)
        old = self.last()
        if way == 0 and len(old) > 12:  # fades out, cuts in
            n = int(rng.integers(4, min(len(old) - 2, 50)))
            mixed = blend(old[-n:], flat[:1], ease(rng, n)[:, None, None, None].astype(np.float32))
            self.parts[-1] = np.concatenate([old[:-n], mixed])
            self._gradual("fade out", self.num_frames - n, mixed, old[-n:], flat[:1].repeat(n, 0))
            self.truth.graduals.append((self.num_frames, self.num_frames + length))
            self.add(flat)
            self.cut(new)
        elif way == 1 and len(new) > 12:  # cuts out, fades in
            self.cut(flat)
            n = int(rng.integers(4, min(len(new) - 2, 50)))
            mixed = blend(flat[:1], new[:n], ease(rng, n)[:, None, None, None].astype(np.float32))
            self.truth.graduals.append((self.num_frames - length, self.num_frames))
            self._gradual("fade in", self.num_frames, mixed, flat[:1].repeat(n, 0), new[:n])
            self.add(mixed)
            self.add(new[n:])
        else:
            self.cut(flat)
            self.cut(new)

    def fade_edge(self, rng: np.random.Generator, *, opens: bool) -> None:
        """The film's own beginning or end comes out of or goes into a flat tone."""
        frames = np.concatenate(self.parts)
        n = int(rng.integers(6, 60))
        if len(frames) < n + 12:
            return
        held = int(rng.integers(0, 20))
        w = np.clip((np.arange(n + held) - held) / n, 0, 1).astype(np.float32)[:, None, None, None]
        tone = tones(rng)[None, None, None]
        if opens:
            frames[: n + held] = blend(
                np.broadcast_to(tone, frames[: n + held].shape),
                frames[: n + held],
                w[: len(frames)],
            )
            span = (0, n + held)
        else:
            part = frames[-(n + held) :]
            frames[-(n + held) :] = blend(np.broadcast_to(tone, part.shape), part, w[::-1])
            span = (len(frames) - n - held, len(frames))
            self.truth.cuts = {t for t in self.truth.cuts if t < len(frames) - held}
        self.parts = [frames]
        self.truth.graduals.append(span)
        self.truth.events.append(("edge", span[0], span[1]))

    def trim(self, num_frames: int) -> None:
        self.parts = [np.concatenate(self.parts)[:num_frames]]
        self.num_frames = num_frames
        self.truth.cuts = {t for t in self.truth.cuts if t < num_frames}
        self.truth.events = [e for e in self.truth.events if e[1] < num_frames - 3]
