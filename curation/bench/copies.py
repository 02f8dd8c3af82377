"""Copies of a video as they go round: coded again, resized, cropped, boxed, cut shorter, drawn on.

A copy is made by ffmpeg, looked at, and thrown away. Its clips are the original's by the seconds at
which those begin and end, so that what is measured is the comparison and not the cut detector.
"""

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curation.meters.borders import Borders
from curation.meters.detail import Detail
from curation.meters.freeze import Freeze
from curation.meters.overlay import Overlay
from curation.meters.phash import Phash
from curation.meters.record import Log
from curation.meters.span import Span
from curation.video.batch import batches, pictured
from curation.video.decode import DecodePass

METERS = Phash, Detail, Borders, Freeze, Overlay
"""Whose columns dedup reads."""
MAX_SOURCE_S = 7200
HALF_FRAME_S = 1e-3  # stamps in milliseconds are off by up to half of one

H264 = "-c:v", "libx264", "-preset", "superfast", "-crf", "23"
COPY = "-c:v", "copy"
NOT_IN_MOV = {"vp8", "vp9", "av1", "theora"}  # copied into Matroska, which does not keep a rotation
EVEN = "scale=trunc(iw/2)*2:trunc(ih/2)*2,format=yuv420p"  # what the encoders take


@dataclass(frozen=True)
class Change:
    """One kind of copy, in ffmpeg's words."""

    name: str
    filters: str = ""
    encoder: tuple[str, ...] = H264
    suffix: str = ".mp4"
    skip_s: float = 0.0
    """Left out at the beginning."""
    late_s: float = 0.0
    """What is put before the beginning."""
    is_asked: bool = True
    """Whether its clips are copies that have to be found; of others only false pairs count."""


CHANGES = (
    Change("container", encoder=COPY, suffix=".mov"),
    Change("h264 crf 23"),
    Change("h264 crf 35", encoder=(*H264[:-1], "35")),
    Change(
        "hevc crf 30",
        encoder=(
            *("-c:v", "libx265", "-preset", "ultrafast", "-crf", "30"),
            *("-x265-params", "log-level=error:pools=1:frame-threads=1"),
        ),
    ),
    Change(
        "vp9 crf 36",
        encoder=(
            *("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"),
            *("-crf", "36", "-b:v", "0"),
        ),
        suffix=".webm",
    ),
    Change("mpeg-4", encoder=("-c:v", "mpeg4", "-q:v", "8"), suffix=".avi"),
    Change("mjpeg", encoder=("-c:v", "mjpeg", "-q:v", "8", "-pix_fmt", "yuvj420p"), suffix=".mov"),
    Change("half the size", "scale=trunc(iw/4)*2:-2"),
    Change("twice the size", "scale=iw*2:ih*2:flags=bilinear"),
    Change("cropped to 94 %", "crop=iw*0.94:ih*0.94"),
    Change("cropped to 90 %", "crop=iw*0.90:ih*0.90"),
    Change("4 % cut off the left", "crop=iw*0.96:ih:iw*0.04:0"),
    Change("letterbox", "pad=iw:ih*1.3:0:(oh-ih)/2"),
    Change("pillarbox", "pad=iw*1.3:ih:(ow-iw)/2:0"),
    Change("0.37 s trimmed", skip_s=0.37),
    Change("15 frames per s", "fps=15"),
    Change("24 frames per s", "fps=24"),
    Change("lighter", "eq=brightness=0.1"),
    Change("graded", "eq=saturation=1.3:contrast=1.1:gamma=1.1"),
    Change("logo", "drawbox=x=iw*0.04:y=ih*0.05:w=iw*0.08:h=ih*0.06:color=white:t=fill"),
    Change(
        "half, cropped, crf 30", "crop=iw*0.94:ih*0.94,scale=trunc(iw/4)*2:-2", (*H264[:-1], "30")
    ),
    # where nothing moves, another stretch of a take cannot be told from a copy that lies elsewhere
    Change("7.3 s later", "tpad=start_duration=7.3:color=black", late_s=7.3, is_asked=False),
    Change("nearly black", "lutyuv=y=16+(val-16)*0.04:u=128:v=128", is_asked=False),
    Change("faded in over 2 s", "fade=t=in:d=2", is_asked=False),
)


@dataclass(frozen=True)
class Measured:
    """What the pass says of one file."""

    edges_s: np.ndarray
    """(frames + 1,)"""
    rows: list[np.ndarray]
    """Of each of METERS."""
    frame_bytes: np.ndarray
    size: tuple[int, int]
    codec: str
    stream: int
    is_damaged: bool

    @property
    def num_frames(self) -> int:
        return len(self.frame_bytes)


def measure(path: Path) -> Measured:
    decode = DecodePass(str(path))
    logs = [Log(meter()) for meter in METERS]
    sizes: list[int] = []
    before = None
    for frames in batches(decode, max_source_s=MAX_SOURCE_S):
        pictures = pictured(frames, decode, before=before)
        for log in logs:
            for picture in pictures:
                log.update(picture)
        sizes += [frame.num_bytes for frame in frames]
        before = pictures[-1]
    return Measured(
        edges_s=np.array(decode.edges_s()),
        rows=[log.array() for log in logs],
        frame_bytes=np.array(sizes),
        size=decode.display_size(),
        codec=decode.probe.codec,
        stream=decode.probe.stream_index,
        is_damaged=decode.decode_errors > 0 or any(decode.corrupt),
    )


def copied(path: Path, change: Change, *, of: Measured) -> Measured:
    """What the pass says of a changed copy."""
    is_copy = change.encoder == COPY
    suffix = ".mkv" if is_copy and of.codec in NOT_IN_MOV else change.suffix
    skip = ["-ss", str(change.skip_s)] if change.skip_s else []
    look = (
        [] if "copy" in change.encoder else ["-vf", ",".join(filter(None, [change.filters, EVEN]))]
    )
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / f"copy{suffix}"
        command = ["ffmpeg", "-v", "error", "-nostdin", "-threads", "1", *skip, "-i", str(path)]
        command += ["-map", f"0:{of.stream}", *look, *change.encoder, "-threads", "1", str(out)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise ValueError(f"{change.name}: {path.name}: ffmpeg: {ran.stderr.strip()}")
        return measure(out)


def clip_row(of: Measured, start_s: float, end_s: float) -> dict[str, Any] | None:
    """The columns that dedup reads of the clip between two times; None where no frame begins."""
    start, end = np.searchsorted(of.edges_s, [start_s - HALF_FRAME_S, end_s - HALF_FRAME_S])
    end = min(int(end), of.num_frames)
    if end <= start:
        return None
    span = Span(int(start), end, of.edges_s[start : end + 1])
    width, height = of.size
    bits = 8 * float(of.frame_bytes[start:end].mean())
    row: dict[str, Any] = {"num_frames": span.num_frames, "width": width, "height": height}
    row["bits_per_pixel"] = bits / (width * height)
    for meter, rows in zip(METERS, of.rows, strict=True):
        row |= meter.clip(span.of(rows), span)
    return row
