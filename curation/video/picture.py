"""A decoded frame made small, upright and full-range: what the meters look at.

Planes are taken from the decoder as they are and halved by 2x2 boxes until near the wanted size:
0.04 of the decode at 720p, where a full-size RGB copy costs 0.2 and OpenCV's area filter at an odd
ratio as much.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

LONG_SIDE_PX = 128
SHORT_SIDE_MIN_PX = 32  # optical flow needs a few of its 8-pixel patches
KEYFRAME_PX = 448  # long side; a ViT-L/14 looks at 224, pages at about 400
PLANAR_8_BIT = {"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p"}
LIMITED_TO_FULL = np.clip((np.arange(256) - 16.0) * 255 / 219 + 0.5, 0, 255).astype(np.uint8)
TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


@dataclass(frozen=True)
class Picture:
    """One frame as the meters see it."""

    index: int
    time_s: float
    luma: np.ndarray
    """uint8 (h, w), 0 = black, 255 = white, as displayed; long side 128."""
    bgr: np.ndarray
    """uint8 (h, w, 3), the same picture in colour."""
    is_corrupt: bool


def small_size(width: int, height: int, *, long_side_px: int = LONG_SIDE_PX) -> tuple[int, int]:
    """(width, height) of the small picture: the display's aspect, at least 32 pixels each way."""
    scale = long_side_px / max(width, height)
    return max(SHORT_SIDE_MIN_PX, round(width * scale)), max(
        SHORT_SIDE_MIN_PX, round(height * scale)
    )


def small_planes(
    frame: Any, *, size: tuple[int, int], rotation: int
) -> tuple[np.ndarray, np.ndarray]:
    """(luma (h, w), bgr (h, w, 3)) of an av.VideoFrame at `size` = (width, height) as displayed."""
    stored = (size[1], size[0]) if rotation % 180 else size
    if frame.format.name not in PLANAR_8_BIT:
        frame = frame.reformat(
            width=stored[0], height=stored[1], format="yuv420p", interpolation="AREA"
        )
    planes = [_shrink(plane_array(frame.planes[i]), stored) for i in range(3)]
    if not is_full_range(frame):
        planes[0] = LIMITED_TO_FULL[planes[0]]
    if rotation:
        planes = [cv2.rotate(plane, TURNS[rotation]) for plane in planes]
    luma, u, v = planes
    return luma, cv2.cvtColor(cv2.merge([luma, v, u]), cv2.COLOR_YCrCb2BGR)


def is_full_range(frame: Any) -> bool:
    return frame.format.name.startswith("yuvj") or int(frame.color_range) == 2  # AVCOL_RANGE_JPEG


def plane_array(plane: Any) -> np.ndarray:
    """uint8 (h, w) view of an 8-bit plane, without the padding at the end of its lines."""
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width]


def _shrink(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    width, height = size
    while image.shape[1] >= 2 * width and image.shape[0] >= 2 * height:
        # an even size is halved exactly; the odd last row or column weighs nothing
        even = image[: image.shape[0] & ~1, : image.shape[1] & ~1]
        image = cv2.resize(
            even, (even.shape[1] // 2, even.shape[0] // 2), interpolation=cv2.INTER_AREA
        )
    if image.shape != (height, width):
        image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    return image


def jpeg(frame: Any, *, display: tuple[int, int], rotation: int) -> bytes:
    """The frame as a JPEG in square pixels, upright, long side at most 448."""
    width, height = display
    scale = min(1.0, KEYFRAME_PX / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    stored = size[::-1] if rotation % 180 else size
    image = frame.to_ndarray(
        width=stored[0], height=stored[1], format="bgr24", interpolation="AREA"
    )
    if rotation:
        image = cv2.rotate(image, TURNS[rotation])
    ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert ok
    return data.tobytes()


def fingerprint(luma_HW: np.ndarray) -> bytes:
    """16x9 means of a small luma picture: enough to tell a clip's first and last frame again after
    cutting.
    """
    return cv2.resize(luma_HW, (16, 9), interpolation=cv2.INTER_AREA).tobytes()


def fingerprint_difference(a: bytes, b: bytes) -> float:
    """Mean difference of two fingerprints, of 255."""
    x, y = (np.frombuffer(f, np.uint8).astype(np.float32) for f in (a, b))
    return float(np.abs(x - y).mean())
