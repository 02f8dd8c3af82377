"""A decoded frame made small, upright and full-range: what the meters look at.

Planes are taken from the decoder as they are and brought near the wanted size by the cheapest
filters that are exact enough: 0.04 of the decode at 720p, where a full-size RGB copy costs 0.2 and
OpenCV's area filter at an odd ratio as much.
"""

import math
from functools import cached_property
from typing import Any

import cv2
import numpy as np

LONG_SIDE_PX = 128
SHORT_SIDE_MIN_PX = 32  # optical flow needs a few of its 8-pixel patches
KEYFRAME_PX = 448  # long side; a ViT-L/14 looks at 224, pages at about 400
JPEG_QUALITY = 90
PLANAR_8_BIT = {"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p"}
LIMITED_TO_FULL = np.clip((np.arange(256) - 16.0) * 255 / 219 + 0.5, 0, 255).astype(np.uint8)
# AVColorSpace: weights of red and blue in luma (BT.709; FCC, BT.470BG and SMPTE 170M; BT.2020)
KR_KB = {1: (0.2126, 0.0722), 4: (0.3, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114)}
KR_KB |= {9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}
FAR_LARGER = 8  # times as wide and high
TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class Picture:
    """One frame as the meters see it, and what several of them ask of it, computed once."""

    def __init__(
        self,
        index: int,
        time_s: float,
        planes: tuple[np.ndarray, np.ndarray, np.ndarray],
        *,
        before: "Picture | None" = None,
        frame: Any = None,
        is_corrupt: bool = False,
    ) -> None:
        self.index = index
        self.time_s = time_s
        self.luma, self.u, self.v = planes
        """uint8, as displayed; luma (h, w) with 0 = black and 255 = white, long side 128; u and v
        (h / 2, w / 2)."""
        self.before = before
        """The picture before."""
        self.frame = frame
        """The decoder's av.VideoFrame, as stored: not turned, any pixel format."""
        self.is_corrupt = is_corrupt

    def forget(self) -> None:
        """Let go of the full frame and of the picture before, once every meter has seen this."""
        self.before = self.frame = None
        self.__dict__.pop("detail", None)

    def begins(self, per_s: float) -> bool:
        """Whether this is the first frame of one of the equal stretches of 1 / per_s seconds.

        Counted from time 0 and not from the frame that a pass began with, so that every pass over a
        source looks at the same frames.
        """
        return self.before is None or math.floor(self.time_s * per_s) > math.floor(
            self.before.time_s * per_s
        )

    @cached_property
    def histogram(self) -> np.ndarray:
        """(256,) number of luma pixels of each value."""
        return cv2.calcHist([self.luma], [0], None, [256], [0, 256]).ravel()

    @cached_property
    def change(self) -> float:
        """Mean absolute difference of luma to the frame before, of 255; 0 for the first."""
        if self.before is None:
            return 0.0
        return cv2.norm(self.luma, self.before.luma, cv2.NORM_L1) / self.luma.size

    @cached_property
    def bgr(self) -> np.ndarray:
        """uint8 (h, w, 3)."""
        size = self.luma.shape[1], self.luma.shape[0]
        u, v = (cv2.resize(c, size, interpolation=cv2.INTER_LINEAR) for c in (self.u, self.v))
        return cv2.cvtColor(cv2.merge([self.luma, v, u]), cv2.COLOR_YCrCb2BGR)

    @cached_property
    def detail(self) -> np.ndarray:
        """uint8 (H, W) luma at full resolution, as stored, limited or full range as it is."""
        return full_luma(self.frame)


def small_size(width: int, height: int, *, long_side_px: int = LONG_SIDE_PX) -> tuple[int, int]:
    """(width, height) of the small picture: the display's aspect, at least 32 pixels each way."""
    scale = long_side_px / max(width, height)
    return max(SHORT_SIDE_MIN_PX, round(width * scale)), max(
        SHORT_SIDE_MIN_PX, round(height * scale)
    )


def small_planes(
    frame: Any, *, size: tuple[int, int], rotation: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Luma (h, w), u and v (h / 2, w / 2) of an av.VideoFrame at `size` = (width, height) as
    displayed.
    """
    luma_size = (size[1], size[0]) if rotation % 180 else size
    if frame.format.name not in PLANAR_8_BIT:
        frame = frame.reformat(
            width=2 * luma_size[0],
            height=2 * luma_size[1],
            format="yuv420p",
            interpolation="AREA",
        )
    chroma_size = max(1, luma_size[0] // 2), max(1, luma_size[1] // 2)
    y, u, v = (plane_array(plane) for plane in frame.planes[:3])
    luma = shrink(y, luma_size)
    # chroma is smooth: one linear look, which passes over most of it, is 0.05 of 255 less exact
    u, v = (cv2.resize(c, chroma_size, interpolation=cv2.INTER_LINEAR) for c in (u, v))
    if not is_full_range(frame):
        luma = cv2.LUT(luma, LIMITED_TO_FULL)
    if rotation:
        luma, u, v = (cv2.rotate(plane, TURNS[rotation]) for plane in (luma, u, v))
    return luma, u, v


def full_luma(frame: Any) -> np.ndarray:
    """uint8 (H, W) luma of an av.VideoFrame as stored; more than 8 bits are cut to 8."""
    if frame.format.name in PLANAR_8_BIT or frame.format.name == "gray":
        return plane_array(frame.planes[0])
    return frame.to_ndarray(format="gray")


def is_full_range(frame: Any) -> bool:
    return frame.format.name.startswith("yuvj") or int(frame.color_range) == 2  # AVCOL_RANGE_JPEG


def plane_array(plane: Any) -> np.ndarray:
    """uint8 (h, w) view of an 8-bit plane, without the padding at the end of its lines."""
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width]


def shrink(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An 8-bit plane at size = (width, height): halved by 2x2 boxes while at least twice as large,
    then linear.

    What is far larger is first looked at in 16 or 64 places per pixel wanted. That leaves most of
    its memory unread, 0.3 of the time at 1080p, and is as near to the mean of all (0.6 of 255).
    """
    width, height = size
    factor = min(image.shape[1] // width, image.shape[0] // height)
    if factor >= FAR_LARGER:
        times = 4 if factor >= 2 * FAR_LARGER else 2
        places = width * times, height * times
        image = cv2.resize(image, places, interpolation=cv2.INTER_LINEAR)
    while image.shape[1] >= 2 * width and image.shape[0] >= 2 * height:
        # an even size is halved exactly; the odd last row or column weighs nothing
        even = image[: image.shape[0] & ~1, : image.shape[1] & ~1]
        halved = even.shape[1] // 2, even.shape[0] // 2
        image = cv2.resize(even, halved, interpolation=cv2.INTER_AREA)
    if image.shape != (height, width):
        image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    return image


def jpeg(frame: Any, *, display: tuple[int, int], rotation: int) -> bytes:
    """The frame as a JPEG in square pixels, upright, long side at most 448."""
    width, height = display
    scale = min(1.0, KEYFRAME_PX / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return jpeg_of(frame, size=size, rotation=rotation)


def jpeg_of(frame: Any, *, size: tuple[int, int], rotation: int) -> bytes:
    """The frame as a JPEG, upright, of exactly (width, height) pixels."""
    stored = (size[1], size[0]) if rotation % 180 else size
    if frame.format.name in PLANAR_8_BIT:
        planes = [shrink(plane_array(plane), stored) for plane in frame.planes]
        image = cv2.transform(cv2.merge(planes), yuv_to_bgr(frame))
    else:
        image = frame.to_ndarray(
            width=stored[0], height=stored[1], format="bgr24", interpolation="AREA"
        )
    if rotation:
        image = cv2.rotate(image, TURNS[rotation])
    ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert ok
    return data.tobytes()


def yuv_to_bgr(frame: Any) -> np.ndarray:
    """(3, 4) matrix from (Y, U, V, 1) of 255 to (B, G, R): ITU-T H.273, equations 38-58.

    A stream that does not name its matrix has BT.709 from 720 lines on, else BT.601, as players
    assume.
    """
    matrix = int(frame.colorspace)
    if matrix not in KR_KB:
        matrix = 1 if frame.height >= 720 else 6
    kr, kb = KR_KB[matrix]
    kg = 1 - kr - kb
    full = is_full_range(frame)
    y, c = (1.0, 1.0) if full else (255 / 219, 255 / 224)
    y0 = 0 if full else 16
    cb, cr = 2 * (1 - kb) * c, 2 * (1 - kr) * c
    rows = np.array(
        [[y, cb, 0], [y, -cb * kb / kg, -cr * kr / kg], [y, 0, cr]],
    )
    offset = -rows @ np.array([y0, 128, 128])
    return np.hstack([rows, offset[:, None]])


def fingerprint(luma_HW: np.ndarray) -> bytes:
    """16x9 means of a small luma picture: enough to tell a clip's first and last frame again after
    cutting.
    """
    return cv2.resize(luma_HW, (16, 9), interpolation=cv2.INTER_AREA).tobytes()


def fingerprint_difference(a: bytes, b: bytes) -> float:
    """Mean difference of two fingerprints, of 255."""
    x, y = (np.frombuffer(f, np.uint8).astype(np.float32) for f in (a, b))
    return float(np.abs(x - y).mean())
