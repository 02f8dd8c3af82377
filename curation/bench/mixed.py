"""Sources as the world has them, in small: codecs, groups of pictures, containers, times.

What cutting exactly is hard for: keyframes by the clock and at cuts, one keyframe in all, open
groups, B-frames behind the end, hidden pictures, edit lists, and codecs that no mp4 holds.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

SHOTS = (40, 45, 45)
HEIGHT, WIDTH = 96, 160
STEP_PX = 3  # a frame, so that the next one cannot be taken for it
X265 = "log-level=none:pools=none:frame-threads=1"


@dataclass(frozen=True)
class Source:
    """How a source is made."""

    container: str
    codec: str
    options: dict[str, str] = field(default_factory=dict)
    pixel_format: str = "yuv420p"
    pts_ms: Callable[[int], int] | None = None
    """Presentation time of a frame; None: 24 frames per second from 0."""
    hide_frames: int = 0
    """Frames at the beginning that the mp4's edit list leaves out."""
    flags: int = 0
    """Of the encoder: 0x40000 codes two fields per frame."""


def x265(params: str) -> dict[str, str]:
    return {"x265-params": f"{params}:{X265}"}


FIXED = {"g": "30", "sc_threshold": "0"}
SOURCES: dict[str, Source] = {
    "h264 scene cut": Source("mp4", "libx264", {"g": "250", "bf": "3", "sc_threshold": "80"}),
    "h264 fixed": Source("mp4", "libx264", FIXED | {"bf": "3"}),
    "h264 open": Source("mp4", "libx264", FIXED | {"bf": "3", "x264-params": "open-gop=1"}),
    "hevc open": Source("mp4", "libx265", x265("keyint=30:scenecut=0")),
    "vp9 alt-ref": Source(
        "webm",
        "libvpx-vp9",
        {"g": "30", "lag-in-frames": "16", "auto-alt-ref": "1", "cpu-used": "8"},
    ),
    "av1": Source("mkv", "libsvtav1", {"preset": "12", "g": "30", "svtav1-params": "lp=1"}),
}
MORE: dict[str, Source] = {
    "h264 long": Source("mp4", "libx264", {"g": "9999", "sc_threshold": "0", "bf": "3"}),
    "h264 no B mkv": Source("mkv", "libx264", FIXED | {"bf": "0"}),
    "h264 one B ts": Source("ts", "libx264", FIXED | {"bf": "1", "b_strategy": "0"}),
    "h264 pyramid": Source(
        "mp4", "libx264", FIXED | {"bf": "8", "b_strategy": "2", "x264-params": "b-pyramid=normal"}
    ),
    "h264 open ts": Source(
        "ts", "libx264", {"g": "30", "x264-params": "open-gop=1:b-pyramid=none"}
    ),
    "h264 slices cavlc": Source("flv", "libx264", FIXED | {"slices": "4", "coder": "vlc"}),
    "h264 full range": Source("mkv", "libx264", FIXED, "yuvj420p"),
    "h264 avi": Source("avi", "libx264", FIXED | {"bf": "0"}),
    "h264 variable rate": Source(
        "mkv", "libx264", FIXED | {"bf": "3"}, pts_ms=lambda i: 40 * i + 15 * (i % 3)
    ),
    "h264 starts late": Source(
        "mkv", "libx264", FIXED | {"bf": "3"}, pts_ms=lambda i: 5000 + 40 * i
    ),
    "h264 edit list": Source("mp4", "libx264", FIXED | {"bf": "3"}, hide_frames=7),
    "h264 intra refresh": Source(
        "mp4", "libx264", FIXED | {"bf": "0", "x264-params": "intra-refresh=1"}
    ),
    "hevc closed": Source("mkv", "libx265", x265("keyint=30:scenecut=0:open-gop=0")),
    "hevc deep": Source("ts", "libx265", x265("keyint=30:scenecut=0:bframes=8:rc-lookahead=20")),
    "hevc ten bits": Source("mp4", "libx265", x265("keyint=30:scenecut=0"), "yuv420p10le"),
    "vp9 scene cut": Source("webm", "libvpx-vp9", {"g": "128", "cpu-used": "8"}),
    "vp8": Source("webm", "libvpx", {"g": "30", "cpu-used": "8"}),
    "mpeg4": Source("mp4", "mpeg4", {"g": "12", "q": "3"}),
    "mpeg4 B avi": Source("avi", "mpeg4", {"g": "12", "bf": "2"}),
    "mpeg2 ts": Source("ts", "mpeg2video", {"g": "12", "bf": "2"}),
    "h264 4:4:4": Source("mp4", "libx264", FIXED, "yuv444p"),
    "h264 ten bits": Source("mp4", "libx264", FIXED, "yuv420p10le"),
    "h264 fields": Source("mp4", "libx264", FIXED | {"x264-params": "tff=1"}, flags=0x40000),
    "mjpeg": Source("avi", "mjpeg", {"q": "2"}, "yuvj420p"),
    "prores": Source("mov", "prores_ks", {}, "yuv422p10le"),
}


def film() -> np.ndarray:
    """uint8 (T, H, W, 3): three shots whose every frame differs from its neighbours."""
    return np.concatenate([_pan(seed, num_frames) for seed, num_frames in enumerate(SHOTS, 1)])


def _pan(seed: int, num_frames: int) -> np.ndarray:
    """Smooth coloured noise that moves left."""
    width = WIDTH + STEP_PX * num_frames
    coarse = np.random.default_rng(seed).integers(0, 256, (HEIGHT // 12, width // 12, 3), np.uint8)
    wide: Any = cv2.resize(coarse, (width, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.stack([wide[:, STEP_PX * t : STEP_PX * t + WIDTH] for t in range(num_frames)])


def make(path: Path, source: Source, frames_THWC: np.ndarray) -> Path:
    path = path.with_suffix(f".{source.container}")
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(source.codec, rate=24, options=dict(source.options))
        stream.height, stream.width = frames_THWC.shape[1:3]
        stream.pix_fmt = source.pixel_format
        stream.codec_context.thread_count = 1
        stream.codec_context.flags |= source.flags
        if source.pts_ms:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i, image in enumerate(frames_THWC):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = source.pts_ms(i) if source.pts_ms else i
            frame.time_base = Fraction(1, 1000) if source.pts_ms else Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    if source.hide_frames:
        hide_by_edit_list(path, source.hide_frames)
    return path


def hide_by_edit_list(path: Path, num_frames: int) -> None:
    """Have the mp4's edit list begin later, as trimming in an editor does."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        base: Any = container.streams.video[0].time_base
        step = round(1 / 24 / base)
    at = data.index(b"elst") + 4 + 4 + 4 + 4  # version, count, segment duration
    begin = int.from_bytes(data[at : at + 4], "big") + num_frames * step
    data[at : at + 4] = begin.to_bytes(4, "big")
    path.write_bytes(bytes(data))
