"""A clip's sound: the source's own packets where an mp4 holds such, else AAC.

Copied packets begin at the one nearest to the clip's first frame, since without an edit list none
can be cut: a codec's packet is 20 to 30 ms, so picture and sound are at most half of that apart.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import av.error
import numpy as np

from curation.video.open import Source, open_video

COPIED = ("aac", "mp3", "ac3", "eac3", "opus")  # that mp4 holds and FFmpeg 4.1 (decord) knows there
AAC_SAMPLES = 1024  # of one packet
AAC_BITS_PER_S = 64000  # per channel: transparent for most listeners (FFmpeg's AAC guide)
AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)  # ISO 14496-3 1.6.3.4
LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}  # that AAC has
LATE_S = 0.05  # two packets; lips and voice part visibly from 0.045 s on (ITU-R BT.1359)


def audio_packets(target: Any, source: Source, *, start_s: float, end_s: float) -> list[Any]:
    """Packets of a new stream of `target` with the sound from start_s to end_s at time zero; [] and
    no stream where the source has none there.
    """
    with open_video(source) as container:
        stream: Any = container.streams.best("audio")
        if stream is None or not stream.codec_context.sample_rate:
            return []
        if stream.codec_context.codec.canonical_name in COPIED:
            return _copied(target, container, stream, start_s=start_s, end_s=end_s)
        return _encoded(target, container, stream, start_s=start_s, end_s=end_s)


def _copied(target: Any, container: Any, stream: Any, *, start_s: float, end_s: float) -> list[Any]:
    found: list[Any] = []
    for packet in _from(container, stream, start_s):
        half_s = float((packet.duration or 0) * packet.time_base) / 2
        middle_s = _time_s(packet) + half_s
        if middle_s >= end_s:
            break
        if middle_s >= start_s:
            found.append(packet)
    if not found or abs(_time_s(found[0]) - start_s) > LATE_S:
        # sound that begins late: without an edit list only silence can say so
        return _encoded(target, container, stream, start_s=start_s, end_s=end_s)
    out = target.add_stream_from_template(stream)
    zero = found[0].pts
    for packet in found:
        packet.pts = packet.dts = packet.pts - zero
        packet.stream = out
    return found


def _time_s(packet: Any) -> float:
    return float(packet.pts * packet.time_base)


def _from(container: Any, stream: Any, start_s: float) -> Iterator[Any]:
    """Packets with stamps from a little before start_s; as far as the file is whole."""
    try:
        container.seek(max(0, round((start_s - 1) / stream.time_base)), stream=stream)
        for packet in container.demux(stream):
            if packet.size and packet.pts is not None:
                yield packet
    except av.error.FFmpegError:
        return


def _encoded(
    target: Any, container: Any, stream: Any, *, start_s: float, end_s: float
) -> list[Any]:
    rate = stream.codec_context.sample_rate
    rate = rate if rate in AAC_RATES else AAC_RATES[-1]
    sound = _samples(container, stream, rate=rate, start_s=start_s, end_s=end_s)
    if sound is None:
        return []
    out = target.add_stream("aac", rate=rate)
    out.layout = LAYOUTS[sound.shape[0]]
    out.bit_rate = AAC_BITS_PER_S * sound.shape[0]
    found = []
    for at in range(0, sound.shape[1], AAC_SAMPLES):
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(sound[:, at : at + AAC_SAMPLES]),
            format="fltp",
            layout=out.layout.name,
        )
        frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
        found += out.encode(frame)
    found += out.encode(None)
    return [packet for packet in found if packet.pts >= 0]  # before 0: the coder's run-up


def _samples(
    container: Any, stream: Any, *, rate: int, start_s: float, end_s: float
) -> np.ndarray | None:
    """float32 (channels, samples) from start_s to end_s; silence where the source has none; None
    where it has none at all, or as many channels as no AAC has.
    """
    channels = len(stream.codec_context.layout.channels)
    if channels not in LAYOUTS:
        return None
    resampler = av.AudioResampler(format="fltp", layout=LAYOUTS[channels], rate=rate)
    sound = np.zeros((channels, round((end_s - start_s) * rate)))
    heard = False
    for packet in _from(container, stream, start_s):
        if _time_s(packet) >= end_s:
            break
        try:
            frames = packet.decode()
        except (av.error.FFmpegError, ValueError):
            continue
        for frame in frames:
            if frame.pts is None:
                continue
            at = round((float(frame.pts * frame.time_base) - start_s) * rate)
            for plain in resampler.resample(frame):
                heard |= _place(sound, plain.to_ndarray(), at)
                at += plain.samples
    return sound.astype(np.float32) if heard else None


def _place(sound: np.ndarray, part: np.ndarray, at: int) -> bool:
    first, last = max(0, at), min(sound.shape[1], at + part.shape[1])
    if first >= last or part.shape[0] != sound.shape[0]:
        return False
    sound[:, first:last] = part[:, first - at : last - at]
    return True
