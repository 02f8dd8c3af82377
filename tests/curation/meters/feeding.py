"""Feeds a meter as the decode pass does, with pictures made by hand."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np

from curation.meters.record import Log
from curation.meters.span import Span
from curation.video.picture import Picture, small_planes, small_size


def flat(value: int, *, height: int = 72, width: int = 128) -> np.ndarray:
    return np.full((height, width), value, np.uint8)


def pictures(
    lumas: Iterable[np.ndarray],
    *,
    fps: float = 24.0,
    corrupt: Sequence[int] = (),
    chroma: int = 128,
) -> Iterator[Picture]:
    """Small pictures only, as they are, with one chroma value for both planes."""
    before = None
    for i, luma in enumerate(lumas):
        plane = np.full((luma.shape[0] // 2, luma.shape[1] // 2), chroma, np.uint8)
        planes = np.ascontiguousarray(luma), plane, plane
        picture = Picture(i, i / fps, planes, before=before, is_corrupt=i in corrupt)
        yield picture
        before = picture


def full_pictures(lumas: Iterable[np.ndarray], *, fps: float = 24.0) -> Iterator[Picture]:
    """Colourless full-range frames of any even size and the small pictures made from them."""
    before = None
    for i, luma in enumerate(lumas):
        frame = frame_of(luma)
        planes = small_planes(frame, size=small_size(frame.width, frame.height), rotation=0)
        picture = Picture(i, i / fps, planes, before=before, frame=frame)
        yield picture
        before = picture


def frame_of(luma_HW: np.ndarray) -> av.VideoFrame:
    height, width = luma_HW.shape
    chroma = np.full((height // 2, width), 128, np.uint8)
    return av.VideoFrame.from_ndarray(np.concatenate([luma_HW, chroma]), format="yuvj420p")


def feed(meter: Any, seen: Iterable[Picture]) -> np.ndarray:
    """The meter's rows with the frame of each, as the pass keeps them."""
    log = Log(meter)
    for picture in seen:
        log.update(picture)
    return log.array()


def read(meter: Any, rows: np.ndarray, start: int, end: int, *, fps: float = 24.0) -> dict:
    """The columns of the clip [start, end): those that the meter names, in its order."""
    span = Span(start, end, np.arange(start, end + 1) / fps)
    found = type(meter).clip(span.of(rows), span)
    assert list(found) == meter.writes.names
    return found


def file_pictures(path: Path) -> Iterator[Picture]:
    """A video file's frames as the decode pass hands them to the meters."""
    before = None
    with av.open(str(path)) as container:
        for i, frame in enumerate(container.decode(video=0)):
            planes = small_planes(frame, size=small_size(frame.width, frame.height), rotation=0)
            picture = Picture(i, frame.time or 0.0, planes, before=before, frame=frame)
            yield picture
            before = picture
