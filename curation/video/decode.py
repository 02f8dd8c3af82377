"""One decode pass over the chosen stream of a file, through whatever damage the file has.

Frames are counted as they come out of the decoder: that count is the frame index everywhere in this
project. Times are presentation stamps; index / fps is never used (MKV rounds stamps to a
millisecond, cameras vary).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import av.error
import numpy as np

from curation.video import exif
from curation.video.open import (
    HDR_TRANSFERS,
    Probe,
    Source,
    VideoError,
    choose_stream,
    display_size,
    open_video,
    probe,
)

MAX_DEMUX_ERRORS = 100  # a demuxer that goes on failing at the same place would never end
MAX_TIME_S = 1e10  # cameras stamp seconds since 1970 (2e9); far beyond, float64 merges neighbours
MIN_STEP_S = 1e-4  # between frames whose stamps do not tell them apart


@dataclass(frozen=True)
class Frame:
    index: int
    """Since the pass began."""
    time_s: float
    picture: Any
    """The decoder's av.VideoFrame."""
    num_bytes: int
    """Of the packet that it came from; 0 where that is not known."""


@dataclass(frozen=True)
class Segment:
    """A stretch of a source between two keyframes, by their stamps: what one task decodes."""

    start_pts: int | None = None
    """Of its first frame, a keyframe; None: from the beginning."""
    end_pts: int | None = None
    """Of the first frame after it; None: to the end."""
    overlap: int = 0
    """Frames to decode beyond end_pts."""


WHOLE = Segment()


class DecodePass:
    """Iterate once for the frames; afterwards the counts and times of the whole stretch are
    known.

    A segment's frames are those stamped from start_pts up to end_pts, so the segments of a source
    give each frame once: pictures that follow the first keyframe but are shown before it belong to,
    and can only be decoded with, the segment before. fast leaves out the loop filter (H.264, HEVC):
    pictures drift a little from the true ones up to the next keyframe.
    """

    def __init__(self, path: Source, *, segment: Segment = WHOLE, fast: bool = False) -> None:
        self.path = path
        self.segment = segment
        self.fast = fast
        self.probe: Probe
        self.num_owned = 0
        """Frames of the segment itself, without the overlap."""
        self.decode_errors = 0
        self.interlaced_frames = 0
        self.corrupt: list[bool] = []
        self.times_s: list[float] = []
        self.last_duration_s = 0.0
        self.rotation = 0
        """Degrees clockwise that a player turns the stored picture: 0, 90, 180 or 270."""
        self._bytes_of: dict[int, int] = {}
        self._tick_s = 0.0

    @property
    def num_frames(self) -> int:
        return len(self.times_s)

    def __iter__(self) -> Iterator[Frame]:
        yield from self._frames(seeks=self.segment.start_pts is not None)
        if not self.times_s and self.segment.start_pts is not None:
            # seeking led past the keyframe, as in MPEG-TS, which has no index
            yield from self._frames(seeks=False)
        if not self.times_s:
            raise VideoError(
                "no_frames", f"no frame of the {self.probe.codec} stream could be decoded"
            )

    def _frames(self, *, seeks: bool) -> Iterator[Frame]:
        with open_video(self.path) as container:
            stream = choose_stream(container)
            self.probe = probe(container, stream)
            # one task, one core: the pipeline runs many files at once
            stream.codec_context.thread_count = 1
            if self.fast:
                stream.codec_context.options |= {"skip_loop_filter": "all"}
            for picture in self._pictures(container, stream, seeks=seeks):
                end_pts = self.segment.end_pts
                is_owned = end_pts is None or picture.pts is None or picture.pts < end_pts
                if is_owned and self.num_owned == self.num_frames:
                    self.num_owned += 1
                elif self.num_frames - self.num_owned == self.segment.overlap:
                    break
                if self.probe.image_extension and exif.is_mirrored(exif.file_bytes(self.path)):
                    exif.flip(picture)
                yield self._frame(picture)
                if self.probe.image_extension:
                    return

    def _pictures(self, container: Any, stream: Any, *, seeks: bool) -> Iterator[Any]:
        start_pts = self.segment.start_pts
        if seeks:
            try:
                container.seek(start_pts, stream=stream)
            except av.error.FFmpegError:
                return
        failures = 0
        begun = start_pts is None
        while True:
            try:
                for packet in container.demux(stream):
                    begun = begun or packet.pts == start_pts
                    if not begun:
                        continue
                    self._count_errors(packet.is_corrupt)  # the container lost part of it
                    if packet.pts is not None:
                        self._bytes_of[packet.pts] = packet.size
                    try:
                        for picture in packet.decode():
                            if start_pts is None or picture.pts is None or picture.pts >= start_pts:
                                yield picture
                    except (av.error.FFmpegError, ValueError):
                        self._count_errors(1)
                return
            except av.error.FFmpegError:
                # damaged container: go on behind the damage, as a player would
                self._count_errors(1)
                failures += 1
                if failures > MAX_DEMUX_ERRORS:
                    return

    def _frame(self, picture: Any) -> Frame:
        step_s = self._step_s(picture)
        time_s = picture.time
        if time_s is not None and abs(time_s) > MAX_TIME_S:
            time_s = None
        if self.times_s and (time_s is None or time_s <= self.times_s[-1]):
            time_s = self.times_s[-1] + self.last_duration_s  # damaged stamps: keep order
        if not self.times_s:
            self.rotation = turn(picture)
            # a container may say otherwise, as phones' and converters' mp4 do
            is_hdr = int(picture.color_trc) in HDR_TRANSFERS
            self.probe = replace(self.probe, is_hdr=is_hdr)
        self.times_s.append(0.0 if time_s is None else time_s)
        self.last_duration_s = step_s
        self.corrupt.append(bool(picture.is_corrupt))
        if self.num_owned == self.num_frames:
            self.interlaced_frames += bool(picture.interlaced_frame)
        num_bytes = self._bytes_of.pop(picture.pts, 0)
        return Frame(len(self.times_s) - 1, self.times_s[-1], picture, num_bytes)

    def _count_errors(self, errors: int) -> None:
        """What happens in the overlap is the next segment's."""
        if self.num_owned == self.num_frames:
            self.decode_errors += errors

    def _step_s(self, picture: Any) -> float:
        if picture.duration:
            # a fraction's arithmetic for every frame would cost as much as a meter
            self._tick_s = self._tick_s or float(picture.time_base)
            step_s = picture.duration * self._tick_s
        else:
            step_s = 1 / self.probe.fps_header if self.probe.fps_header else 0.04
        return step_s if MIN_STEP_S <= step_s < MAX_TIME_S else 0.04

    def display_size(self) -> tuple[int, int]:
        return display_size(self.probe, rotation=self.rotation)

    def edges_s(self) -> np.ndarray:
        """(num_frames + 1,) seconds: when each frame begins, and when the last one ends."""
        return np.array([*self.times_s, self.times_s[-1] + self.last_duration_s])


def frames_at(source: Source, times_s: list[float]) -> tuple[dict[float, Any], int]:
    """(pictures by the exact time they are shown from, frames decoded to reach them).

    One look from the keyframe before the first to the last. A time is missing where seeking or
    damaged stamps do not lead to it.
    """
    found: dict[float, Any] = {}
    decoded = 0
    with open_video(source) as container:
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
