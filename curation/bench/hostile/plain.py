"""A video that is sound in every way, for the others to spoil, and the sizes that they claim."""

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

SIDE_PX = 64
HUGE_PX = 30000  # claimed by files that must be refused
LARGE_PX = 8192  # the largest side that is opened
NUM_FRAMES = 12


def frames() -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 255, (SIDE_PX, SIDE_PX + 4 * NUM_FRAMES, 3), np.uint8)
    for i in range(NUM_FRAMES):
        yield np.ascontiguousarray(wide[:, 4 * i : 4 * i + SIDE_PX])


def video(format: str, codec: str, options: dict[str, str] | None = None) -> bytes:
    """A second of video, sound in every way; its mp4 has the moov behind the mdat."""
    import av

    out = io.BytesIO()
    with av.open(out, "w", format=format, options=options or {}) as target:
        stream: Any = target.add_stream(codec, rate=Fraction(12))
        stream.width = stream.height = SIDE_PX
        stream.pix_fmt = "yuv420p"
        stream.options = {"threads": "1", "bf": "0", "g": "6"}
        for i, image in enumerate(frames()):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = i
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return out.getvalue()
