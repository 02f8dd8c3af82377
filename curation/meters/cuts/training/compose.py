"""Films put together from single shots, so that every transition in them is known."""

import io
from dataclasses import dataclass, field
from fractions import Fraction

import cv2
import numpy as np

from curation.meters.cuts.tiny import CHROMA_PX, HEIGHT_PX, WIDTH_PX
from curation.meters.cuts.training import scenes
from curation.meters.cuts.training.mixes import MIXES, blend, ease, tones
from curation.meters.cuts.training.scenes import Stock, shot
from curation.meters.cuts.training.traps import TRAPS, title

NUM_FRAMES = 224
INVISIBLE = 3.0
"""Levels of 255: a cut or a mix that changes less on average is neither asked for nor punished."""
JUMP = 2.0
"""A jump within a scene counts as a cut when it changes this many times what its frames do."""


@dataclass
class Film:
    """Frames as the network sees them, and what is true of each."""

    luma_THW: np.ndarray
    u_Thw: np.ndarray
    v_Thw: np.ndarray
    cut_T: np.ndarray
    gradual_T: np.ndarray
    counts_T: np.ndarray
    """Whether the frame is asked for at all, for cut and for gradual: (T, 2)."""
    events: list[tuple[str, int, int]] = field(default_factory=list)
    """(kind, start, end) as in Transition."""


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
    frames, where = build.frames(), np.arange(num_frames)
    if rng.random() < 0.12:  # shown at a higher rate than it was filmed
        where = np.floor(where * rng.choice([0.4, 0.5, 0.8])).astype(int)
    return finished(rng, frames, build, where)


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
        self.cuts: dict[int, bool] = {}
        self.graduals: list[tuple[int, int]] = []
        self.unasked: list[tuple[int, int]] = []
        self.events: list[tuple[str, int, int]] = []

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
            self.unasked.append((at + 1, at + 2))
        if change(old[-1], new[0 if not soft else 1]) < INVISIBLE:
            self.unasked.append((at - 1, at + 2))
        else:
            self.cuts[at] = True
            self.events.append((kind, at, at))
        self.add(new)

    def jump(self, rng: np.random.Generator, stock: Stock, length: int) -> None:
        """The same scene again, a while later or seen from nearer."""
        first, gap = shot_length(rng), int(rng.integers(15, 60))
        whole = shot(rng, stock, first + gap + length)
        self.cut(whole[:first])
        old, new = whole[:first], whole[first + gap :]
        if rng.random() < 0.5:
            size = rng.uniform(0.6, 0.92)
            w, h = int(scenes.WIDTH_PX * size), int(scenes.HEIGHT_PX * size)
            x = int(rng.integers(0, scenes.WIDTH_PX - w + 1))
            y = int(rng.integers(0, scenes.HEIGHT_PX - h + 1))
            new = np.stack(
                [cv2.resize(f[y : y + h, x : x + w], (scenes.WIDTH_PX, scenes.HEIGHT_PX))
                 for f in new]
            )  # fmt: skip
        usual = max(change(a, b) for a, b in zip(old[-5:-1], old[-4:], strict=True))
        usual = max(usual, *(change(a, b) for a, b in zip(new[:4], new[1:5], strict=True)))
        if change(old[-1], new[0]) < max(INVISIBLE, JUMP * usual):
            self.unasked.append((self.num_frames - 1, self.num_frames + 2))
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
            self.unasked.append((start, end))
            return
        self.graduals.append((start, end))
        self.events.append((kind, start, end))
        for i, frame in enumerate(mixed):  # ends that hardly differ from the shots
            if min(change(frame, old[i]), change(frame, new[i])) < 1:
                self.unasked.append((start + i, start + i + 1))

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
            self.graduals.append((self.num_frames, self.num_frames + length))
            self.add(flat)
            self.cut(new)
        elif way == 1 and len(new) > 12:  # cuts out, fades in
            self.cut(flat)
            n = int(rng.integers(4, min(len(new) - 2, 50)))
            mixed = blend(flat[:1], new[:n], ease(rng, n)[:, None, None, None].astype(np.float32))
            self.graduals.append((self.num_frames - length, self.num_frames))
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
            self.cuts = {t: v for t, v in self.cuts.items() if t < len(frames) - held}
        self.parts = [frames]
        self.graduals.append(span)
        self.events.append(("edge", span[0], span[1]))

    def trim(self, num_frames: int) -> None:
        self.parts = [np.concatenate(self.parts)[:num_frames]]
        self.num_frames = num_frames
        self.cuts = {t: v for t, v in self.cuts.items() if t < num_frames}
        self.events = [e for e in self.events if e[1] < num_frames - 3]

    def frames(self) -> np.ndarray:
        return np.concatenate(self.parts)


def change(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference; both chroma planes together count as much as luma."""
    d = cv2.absdiff(a, b).reshape(-1, 3).mean(0)
    return float(d[0] + (d[1] + d[2]) / 2)


def finished(rng: np.random.Generator, frames: np.ndarray, build: Build, where: np.ndarray) -> Film:
    """Bars, titles and compression over everything, then the labels of the frames `where`."""
    num_frames = len(frames)
    if rng.random() < 0.12:
        frames = title(rng, frames, Stock([], []))
    if rng.random() < 0.15:
        bar, side = int(rng.integers(2, 14)), rng.random() < 0.3
        frames = frames.copy()
        for band in (np.s_[:, :bar], np.s_[:, -bar:]) if not side else (
            np.s_[:, :, : 2 * bar], np.s_[:, :, -2 * bar :]):  # fmt: skip
            frames[band] = (16 if rng.random() < 0.3 else 0, 128, 128)
    if rng.random() < 0.08:
        frames = frames.copy()
        frames[..., 1:] = 128
    if rng.random() < 0.12:
        frames = compressed(
            frames, quality=int(rng.integers(26, 44)), gop=int(rng.integers(8, 100))
        )
    cut, gradual, counts = np.zeros(num_frames, bool), np.zeros(num_frames, bool), np.ones(
        (num_frames, 2), bool)  # fmt: skip
    for a, b in build.graduals:
        gradual[a:b] = True
        counts[max(0, a - 1) : a + 1, 1] = counts[max(0, b - 1) : b + 1, 1] = False
    for a, b in build.unasked:
        counts[max(0, a) : b] = False
    cut[list(build.cuts)] = True
    counts[list(build.cuts), 0] = True
    luma = cv2.resize(
        np.ascontiguousarray(frames[..., 0]).reshape(-1, scenes.WIDTH_PX),
        (WIDTH_PX, num_frames * HEIGHT_PX), interpolation=cv2.INTER_AREA,
    ).reshape(num_frames, HEIGHT_PX, WIDTH_PX)  # fmt: skip
    v, u = (
        cv2.resize(
            np.ascontiguousarray(frames[..., i]).reshape(-1, scenes.WIDTH_PX),
            (CHROMA_PX[0], num_frames * CHROMA_PX[1]), interpolation=cv2.INTER_AREA,
        ).reshape(num_frames, CHROMA_PX[1], CHROMA_PX[0])
        for i in (1, 2)
    )  # fmt: skip
    counts[is_blank(luma), 1] = False
    again = np.diff(where, prepend=-1) == 0
    return Film(
        luma[where], u[where], v[where], cut[where] & ~again, gradual[where], counts[where],
        [(k, int(np.searchsorted(where, a)), int(np.searchsorted(where, b)))
         for k, a, b in build.events if a <= where[-1]],
    )  # fmt: skip


def is_blank(luma_THW: np.ndarray) -> np.ndarray:
    from curation.meters.cuts.tiny import blank

    return blank(luma_THW)


def compressed(frames: np.ndarray, *, quality: int, gop: int) -> np.ndarray:
    """The frames after H.264 at 1.5 times the size: blocks, pulsing key frames, smeared detail."""
    import av

    size = 3 * scenes.WIDTH_PX // 2, 3 * scenes.HEIGHT_PX // 2
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        options = {"crf": str(quality), "preset": "ultrafast", "g": str(gop), "threads": "1"}
        stream = container.add_stream("libx264", rate=Fraction(25), options=options)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv444p"
        for i, frame in enumerate(frames):
            big = cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)
            planes = np.ascontiguousarray(big.transpose(2, 0, 1)[[0, 2, 1]])
            picture = av.VideoFrame.from_ndarray(planes, format="yuv444p")
            picture.pts = i
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    out.seek(0)
    back = []
    with av.open(out) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for picture in container.decode(video=0):
            planes = picture.to_ndarray()[[0, 2, 1]].transpose(1, 2, 0)
            back.append(cv2.resize(planes, (scenes.WIDTH_PX, scenes.HEIGHT_PX),
                                   interpolation=cv2.INTER_AREA))  # fmt: skip
    return np.stack(back)
