"""RGB arrays as a video file, for what is looked at: sampled videos, films made for tests."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def write_mp4(path: str | Path, video_THWC: np.ndarray, *, fps: float) -> None:
    """uint8 RGB as H.264 that every player opens; at crf 12 the coder adds no visible error.

    4:2:0 has even sides: an odd last row or column is repeated.
    """
    height, width = video_THWC.shape[1:3]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264",
            rate=Fraction(fps).limit_denominator(1001),
            options={"crf": "12", "preset": "medium"},
        )
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        for frame in video_THWC:
            even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        container.mux(stream.encode())
