"""Films of which little is worth keeping, made once: what triage is measured on.

Real shots (`corpus.py`) between black, defocused, written and still stretches: as cameras write
them, with a sensor's noise at a steady rate, and as they are made for the web, in long groups of
pictures without; and one film that lies there three times.
"""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from curation.bench.corpus import ENCODERS, FPS, Edit, add_grain, grain_tiles, pictures, run_ffmpeg

EDITION = 5  # raise it when a file would come out otherwise: the folder's name holds it
SIZE = 1280, 720
COPY_SIZE = 640, 360
DEFOCUS = 0.02  # of the width, standard deviation
SLIDE_S = 6.0
LENS_CAP = 20  # luma of 255
WORDS = "what is written here says nothing and goes on for as long as there is room on the page "


@dataclass(frozen=True)
class Film:
    """A file: stretches of (kind, seconds)."""

    name: str
    encoder: tuple[str, ...]
    stretches: tuple[tuple[str, float], ...]
    seed: int
    has_grain: bool = True
    """A sensor's noise on all but the good stretches, which have it anyhow."""
    size: tuple[int, int] = SIZE


def camera(codec: str, megabits_per_s: float, *, gop: int) -> tuple[str, ...]:
    """As cameras write: at a steady rate, a keyframe every second or half whatever is filmed."""
    rate = f"{megabits_per_s}M"
    steady = ("-b:v", rate, "-maxrate", rate, "-bufsize", rate)
    # the last of two settings of x265 counts
    fixed = ("-x265-params", f"{ENCODERS[codec][-1]}:scenecut=0") if codec == "hevc" else ()
    return (*ENCODERS[codec], *steady, "-g", str(gop), "-sc_threshold", "0", *fixed)


H264 = (*ENCODERS["h264"], "-crf", "23")  # as files are made for the web: see ENCODERS
VP9 = (*ENCODERS["vp9"], "-crf", "33", "-b:v", "0")
LONG_GOP = ("-g", "600", "-sc_threshold", "0")  # a keyframe every 20 s, wherever cuts are
FILMS = (
    Film(
        "phone.mp4",
        camera("h264", 3.8, gop=30),
        (("black", 14), ("good", 9), ("blurred", 22), ("written", 24), ("still", 14)),
        1,
    ),
    Film(
        "phone_hevc.mp4",
        camera("hevc", 2.6, gop=30),
        (("written", 18), ("good", 9), ("blurred", 24), ("black", 12), ("still", 14)),
        2,
    ),
    Film(
        "action_camera.mp4",
        camera("h264", 6.0, gop=15),
        (("blurred", 31), ("good", 9), ("black", 13), ("written", 19)),
        4,
    ),
    Film(
        "web.mp4",
        H264,
        (("black", 14), ("good", 9), ("blurred", 22), ("written", 24), ("still", 14)),
        5,
        has_grain=False,
    ),
    Film(
        "web.webm",
        VP9,
        (("blurred", 24), ("black", 12), ("good", 8), ("written", 18), ("still", 12)),
        3,
        has_grain=False,
    ),
    Film(
        "long_gop.mp4",
        (*H264, *LONG_GOP),
        (("still", 42), ("written", 37), ("good", 8), ("black", 31)),
        5,
        has_grain=False,
    ),
    Film("original.mp4", camera("h264", 3.8, gop=30), (("good", 24),), 6),
    Film("copy.mp4", (*H264, "-crf", "27"), (("good", 24),), 6, size=COPY_SIZE),
    Film("copy.webm", (*VP9, "-crf", "36"), (("good", 24),), 6, size=COPY_SIZE),
)


def make_films(folder: Path) -> Path:
    """The folder of the films; those that are there already are left alone."""
    folder = folder / f"films-{EDITION}"
    for film in FILMS:
        path = folder / film.name
        if not path.exists():
            encode(path, film)
    return folder


def encode(path: Path, film: Film) -> None:
    """The film into a file that appears whole or not at all."""
    width, height = film.size
    command = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width}x{height}"]
    command += ["-r", str(FPS), "-i", "-", *film.encoder]
    run_ffmpeg(command, path, pictures=frames(film))


def frames(film: Film) -> Iterator[bytes]:
    """The film's frames as I420."""
    seconds = sum(s for _, s in film.stretches)
    shots = pictures(Edit("h264", *SIZE, seconds, (2, 5), 0, film.seed))
    grain = grain_tiles(*SIZE, seed=film.seed)
    rng = random.Random(film.seed)
    for kind, length_s in film.stretches:
        for picture in stretch(kind, round(length_s * FPS), shots, rng=rng):
            if film.has_grain and kind != "good":
                picture = picture.copy()
                add_grain(picture[: SIZE[1]], grain, rng)
            yield (picture if film.size == SIZE else _resized(picture, film.size)).tobytes()


def stretch(
    kind: str, count: int, shots: Iterator[bytes], *, rng: random.Random
) -> Iterator[np.ndarray]:
    """(3 h / 2, w) uint8 I420 pictures of one kind, as they fall on the sensor."""
    width, height = SIZE

    def shot() -> np.ndarray:
        return np.frombuffer(next(shots), np.uint8).reshape(height * 3 // 2, width).copy()

    if kind == "good":
        yield from (shot() for _ in range(count))
    elif kind == "blurred":
        for _ in range(count):
            picture = shot()
            picture[:height] = _defocused(picture[:height])
            yield picture
    elif kind == "black":
        picture = np.full((height * 3 // 2, width), 128, np.uint8)
        picture[:height] = LENS_CAP
        yield from itertools.repeat(picture, count)
    elif kind == "still":
        picture = shot()
        picture[:height] = cv2.medianBlur(picture[:height], 3)  # without its noise
        yield from itertools.repeat(picture, count)
    else:
        for start in range(0, count, round(SLIDE_S * FPS)):
            yield from itertools.repeat(slide(rng), min(count - start, round(SLIDE_S * FPS)))


def _defocused(luma_HW: np.ndarray) -> np.ndarray:
    """Blurred at a quarter of the size, where the same blur costs a sixty-fourth."""
    height, width = luma_HW.shape
    small = cv2.resize(luma_HW, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), DEFOCUS * width / 4)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def slide(rng: random.Random) -> np.ndarray:
    """A page of writing, dark on light or light on dark."""
    light = rng.random() < 0.5
    paper, ink = ((235, 240, 240), (60, 30, 20)) if light else ((40, 20, 10), (220, 230, 230))
    width, height = SIZE
    image = np.full((height, width, 3), paper, np.uint8)
    scale = rng.choice((0.8, 1.1, 1.5)) * width / 854
    line_px = round(42 * scale)
    for i, y in enumerate(range(2 * line_px, height - line_px, line_px)):
        begin = rng.randrange(len(WORDS)) if i else 0
        text = (WORDS * 2)[begin : begin + round(width / (20 * scale))]
        cv2.putText(image, text, (40, y), cv2.FONT_HERSHEY_DUPLEX, scale, ink, 1, cv2.LINE_AA)
    return cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    bgr = cv2.cvtColor(picture, cv2.COLOR_YUV2BGR_I420)
    small = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_BGR2YUV_I420)
