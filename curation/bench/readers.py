"""How training code reads a clip: every reader there is, each with its own idea of a file's frames.

Pictures come as small grey ones, which tell a frame from its neighbours and are the same in all
readers up to rounding.
"""

import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

SMALL = (64, 64)  # width, height: as fine as a fifth of a step of one pixel in 320 moves its mean
Reader = Callable[[Path], list[np.ndarray]]


def small_grey(rgb_HW3: np.ndarray) -> np.ndarray:
    """float32 SMALL, 0-255."""
    grey = cv2.cvtColor(np.ascontiguousarray(rgb_HW3), cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey.astype(np.float32), SMALL, interpolation=cv2.INTER_AREA)


def by_pyav(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return _small(frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))


def by_opencv(path: Path) -> list[np.ndarray]:
    capture, frames = cv2.VideoCapture(str(path)), []
    while (frame := capture.read()[1]) is not None:
        frames.append(small_grey(frame[:, :, ::-1]))
    return frames


def by_decord(path: Path) -> list[np.ndarray]:
    reader = _decord(path)
    return _small(reader[i].asnumpy() for i in range(len(reader)))


def by_decord_at_random(path: Path) -> list[np.ndarray]:
    """The same frames, each after a seek."""
    reader = _decord(path)
    frames: list[np.ndarray] = [np.empty(0)] * len(reader)
    for i in np.random.default_rng(0).permutation(len(reader)):
        frames[i] = small_grey(reader[int(i)].asnumpy())
    return frames


def _decord(path: Path) -> Any:
    import decord

    return decord.VideoReader(str(path), num_threads=1)


def by_torchcodec(path: Path) -> list[np.ndarray]:
    import torchcodec  # pyright: ignore[reportMissingImports]

    decoders: Any = torchcodec.decoders
    reader = decoders.VideoDecoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=1)
    return _small(reader[i].numpy() for i in range(len(reader)))


def by_ffmpeg(path: Path) -> list[np.ndarray]:
    """The command, one frame out for each one decoded."""
    with av.open(str(path)) as container:
        width, height = container.streams.video[0].width, container.streams.video[0].height
    command = ["ffmpeg", "-v", "fatal", "-threads", "1", "-i", str(path), "-map", "0:v:0"]
    out = ["-vsync", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    data = subprocess.run([*command, *out], stdout=subprocess.PIPE, check=True).stdout
    return _small(np.frombuffer(data, np.uint8).reshape(-1, height, width, 3))


def _small(frames: Iterable[np.ndarray]) -> list[np.ndarray]:
    return [small_grey(frame) for frame in frames]


def installed() -> dict[str, Reader]:
    """Name -> reader, of those that are installed here."""
    found: dict[str, Reader] = {
        "PyAV": by_pyav,
        "OpenCV": by_opencv,
        "decord": by_decord,
    }
    if shutil.which("ffmpeg"):
        found["ffmpeg"] = by_ffmpeg
    try:
        import torchcodec.decoders  # noqa: F401  # pyright: ignore[reportMissingImports]
    except (ImportError, RuntimeError, OSError):
        return found  # not installed, or no FFmpeg libraries on this machine
    return found | {"torchcodec": by_torchcodec}
