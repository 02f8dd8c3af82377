"""Opening a file that may be hostile.

FFmpeg opens far more than video: playlists and concat scripts name other files and hosts, image
patterns read a folder, device demuxers read hardware. A file is therefore handed over as an open
byte stream without a name, only real containers may be probed, and every attempt to open a second
resource is refused.
"""

import contextlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

import av
import av.error
from av.stream import Disposition

DEMUXERS = (
    "mov,matroska,webm,avi,ogg,mpegts,mpeg,mpegvideo,flv,asf,mxf,gif,apng,h264,hevc,av1,ivf,m4v,obu,rm,nut,dv,"
    "jpeg_pipe,png_pipe,webp_pipe,bmp_pipe,tiff_pipe"
)
HEADER_ONLY = {"probesize": "32", "skip_frame": "all"}  # 32: the least that FFmpeg takes
IMAGE_DEMUXERS = {"jpeg_pipe": "jpg", "png_pipe": "png", "webp_pipe": "webp"}
MAX_STREAMS = 64
MAX_PIXELS = 8192 * 8192  # above any camera; 30000x30000 in a header would ask for gigabytes
HDR_TRANSFERS = {16, 18}  # SMPTE ST 2084 (PQ) and ARIB STD-B67 (HLG), ITU-T H.273 table 3


Source = str | Path | bytes | IO[bytes]
"""A file by name, its bytes, or opened for reading (which must seek)."""


class VideoError(Exception):
    """A file that cannot be used: a reason code and a sentence, as written to `error`."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


@dataclass(frozen=True)
class Probe:
    """What the header says of the chosen stream; counts and times come from decoding, not from
    here.
    """

    container: str
    codec: str
    pixel_format: str
    stream_index: int
    coded_width: int
    coded_height: int
    sample_aspect: float
    fps_header: float | None
    has_audio: bool
    is_hdr: bool
    image_extension: str | None
    """Extension that fits the bytes where the file is a still image, else None."""


@contextlib.contextmanager
def open_video(source: Source, *, header_only: bool = False) -> Iterator[Any]:
    """A file, a file's bytes or an open binary file as a PyAV container. Raises VideoError where it
    is not a file that we open.

    header_only: no picture is decoded to learn more than the header says, which costs as much as
    four or more frames; H.264's pixel format and reordering then remain unknown.
    """
    options = {
        "format_whitelist": DEMUXERS,
        "protocol_whitelist": "none",
        "max_streams": str(MAX_STREAMS),
        "max_pixels": str(MAX_PIXELS),  # FFmpeg decodes a picture to probe it
    }
    with _opened(source) as file:
        if not file.read(1):
            raise VideoError("empty_file", "the file has no bytes")
        file.seek(0)
        try:
            container = av.open(
                _File(file),
                options=options | (HEADER_ONLY if header_only else {}),
                metadata_errors="replace",
                buffer_size=1 << 18,
                io_open=_refuse,
            )
        except (av.error.FFmpegError, _Refused) as error:
            raise VideoError("not_media", f"no known container ({_reason(error)})") from error
        with container:
            yield container


def _opened(source: Source) -> contextlib.AbstractContextManager[Any]:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if isinstance(source, str | Path):
        # by descriptor: PyAV hands on a file's name, from which FFmpeg guesses (.jpg: a pattern)
        return open(os.open(source, os.O_RDONLY), "rb")
    source.seek(0)
    return contextlib.nullcontext(source)


class _File:
    """What FFmpeg reads from. To seek where nothing can be is answered with a number, as its own
    files do: PyAV would raise the exception out of whatever it does, as no error of FFmpeg's.
    """

    def __init__(self, file: Any) -> None:
        self.read, self.tell, self._seek = file.read, file.tell, file.seek

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._seek(offset, whence)
        except (OSError, ValueError):  # EINVAL of a file, ValueError of bytes
            return -1


class _Refused(Exception):
    pass


def _refuse(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise _Refused(f"the file asks to open {url[:100]!r}, which is refused")


def _reason(error: Exception) -> str:
    """FFmpeg's own words without the path, which differs between machines."""
    return getattr(error, "strerror", None) or str(error)


def choose_stream(container: Any) -> Any:
    """The stream that FFmpeg calls best: marked as default, then highest bit rate; cover pictures
    never.
    """
    videos = [stream for stream in container.streams.video if not _is_cover(stream)]
    if not videos:
        raise VideoError("no_video_stream", f"a {container.format.name} file without video")
    decodable = [stream for stream in videos if stream.codec_context is not None]
    if not decodable:
        raise VideoError("no_decoder", f"video in a {container.format.name} file of unknown coding")
    best = container.streams.best("video")
    stream = best if best in decodable else decodable[0]
    # a later header in the stream may ask for more than the first, which probe looks at
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    return stream


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


def probe(container: Any, stream: Any) -> Probe:
    codec = stream.codec_context
    if codec.width * codec.height > MAX_PIXELS:
        raise VideoError(
            "too_large", f"{codec.width}x{codec.height}, at most {MAX_PIXELS} pixels are decoded"
        )
    aspect = stream.sample_aspect_ratio or codec.sample_aspect_ratio
    names = container.format.name
    return Probe(
        container=names.split(",")[0],
        codec=codec.codec.canonical_name,
        pixel_format=codec.pix_fmt or "",
        stream_index=stream.index,
        coded_width=codec.width,
        coded_height=codec.height,
        sample_aspect=float(aspect) if aspect and 0.1 < aspect < 10 else 1.0,
        fps_header=float(stream.average_rate) if stream.average_rate else None,
        has_audio=bool(container.streams.audio),
        is_hdr=int(codec.color_trc) in HDR_TRANSFERS,
        image_extension=IMAGE_DEMUXERS.get(names),
    )


def display_size(probed: Probe, *, rotation: int) -> tuple[int, int]:
    """(width, height) in square pixels as a player shows it: sample aspect, then rotation."""
    width = max(1, round(probed.coded_width * probed.sample_aspect))
    height = probed.coded_height
    return (height, width) if rotation % 180 else (width, height)
