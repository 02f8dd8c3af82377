"""One decode pass over the chosen stream of a file, through whatever damage the file has.

Frames are counted as they come out of the decoder: that count is the frame index everywhere in this
project. Times are presentation stamps; index / fps is never used (MKV rounds stamps to a
millisecond, cameras vary).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av.error
import numpy as np

from curation.video.open import Probe, VideoError, choose_stream, display_size, open_video, probe

MAX_DEMUX_ERRORS = 100  # a demuxer that goes on failing at the same place would never end


@dataclass(frozen=True)
class Frame:
    index: int
    time_s: float
    picture: Any
    """The decoder's av.VideoFrame."""


class DecodePass:
    """Iterate once for the frames; afterwards the counts and times of the whole stream are
    known.
    """

    def __init__(self, path: str | Path | bytes) -> None:
        self.path = path
        self.probe: Probe
        self.decode_errors = 0
        self.corrupt: list[bool] = []
        self.times_s: list[float] = []
        self.last_duration_s = 0.0
        self.rotation = 0
        """Degrees clockwise that a player turns the stored picture: 0, 90, 180 or 270."""

    @property
    def num_frames(self) -> int:
        return len(self.times_s)

    def __iter__(self) -> Iterator[Frame]:
        with open_video(self.path) as container:
            stream = choose_stream(container)
            self.probe = probe(container, stream)
            stream.codec_context.thread_count = (
                1  # one task, one core: the pipeline runs many files at once
            )
            for picture in self._pictures(container, stream):
                yield self._frame(picture, stream)
                if self.probe.image_extension:
                    return
        if not self.times_s:
            raise VideoError(
                "no_frames", f"no frame of the {self.probe.codec} stream could be decoded"
            )

    def _pictures(self, container: Any, stream: Any) -> Iterator[Any]:
        failures = 0
        while True:
            try:
                for packet in container.demux(stream):
                    self.decode_errors += packet.is_corrupt  # the container lost part of it
                    try:
                        yield from packet.decode()
                    except (av.error.FFmpegError, ValueError):
                        self.decode_errors += 1
                return
            except av.error.FFmpegError:
                # damaged container: go on behind the damage, as a player would
                self.decode_errors += 1
                failures += 1
                if failures > MAX_DEMUX_ERRORS:
                    return

    def _frame(self, picture: Any, stream: Any) -> Frame:
        step_s = self._step_s(picture, stream)
        time_s = None if picture.pts is None else float(picture.pts * picture.time_base)
        if self.times_s and (time_s is None or time_s <= self.times_s[-1]):
            time_s = self.times_s[-1] + (
                self.last_duration_s or step_s
            )  # damaged stamps: keep order
        if not self.times_s:
            self.rotation = turn(picture)
        self.times_s.append(0.0 if time_s is None else time_s)
        self.last_duration_s = step_s
        self.corrupt.append(bool(picture.is_corrupt))
        return Frame(len(self.times_s) - 1, self.times_s[-1], picture)

    def _step_s(self, picture: Any, stream: Any) -> float:
        if picture.duration:
            return float(picture.duration * picture.time_base)
        return 1 / self.probe.fps_header if self.probe.fps_header else 0.04

    def display_size(self) -> tuple[int, int]:
        return display_size(self.probe, rotation=self.rotation)

    def edges_s(self) -> np.ndarray:
        """(num_frames + 1,) seconds: when each frame begins, and when the last one ends."""
        return np.array([*self.times_s, self.times_s[-1] + self.last_duration_s])


def frames_at(path: str | Path, times_s: list[float]) -> tuple[dict[float, Any], int]:
    """(pictures by the exact time they are shown from, frames decoded to reach them).

    One look from the keyframe before the first to the last. A time is missing where seeking or
    damaged stamps do not lead to it.
    """
    found: dict[float, Any] = {}
    decoded = 0
    with open_video(path) as container:
        stream = choose_stream(container)
        stream.codec_context.thread_count = 1
        try:
            container.seek(round(min(times_s) / stream.time_base), stream=stream)
            for picture in container.decode(stream):
                decoded += 1
                if picture.time in times_s:
                    found[picture.time] = picture
                if picture.time is not None and picture.time >= max(times_s):
                    break
        except av.error.FFmpegError:
            pass  # a stream without stamps to seek by, or damage: the others are missing
    return found, decoded


def turn(picture: Any) -> int:
    """Degrees clockwise, a multiple of 90, that the display matrix asks for; FFmpeg counts
    anticlockwise.
    """
    return round(-picture.rotation / 90) * 90 % 360


def mean_fps(edges_s: np.ndarray) -> float | None:
    """Frames per second over a stretch given by its frame edges; None for a single frame."""
    if len(edges_s) <= 2:
        return None
    return (len(edges_s) - 2) / float(edges_s[-2] - edges_s[0])


def varies(edges_s: np.ndarray) -> bool:
    """Variable frame rate: some frame is shown more than 1.5 times as long as the median one.

    Stamps rounded to a millisecond differ by up to 1 ms, which even at 120 fps is far below that.
    """
    steps = np.diff(edges_s[:-1])
    return bool(
        len(steps) > 1
        and (steps.max() > 1.5 * np.median(steps) or steps.min() < 0.5 * np.median(steps))
    )
