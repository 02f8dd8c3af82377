"""Frames of a source by when they are shown, clip after clip in one way forward.

What is decoded is counted, and nothing is decoded twice where the container says where its
keyframes lie: a clip that begins in the group of pictures in which the one before ended is reached
by going on, one further on by seeking.
"""

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import av.error

from curation.video.decode import turn
from curation.video.open import Probe, Source, choose_stream, display_size, open_video, probe

SAME_S = 1e-4  # stamps nearer than this are the same: MKV rounds them to a millisecond
NO_INDEX_S = 12.0  # without an index a keyframe is expected at least this often
FPS_UNKNOWN = 25.0  # of a raw stream whose header names no rate


class TimeReader:
    """Use as `with TimeReader(path) as reader`. Raises VideoError where it is no video."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.num_decoded = 0
        self.probe: Probe
        self._stack = contextlib.ExitStack()
        self._frames: Iterator[Any] = iter(())
        self._ahead: Any = None  # decoded, and shown after what was asked for last
        self._position_s: float | None = None

    def __enter__(self) -> "TimeReader":
        self._open()
        self.probe = probe(self._container, self._stream)
        self._step_s = 1 / (self.probe.fps_header or FPS_UNKNOWN)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def between(self, start_s: float, end_s: float) -> Iterator[Any]:
        """The decoder's pictures shown from start_s on and before end_s, in order; those that are
        damaged beyond decoding are missing. Asked for stretches in order of time.
        """
        if self._needs_seek(start_s):
            self._seek(start_s)
        while (picture := self._next()) is not None:
            if picture.time >= end_s - SAME_S:
                self._ahead = picture
                return
            if picture.time >= start_s - SAME_S:
                yield picture

    def display_size(self, picture: Any) -> tuple[int, int]:
        """(width, height) as shown: turned, in square pixels."""
        return display_size(self.probe, rotation=turn(picture))

    def _open(self) -> None:
        self._stack.close()
        self._container = self._stack.enter_context(open_video(self.source))
        self._stream = choose_stream(self._container)
        self._stream.codec_context.thread_count = 1  # one task, one core
        self._position_s = None

    def _next(self) -> Any:
        picture, self._ahead = self._ahead, None
        if picture is None:
            if (picture := next(self._frames, None)) is None:
                return None
            self.num_decoded += 1
        if picture.time is None:  # a raw stream: frames follow each other at the header's rate
            before = self._position_s
            time_s = 0.0 if before is None else before + self._step_s
            picture.time_base = self._stream.time_base
            picture.pts = self._pts(time_s)
        self._position_s = picture.time
        return picture

    def _needs_seek(self, start_s: float) -> bool:
        if self._position_s is None or start_s < self._position_s - SAME_S:
            return True
        index = self._stream.index_entries
        place = index.search_timestamp(self._pts(start_s), backward=True, any_frame=False)
        if place < 0 or len(index) < 2:
            return start_s - self._position_s > NO_INDEX_S
        keyframe_s = float(index[place].timestamp * self._stream.time_base)
        return keyframe_s > self._position_s

    def _seek(self, start_s: float) -> None:
        """To the last keyframe that is shown at start_s or before. Some containers lead behind it
        (AVI and FLV before B-frames, MPEG-TS, which has no index): then from further back, and at
        last from the beginning.
        """
        for earlier_s in (0.0, NO_INDEX_S):
            self._ahead = None
            try:
                self._container.seek(self._pts(start_s - earlier_s), stream=self._stream)
            except av.error.FFmpegError:  # not seekable
                break
            self._frames = self._decoded()
            self._position_s = None
            first = self._next()
            if first is not None and first.time <= start_s + SAME_S:
                self._ahead = first
                return
        self._ahead = None
        self._open()
        self._frames = self._decoded()

    def _decoded(self) -> Iterator[Any]:
        """Every picture that can be decoded from here on."""
        for packet in self._packets():
            with contextlib.suppress(av.error.FFmpegError, ValueError):
                yield from packet.decode()

    def _packets(self) -> Iterator[Any]:
        with contextlib.suppress(av.error.FFmpegError):
            yield from self._container.demux(self._stream)

    def _pts(self, time_s: float) -> int:
        return round(time_s / self._stream.time_base)
