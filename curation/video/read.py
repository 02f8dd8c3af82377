"""A few frames of a clip, or all of them, as RGB arrays: decord, and PyAV where decord cannot
(AV1).
"""

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from av.error import FFmpegError

from curation.video.open import VideoError, choose_stream, open_video


def read_frames(
    source: str | Path | bytes,
    *,
    indices: Sequence[int] | None = None,
    size: tuple[int, int] | None = None,
) -> np.ndarray:
    """uint8 (T, H, W, 3) RGB frames of a clip that this project wrote; all of them when indices is
    None.

    size is (height, width). Indices count frames as they come out of the decoder. Raises ValueError
    where a frame cannot be had.
    """
    from decord import DECORDError

    try:
        return _read_decord(source, indices, size)
    except (DECORDError, RuntimeError):  # what it cannot open, AV1 above all
        pass
    try:
        return _read_av(source, indices, size)
    except (VideoError, FFmpegError) as error:
        raise ValueError(f"a clip cannot be decoded: {error}") from error


def _read_decord(
    source: str | Path | bytes, indices: Sequence[int] | None, size: tuple[int, int] | None
) -> np.ndarray:
    import decord

    height, width = size or (-1, -1)
    stream = io.BytesIO(source) if isinstance(source, bytes) else str(source)
    reader = decord.VideoReader(
        stream, ctx=decord.cpu(0), width=width, height=height, num_threads=1
    )
    wanted = range(len(reader)) if indices is None else indices
    _check(wanted, len(reader))
    return reader.get_batch(list(wanted)).asnumpy()


def _read_av(
    source: str | Path | bytes, indices: Sequence[int] | None, size: tuple[int, int] | None
) -> np.ndarray:
    wanted = None if indices is None else set(indices)
    frames: dict[int, np.ndarray] = {}
    count = 0
    with open_video(source) as container:
        for index, frame in enumerate(container.decode(choose_stream(container))):
            count = index + 1
            if wanted is None or index in wanted:
                image = frame.to_ndarray(format="rgb24")
                if size is not None:
                    image = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA)
                frames[index] = image
            if wanted and index >= max(wanted):
                break
    order = range(count) if indices is None else indices
    _check(order, count)
    return np.stack([frames[i] for i in order])


def _check(wanted: Sequence[int], count: int) -> None:
    if not len(wanted) or min(wanted) < 0 or max(wanted) >= count:
        raise ValueError(
            f"frames {list(wanted)[:4]}… of a clip of {count} frames; expected 0 <= index < {count}"
        )


def read_image(data: bytes, *, size: tuple[int, int] | None = None) -> np.ndarray:
    """uint8 (1, H, W, 3) RGB of an image file's bytes, turned as its EXIF orientation says."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise ValueError(f"an image of {len(data)} bytes cannot be decoded")
    if size is not None:
        image = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return image[None]
