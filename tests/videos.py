"""Videos made in the tests, so that their frames, cuts and times are known by construction."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def write_video(
    path: Path,
    frames_THWC: np.ndarray | Sequence[np.ndarray],
    *,
    fps: float = 24,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    pts_ms: Sequence[int] | None = None,
    sample_aspect: Fraction | None = None,
    format: str | None = None,
) -> Path:
    """RGB frames as a video file; pts_ms gives presentation times for variable frame rate."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=format) as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        stream.height, stream.width = frames_THWC[0].shape[:2]
        stream.pix_fmt = pixel_format
        stream.options = {"threads": "1"} | (options or {})
        if sample_aspect:
            stream.codec_context.sample_aspect_ratio = sample_aspect
        if pts_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i, image in enumerate(frames_THWC):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if pts_ms is not None:
                frame.pts, frame.time_base = pts_ms[i], Fraction(1, 1000)
            else:
                frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def texture(seed: int, *, height: int, width: int) -> np.ndarray:
    """uint8 (height, width, 3) smooth coloured noise: detail everywhere, as in a photograph."""
    import cv2

    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(2, height // 12), max(2, width // 12), 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def pan(
    seed: int, num_frames: int, *, height: int = 96, width: int = 160, step_px: int = 2
) -> np.ndarray:
    """(T, H, W, 3): a texture that moves left by step_px pixels a frame."""
    wide = texture(seed, height=height, width=width + step_px * num_frames)
    return np.stack([wide[:, step_px * t : step_px * t + width] for t in range(num_frames)])


def turn_header(path: Path, *, degrees_clockwise: int) -> None:
    """Set the display matrix of an mp4's video track, as a phone held sideways does."""
    cos, sin = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees_clockwise]
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version 0: the matrix follows 40 bytes of fields
    one = 1 << 16
    data[at : at + 36] = struct.pack(
        ">9i", cos * one, sin * one, 0, -sin * one, cos * one, 0, 0, 0, 1 << 30
    )
    path.write_bytes(bytes(data))
