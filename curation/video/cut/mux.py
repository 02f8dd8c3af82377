"""Packets as an mp4: times from zero, no edit list, nothing of the machine or the moment.

decord fills clips that have an edit list with duplicates. Instead composition offsets are negative
(ISO 14496-12 8.6.1.3, version 1): the first frame is shown at 0 and is the first that is decoded.
"""

import heapq
import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av


@dataclass(frozen=True)
class Sample:
    """A packet of video as it goes into the mp4."""

    pts: int
    data: bytes
    is_key: bool


def open_mp4(out: io.BytesIO) -> Any:
    options = {"use_editlist": "0", "movflags": "+negative_cts_offsets", "fflags": "+bitexact"}
    return av.open(out, "w", format="mp4", options=options)


def add_copied_video(
    target: Any, template: Any, *, header: bytes | None = None, tag: str | None = None
) -> Any:
    """A stream like the source's; header: its parameter sets where they are not the source's."""
    is_av1 = template.codec_context.codec.canonical_name == "av1"  # its decoder has no encoder
    stream = target.add_stream_from_template(template, opaque=is_av1)
    if header is not None:
        stream.codec_context.extradata = header
    if tag is not None:
        stream.codec_context.codec_tag = tag
    return stream


def video_packets(
    stream: Any, samples: Sequence[Sample], *, end_pts: int, time_base: Fraction
) -> list[Any]:
    """Samples in decoding order as packets from time 0; end_pts: where the last one shown ends."""
    shown = sorted(sample.pts for sample in samples)
    # decoding times that no picture precedes, the first of them when the first picture is shown
    delay = max(due - sample.pts for due, sample in zip(shown, samples, strict=True))
    ends = [*shown[1:], max(end_pts, shown[-1] + 1)]
    packets = []
    for sample, due, end in zip(samples, shown, ends, strict=True):
        packet = av.Packet(sample.data)
        packet.stream, packet.time_base = stream, time_base
        packet.dts, packet.pts = due - shown[0] - delay, sample.pts - shown[0]
        packet.duration = end - due
        packet.is_keyframe = sample.is_key
        packets.append(packet)
    return packets


def write(target: Any, video: list[Any], sound: list[Any]) -> None:
    """Packets of both streams in order of their decoding times."""
    target.mux(list(heapq.merge(video, sound, key=_due_s)))


def _due_s(packet: Any) -> float:
    return packet.dts * packet.time_base.numerator / packet.time_base.denominator
