"""A composed film as the network meets it: bars, titles and compression over everything, made tiny,
with what is true of each frame.
"""

import io
from dataclasses import dataclass, field
from fractions import Fraction

import cv2
import numpy as np

from curation.meters.cuts import tiny
from curation.meters.cuts.training.sprites import HEIGHT_PX, WIDTH_PX
from curation.meters.cuts.training.traps import title


@dataclass
class Truth:
    """Of a film in the making."""

    cuts: set[int] = field(default_factory=set)
    graduals: list[tuple[int, int]] = field(default_factory=list)
    unasked: list[tuple[int, int]] = field(default_factory=list)
    """Frames [start, end) of which either answer is right."""
    events: list[tuple[str, int, int]] = field(default_factory=list)
    """(kind, start, end) as in Transition."""


@dataclass
class Film:
    """Frames as the network sees them, and what is true of each."""

    luma_THW: np.ndarray
    u_Thw: np.ndarray
    v_Thw: np.ndarray
    cut_T: np.ndarray
    gradual_T: np.ndarray
    counts_TK: np.ndarray
    """(T, 2) whether the frame is asked for at all, for cut and for gradual."""
    events: list[tuple[str, int, int]]


def change(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference; both chroma planes together count as much as luma."""
    d = cv2.absdiff(a, b).reshape(-1, 3).mean(0)
    return float(d[0] + (d[1] + d[2]) / 2)


def finished(
    rng: np.random.Generator, frames_THWC: np.ndarray, truth: Truth, *, shown: np.ndarray
) -> Film:
    """shown: which frame stands at each place of the film, where some stand twice."""
    frames = dressed(rng, frames_THWC)
    luma, v, u = (
        shrunk(frames[..., i], size)
        for i, size in enumerate(((tiny.WIDTH_PX, tiny.HEIGHT_PX), tiny.CHROMA_PX, tiny.CHROMA_PX))
    )
    cut, gradual, counts = labels(truth, num_frames=len(frames))
    counts[tiny.blank(luma), 1] = False  # blank frames beside a fade are added by rule
    again = np.diff(shown, prepend=-1) == 0
    return Film(
        luma[shown],
        u[shown],
        v[shown],
        cut[shown] & ~again,
        gradual[shown],
        counts[shown],
        [
            (kind, int(np.searchsorted(shown, start)), int(np.searchsorted(shown, end)))
            for kind, start, end in truth.events
            if start <= shown[-1]
        ],
    )


def labels(truth: Truth, *, num_frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(T,) cut, (T,) gradual, (T, 2) counts. The frames at the ends of a gradual transition, which
    hardly differ from the shot's own, do not count.
    """
    cut, gradual = np.zeros(num_frames, bool), np.zeros(num_frames, bool)
    counts = np.ones((num_frames, 2), bool)
    for start, end in truth.graduals:
        gradual[start:end] = True
        for edge in (start, end):
            counts[max(0, edge - 1) : edge + 1, 1] = False
    for start, end in truth.unasked:
        counts[max(0, start) : end] = False
    where = [c for c in truth.cuts if c < num_frames]
    cut[where] = True
    counts[where, 0] = True
    return cut, gradual, counts


def dressed(rng: np.random.Generator, frames: np.ndarray) -> np.ndarray:
    """A lasting title, bars, grey, compression: each seldom."""
    if rng.random() < 0.12:
        frames = title(rng, frames)
    if rng.random() < 0.15:
        frames = frames.copy()
        bar, tone = int(rng.integers(2, 14)), (16 if rng.random() < 0.3 else 0, 128, 128)
        if rng.random() < 0.3:
            frames[:, :, : 2 * bar] = frames[:, :, -2 * bar :] = tone
        else:
            frames[:, :bar] = frames[:, -bar:] = tone
    if rng.random() < 0.08:
        frames = frames.copy()
        frames[..., 1:] = 128
    if rng.random() < 0.12:
        quality, gop = int(rng.integers(26, 44)), int(rng.integers(8, 100))
        frames = compressed(frames, quality=quality, gop=gop)
    return frames


def shrunk(plane_THW: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    width, height = size
    tall = np.ascontiguousarray(plane_THW).reshape(-1, plane_THW.shape[2])
    small = cv2.resize(tall, (width, len(plane_THW) * height), interpolation=cv2.INTER_AREA)
    return small.reshape(-1, height, width)


def compressed(frames_THWC: np.ndarray, *, quality: int, gop: int) -> np.ndarray:
    """The frames after H.264 at 1.5 times the size: blocks, pulsing key frames, smeared detail."""
    import av

    size = 3 * WIDTH_PX // 2, 3 * HEIGHT_PX // 2
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        options = {"crf": str(quality), "preset": "ultrafast", "g": str(gop), "threads": "1"}
        stream = container.add_stream("libx264", rate=Fraction(25), options=options)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv444p"
        for i, image in enumerate(frames_THWC):
            big = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
            planes = np.ascontiguousarray(big.transpose(2, 0, 1)[[0, 2, 1]])  # YCrCb to YUV
            frame = av.VideoFrame.from_ndarray(planes, format="yuv444p")
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    out.seek(0)
    back = []
    with av.open(out) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for frame in container.decode(video=0):
            image = frame.to_ndarray()[[0, 2, 1]].transpose(1, 2, 0)
            small = (WIDTH_PX, HEIGHT_PX)
            back.append(cv2.resize(image, small, interpolation=cv2.INTER_AREA))
    return np.stack(back)
