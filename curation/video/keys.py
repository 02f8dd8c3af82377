"""A look at a video's keyframes only: the first frame of each group of pictures, and the sizes of
the packets between.

Only key packets are given to the decoder, each as if a player had just jumped there, so this works
for every codec alike (VP9's decoder does not know FFmpeg's skip_frame), and a keyframe that gives
its own picture whole is proved to be a place where a pass may begin. About 0.04 of a decode.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av.error
import numpy as np

from curation.video.open import Probe, Source, VideoError, choose_stream, open_video, probe

SHOWN_VP8 = 0x10  # RFC 6386 §9.1: a packet without it is no picture but a reference for later ones
LIKE = 1.25  # keyframes of one shot two seconds apart differ by a few per cent in their bytes
PROGRESSIVE = {0, 1}  # AVFieldOrder: unknown, progressive; fields may have a packet each


class Untold(Exception):
    """A file of which packets alone do not tell which frame is which: why."""


@dataclass(frozen=True)
class Key:
    """A keyframe that a decoder shows without anything before it."""

    packet: int
    """Its number in the order of decoding."""
    pts: int
    time_s: float
    picture: Any
    """The decoder's av.VideoFrame."""


class KeyPass:
    """Iterate once for the keyframes: those at least every_s apart, and those that take more or
    fewer bytes than the one before, which may show something else. Afterwards the stamps and sizes
    of all packets are known. Raises Untold where frames cannot be numbered by them.
    """

    def __init__(self, source: Source, *, every_s: float) -> None:
        self.source = source
        self.every_s = every_s
        self.probe: Probe
        self.time_base = 0.0
        """Seconds of a tick of the stamps."""
        self.pts: list[int] = []
        self.num_bytes: list[int] = []
        self.is_key: list[bool] = []
        self.last_ticks = 0
        """How long the packet is shown whose stamp is the last."""
        self._latest = 0

    def __iter__(self) -> Iterator[Key]:
        with open_video(self.source) as container:
            stream = choose_stream(container)
            self.probe = probe(container, stream)
            if self.probe.image_extension:
                raise Untold("an image")
            self.time_base = float(stream.time_base)
            stream.codec_context.thread_count = 1
            try:
                yield from self._keys(container, stream)
            except av.error.FFmpegError as error:
                raise Untold("damaged container") from error
        if len(set(self.pts)) != len(self.pts):
            raise Untold("stamps repeat")
        if not self.pts:
            raise VideoError("no_frames", f"no packet in the {self.probe.codec} stream")

    def _keys(self, container: Any, stream: Any) -> Iterator[Key]:
        last_s, last_bytes = -np.inf, 0
        for packet in container.demux(stream):
            if packet.size == 0:
                continue  # PyAV's flush packet
            self._note(packet)
            if not packet.is_keyframe:
                continue
            time_s = float(packet.pts * stream.time_base)  # as decode.py has it, to the bit
            is_like = last_bytes / LIKE <= packet.size <= last_bytes * LIKE
            if time_s - last_s >= self.every_s or not is_like:
                picture = _alone(packet, stream.codec_context)
                if picture is None:
                    continue
                if picture.interlaced_frame or stream.codec_context.field_order not in PROGRESSIVE:
                    raise Untold("interlaced")
                last_s, last_bytes = time_s, packet.size
                yield Key(len(self.pts) - 1, packet.pts, time_s, picture)

    def _note(self, packet: Any) -> None:
        if packet.pts is None:
            raise Untold("stamps are missing")
        if packet.is_corrupt:
            raise Untold("damaged packets")
        if self.probe.codec == "vp8" and not memoryview(packet)[0] & SHOWN_VP8:
            raise Untold("packets that show nothing")
        if not self.pts or packet.pts > self._latest:
            self._latest = packet.pts
            self.last_ticks = packet.duration or 0
        self.pts.append(packet.pts)
        self.num_bytes.append(packet.size)
        self.is_key.append(packet.is_keyframe)


def _alone(packet: Any, codec: Any) -> Any | None:
    """The picture of a key packet decoded with nothing before it; None where it needs more."""
    try:
        pictures = [*codec.decode(packet), *codec.decode(None)]
    except (av.error.FFmpegError, ValueError):
        pictures = []
    codec.flush_buffers()
    for picture in pictures:
        if picture.pts == packet.pts and not picture.is_corrupt:
            return picture
    return None
