"""Cutting a clip out of its source: stream copy where that is exact, else one re-encode.

Copy. Packets leave a demuxer in decoding order. A run of packets that begins with a keyframe and
whose pictures are exactly the clip's frames is a valid stream by itself in every reader; B-frames
of the next shot, leading pictures of an open group and pre-roll all break that equality, so one
comparison of sets covers them. No edit list is written: decord fills clips that have one with
duplicates.

Re-encode. x264 at constant quality with the frames' own presentation times, turned upright, square
pixels.
"""

import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import cv2
import numpy as np

from curation.video.decode import DecodePass, turn
from curation.video.open import choose_stream, open_video
from curation.video.picture import (
    TURNS,
    fingerprint,
    fingerprint_difference,
    is_full_range,
    plane_array,
    small_planes,
    small_size,
)

COPY_CODECS = {
    "h264",
    "hevc",
    "vp9",
}  # what PyAV, decord, OpenCV and FFmpeg all decode from an mp4; not AV1
COPY_FORMATS = {"yuv420p", "yuvj420p"}
CRF = 18  # visually lossless for x264 (FFmpeg's H.264 encoding guide)
PRESET = "veryfast"
GOP_FRAMES = 48  # a random read decodes 24 frames more on average
TICKS_PER_S = 90000  # of MPEG systems; holds 24, 25, 29.97 and millisecond stamps without drift


@dataclass(frozen=True)
class Packets:
    """The chosen stream's packets in decoding order."""

    pts: list[int]
    is_key: list[bool]
    frame: list[int]
    """The packet's picture as index in presentation order."""


def index_packets(path: str | Path) -> Packets | None:
    """All packets by demuxing alone (0.004 of a decode); None where stamps are missing or
    repeated.
    """
    pts, keys = [], []
    with open_video(path) as container:
        try:
            for packet in container.demux(choose_stream(container)):
                if packet.size == 0:
                    continue  # PyAV's flush packet
                if packet.pts is None or packet.is_corrupt:
                    return None
                pts.append(packet.pts)
                keys.append(packet.is_keyframe)
        except av.error.FFmpegError:
            return None
    if len(set(pts)) != len(pts):
        return None
    order = {stamp: i for i, stamp in enumerate(sorted(pts))}
    return Packets(pts, keys, [order[stamp] for stamp in pts])


def copy_run(packets: Packets, *, start: int, end: int) -> tuple[int, int] | None:
    """Range [i, j) of packets that hold exactly the frames [start, end), or None where there is
    none.
    """
    first = packets.frame.index(start)
    last = first + end - start
    if not packets.is_key[first] or last > len(packets.frame):
        return None
    run = packets.frame[first:last]
    return (first, last) if min(run) == start and max(run) == end - 1 else None


def copy_allowed(*, codec: str, pixel_format: str, rotation: int, sample_aspect: float) -> bool:
    """Whether readers agree about a copy of such a stream: codec, pixel format, upright, square
    pixels.
    """
    return (
        codec in COPY_CODECS
        and pixel_format in COPY_FORMATS
        and rotation == 0
        and sample_aspect == 1.0
    )


def copy_clip(path: str | Path, packets: Packets, run: tuple[int, int]) -> bytes:
    """An mp4 of the packets [i, j), times from zero."""
    first, last = run
    # decoding times that no picture precedes: Matroska has none of its own, and without an edit
    # list the first must be 0
    shown = sorted(packets.pts[first:last])
    delay = max(due - pts for due, pts in zip(shown, packets.pts[first:last], strict=True))
    out = io.BytesIO()
    with open_video(path) as container, _mp4(out) as target:
        source = choose_stream(container)
        stream = target.add_stream_from_template(source)
        if source.codec_context.codec.canonical_name == "hevc":
            stream.codec_context.codec_tag = "hvc1"
        position = -1
        for packet in container.demux(source):
            if packet.size == 0:
                continue
            position += 1
            if position >= last:
                break
            if position >= first:
                packet.dts = shown[position - first] - shown[0]
                packet.pts = packets.pts[position] - shown[0] + delay
                packet.stream = stream
                target.mux(packet)
    return out.getvalue()


def _mp4(out: io.BytesIO) -> Any:
    # bitexact: no encoder name or time in the file, so the same clip is the same bytes
    return av.open(out, "w", format="mp4", options={"use_editlist": "0", "fflags": "+bitexact"})


@dataclass(frozen=True)
class Encoded:
    data: bytes
    width: int
    height: int
    num_frames: int


def encode_clip(
    path: str | Path,
    *,
    start: int,
    end: int,
    fps: float | None,
    display: tuple[int, int],
    packets: Packets | None,
) -> Encoded:
    """The frames [start, end) as H.264 in an mp4, upright, square pixels, the same times from zero.

    Even sides: an odd last row or column is cut off, since 4:2:0 has none.
    """
    out = io.BytesIO()
    count = 0
    with _mp4(out) as target:
        stream: Any = None
        first_s = 0.0
        for time_s, frame, rotation in _frames(path, start=start, end=end, packets=packets):
            picture = upright(frame, display=display, rotation=rotation)
            if stream is None:
                first_s = time_s
                stream = _x264_stream(target, frame, size=(picture.width, picture.height), fps=fps)
            picture.pts = round((time_s - first_s) * TICKS_PER_S)
            picture.time_base = Fraction(1, TICKS_PER_S)
            picture.pict_type = 0  # the source's own frame types are not to be repeated
            target.mux(stream.encode(picture))
            count += 1
        if stream is None:
            return Encoded(b"", 0, 0, 0)
        target.mux(stream.encode(None))
        size = stream.width, stream.height
    return Encoded(out.getvalue(), *size, count)


def _x264_stream(target: Any, frame: Any, *, size: tuple[int, int], fps: float | None) -> Any:
    rate = Fraction(fps or 25).limit_denominator(1001)
    # no B-frames: decoding order is display order, so the first frame is at time 0 in every reader;
    # no macroblock tree: with it one encode in thirty of the same pictures gave other bytes
    options = {"bf": "0", "mbtree": "0", "threads": "1"}
    options |= {"crf": str(CRF), "preset": PRESET, "g": str(GOP_FRAMES)}
    stream = target.add_stream("libx264", rate=rate, options=options)
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = Fraction(1, TICKS_PER_S)
    for tag in ("color_primaries", "color_trc", "colorspace"):
        setattr(stream.codec_context, tag, int(getattr(frame, tag)))  # an HDR or BT.709 tag is kept
    stream.codec_context.color_range = 1  # limited, as converted below
    return stream


def upright(frame: Any, *, display: tuple[int, int], rotation: int) -> Any:
    """The frame as 8-bit 4:2:0 in display size, turned, cut to even sides."""
    stored = display[::-1] if rotation % 180 else display
    full = is_full_range(frame)
    plain = frame.reformat(
        width=max(2, stored[0]),
        height=max(2, stored[1]),
        format="yuv420p",
        src_color_range="JPEG" if full else "MPEG",
        dst_color_range="MPEG",
        interpolation="LANCZOS",
    )
    if not rotation and plain.width % 2 == 0 and plain.height % 2 == 0:
        return plain
    planes = [plane_array(plane) for plane in plain.planes]
    if rotation:
        planes = [cv2.rotate(plane, TURNS[rotation]) for plane in planes]
    height, width = (side & ~1 for side in planes[0].shape)
    luma = planes[0][:height, :width]
    chroma = [plane[: height // 2, : width // 2] for plane in planes[1:]]
    image: Any = np.concatenate([plane.ravel() for plane in (luma, *chroma)])
    return av.VideoFrame.from_ndarray(image.reshape(height * 3 // 2, width), format="yuv420p")


def _frames(
    path: str | Path, *, start: int, end: int, packets: Packets | None
) -> Iterator[tuple[float, Any, int]]:
    """(time in s, av frame, rotation) of the frames [start, end).

    From the keyframe before them where stamps tell frames apart and seeking lands right, else
    counted from the beginning.
    """
    if packets is not None:
        found = _from_keyframe(path, start=start, end=end, packets=packets)
        first = next(found, None)
        if first is not None:
            yield first
            yield from found
            return
    decode = DecodePass(path)
    for frame in decode:
        if frame.index >= end:
            return
        if frame.index >= start:
            yield frame.time_s, frame.picture, decode.rotation


def _from_keyframe(
    path: str | Path, *, start: int, end: int, packets: Packets
) -> Iterator[tuple[float, Any, int]]:
    """Nothing at all where the first frame wanted does not come out of the decoder after
    seeking.
    """
    stamps = sorted(packets.pts)
    with open_video(path) as container:
        stream = choose_stream(container)
        stream.codec_context.thread_count = 1
        try:
            container.seek(stamps[start], stream=stream)
        except av.error.FFmpegError:
            return
        wanted = start
        for frame in container.decode(stream):
            if frame.pts is None or frame.pts < stamps[start]:
                continue
            if wanted == end or frame.pts != stamps[wanted]:
                return
            wanted += 1
            yield float(frame.pts * frame.time_base), frame, turn(frame)


# -- proof -----------------------------------------------------------------------------------------


def check_clip(
    data: bytes, *, num_frames: int, first_luma: bytes, last_luma: bytes, tolerance: float
) -> str | None:
    """What is wrong with a written clip, or None: frames decoded, first and last frame against the
    source's.

    The pictures are the 16x9 luma means that split took from the source; tolerance is their mean
    difference of 255. A frame of the neighbouring shot differs by far more.
    """
    decode = DecodePass(data)
    first = last = b""
    for frame in decode:
        luma, _ = small_planes(
            frame.picture, size=small_size(*decode.display_size()), rotation=decode.rotation
        )
        last = fingerprint(luma)
        first = first or last
    if decode.num_frames != num_frames:
        return f"{decode.num_frames} frames, planned {num_frames}"
    for name, found, planned in (("first", first, first_luma), ("last", last, last_luma)):
        difference = fingerprint_difference(found, planned)
        if difference > tolerance:
            return f"{name} frame differs from the source's by {difference:.1f} of 255"
    return None


def readers_disagree(data: bytes, *, num_frames: int) -> str | None:
    """The first of decord and OpenCV that does not decode num_frames, or None."""
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        file.write(data)
        file.flush()
        for name, count in (("decord", count_decord), ("opencv", count_opencv)):
            if (found := count(file.name)) != num_frames:
                return f"{name} reads {found} frames, planned {num_frames}"
    return None


def count_decord(path: str) -> int:
    """Frames that decord gives; 0 where it cannot open the file."""
    import decord

    try:
        reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
        reader[len(reader) - 1]
    except (decord.DECORDError, RuntimeError, IndexError):
        return 0
    return len(reader)


def count_opencv(path: str) -> int:
    capture = cv2.VideoCapture(path)
    count = 0
    while capture.grab():
        count += 1
    capture.release()
    return count
