"""A source held open while clips are cut from it: its index, any run of its packets, any frames."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av.error

from curation.video.cut.packets import WHOLE, Entry, Packets, Window, index_packets
from curation.video.decode import DecodePass
from curation.video.open import Source, choose_stream, open_video


@dataclass
class Reel:
    """Opened once for all the clips of a unit: opening costs as much as decoding ten frames."""

    source: Source
    container: Any
    stream: Any
    packets: Packets | None
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
        context = self.stream.codec_context
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
    with open_video(source) as container:
        stream = choose_stream(container)
        stream.codec_context.thread_count = 1  # one task, one core
        packets = index_packets(container, stream, window=window) if window else None
        yield Reel(source, container, stream, packets)
