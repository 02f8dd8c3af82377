"""A source held open while clips are cut from it: its index, any run of its packets, any frames."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av.error

from curation.video.cut.packets import WHOLE, Entry, Packets, Window, index_packets
from curation.video.decode import DecodePass
from curation.video.open import Source, choose_stream, open_video

CONTAINERS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")  # that stamp every packet themselves


@dataclass
class Reel:
    """Opened once for all the clips of a unit."""

    source: Source
    container: Any
    stream: Any
    packets: Packets | None
    stack: contextlib.ExitStack
    """What is to be closed with it."""
    decoder: Any = None
    """Codec context that knows what the first pictures tell; opened when it is needed."""
    decoded_frames: int = 0
    """Pictures decoded so far to reach those that were asked for."""

    @property
    def codec(self) -> str:
        return self.stream.codec_context.codec.canonical_name

    def read(self, first: int, last: int) -> Iterator[tuple[int, Any]]:
        """(position, packet) of the run [first, last). Raises LookupError where the source gives
        others than the index says.
        """
        assert self.packets is not None
        if self.packets.kept is not None:
            yield from enumerate(self.packets.kept[first:last], first)
            return
        position = first
        for packet in self._packets_from(first):
            if packet.pts != self.packets.pts[position]:
                raise LookupError(f"packet {position} of the source is not where it was")
            yield position, packet
            position += 1
            if position == last:
                return
        raise LookupError(f"the source's packets end at {position}, expected {last}")

    def _packets_from(self, position: int) -> Iterator[Any]:
        assert self.packets is not None
        target = self.packets.pts[position]
        later = self.packets.pts[position + 1 : position + 64]
        try:
            self.container.seek(target, stream=self.stream)
        except av.error.FFmpegError:
            later = [target]  # no seeking here: from the beginning
        begun = False
        for packet in self.container.demux(self.stream):
            begun = begun or packet.pts == target
            if begun and packet.size:
                yield packet
            elif packet.pts in later or packet.size == 0:
                break  # the seek went too far
        if begun:
            return
        with open_video(self.source) as again:
            for packet in again.demux(choose_stream(again)):
                begun = begun or packet.pts == target
                if begun and packet.size:
                    yield packet

    def frames(self, start: int, end: int) -> Iterator[tuple[float, Any]]:
        """(time in s, the decoder's frame) of the frames [start, end).

        From the last packet before them with which a decoder may begin to the last that they need.
        Raises LookupError where they do not come out.
        """
        packets = self.packets
        entry = packets and entry_before(packets, start)
        if packets is None or entry is None:
            yield from self._counted(start, end)
            return
        last = max(packets.position_of[frame] for frame in range(start, end)) + 1
        wanted = start
        for picture in self._decoded(entry, last):
            self.decoded_frames += 1
            if picture.pts is None or picture.pts < packets.pts_of(wanted):
                continue
            if picture.pts != packets.pts_of(wanted):
                break
            yield float(picture.pts * self.stream.time_base), picture
            wanted += 1
            if wanted == end:
                return
        raise LookupError(f"frame {wanted} does not come out of the decoder")

    def _decoded(self, entry: Entry, last: int) -> Iterator[Any]:
        context = self._decoder()
        try:
            for position, packet in self.read(entry.position, last):
                if position not in entry.leads:
                    yield from context.decode(packet)
            yield from context.decode(None)
        except (av.error.FFmpegError, ValueError) as error:
            raise LookupError(f"a packet of the source cannot be decoded: {error}") from error
        finally:
            with contextlib.suppress(av.error.FFmpegError):
                context.flush_buffers()

    def _decoder(self) -> Any:
        if self.decoder is None:
            container = self.stack.enter_context(open_video(self.source))
            self.decoder = choose_stream(container).codec_context
            self.decoder.thread_count = 1  # one task, one core
        return self.decoder

    def _counted(self, start: int, end: int) -> Iterator[tuple[float, Any]]:
        count = 0
        for frame in DecodePass(self.source):
            self.decoded_frames += 1
            count += 1
            if frame.index >= start:
                yield frame.time_s, frame.picture
            if count == end:
                return
        raise LookupError(f"{count} frames come out of the decoder, expected {end}")


def entry_before(packets: Packets, frame: int) -> Entry | None:
    """The last packet from which a decoder gives the frame."""
    found = [entry for entry in packets.entries if entry.frame <= frame]
    return max(found, key=lambda entry: entry.position, default=None)


@contextlib.contextmanager
def open_reel(source: Source, *, window: Window | None = WHOLE) -> Iterator[Reel]:
    """window: what to index; None: nothing, frames are then counted from the beginning."""
    with contextlib.ExitStack() as stack:
        container = stack.enter_context(open_video(source, header_only=True))
        if not header_suffices(container):
            container = stack.enter_context(open_video(source))
        stream = choose_stream(container)
        packets = index_packets(container, stream, window=window) if window else None
        yield Reel(source, container, stream, packets, stack)


def header_suffices(container: Any) -> bool:
    """Whether packets can be told apart and copied by what the header says: FFmpeg chooses among
    several streams, and stamps packets that have none, by what it finds in the first pictures.
    """
    if container.format.name not in CONTAINERS or len(container.streams.video) != 1:
        return False
    context = container.streams.video[0].codec_context
    if context is None:
        return False
    is_h264 = context.codec.canonical_name == "h264"
    return bool(context.extradata) if is_h264 else context.pix_fmt is not None
