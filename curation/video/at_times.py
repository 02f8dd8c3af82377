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
        self._container = self._stack.enter_context(open_video(self.source))
        self._stream = choose_stream(self._container)
        self._stream.codec_context.thread_count = 1  # one task, one core
        self.probe = probe(self._container, self._stream)
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

    def _next(self) -> Any:
        picture, self._ahead = self._ahead, None
        while picture is None or picture.time is None:  # without a stamp it cannot be found
            picture = next(self._frames, None)
            if picture is None:
                return None
            self.num_decoded += 1
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
        self._ahead = None
        with contextlib.suppress(av.error.FFmpegError):  # not seekable: from where it stands
            self._container.seek(self._pts(start_s), stream=self._stream)
        self._frames = self._decoded()
        first = self._next()
        if first is None or first.time > start_s + SAME_S:
            # behind the keyframe that is needed, as in MPEG-TS, which has no index
            with contextlib.suppress(av.error.FFmpegError):
                self._container.seek(self._stream.start_time or 0, stream=self._stream)
            self._frames = self._decoded()
            first = self._next()
        self._ahead = first

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
