"""Letterbox and pillarbox: black bars that stay over the whole clip, and the box between them.

A row or column belongs to a bar when its brightest pixel stays below 24 of 255 (FFmpeg's cropdetect
limit) in every frame of the clip that is not black itself. A row of the small picture is 1/72 of a
16:9 frame; once a second the edges are looked up in the full picture, to a row of its own.
"""

from typing import Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa

from curation.meters.span import Span
from curation.video.decode import turn
from curation.video.picture import LIMITED_TO_FULL, TURNS, Picture, is_full_range

BAR_LUMA = 24
LOOKS_PER_S = 1.0
SIDES = ("top", "bottom", "left", "right")
NOT_LOOKED = (np.nan,) * 4


class Borders:
    """Per frame the rows and columns that are dark up to the first lit one, from each side, and
    once a second the same as exact shares of the frame.
    """

    record: ClassVar[np.dtype] = np.dtype(
        [(side, "u1") for side in SIDES]
        + [("height", "u1"), ("width", "u1")]
        + [(f"exact_{side}", "f4") for side in SIDES]
    )
    writes: ClassVar[pa.Schema] = pa.schema(
        {"border_pct": pa.float32()} | {f"border_{side}_pct": pa.float32() for side in SIDES}
    )

    def update(self, picture: Picture) -> tuple | None:
        dark = dark_sides(picture.luma)
        if dark is None:
            return None  # a black frame has no bars
        height, width = picture.luma.shape
        exact = NOT_LOOKED
        if picture.frame is not None and picture.begins(LOOKS_PER_S):
            exact = exact_sides(picture, dark)
        return (*dark, height, width, *exact)

    @staticmethod
    def clip(rows: np.ndarray, span: Span) -> dict[str, Any]:
        top, bottom, left, right = (bar(rows, side) for side in SIDES)
        return {
            "border_pct": 100 * (1 - (1 - top - bottom) * (1 - left - right)),
            "border_top_pct": 100 * top,
            "border_bottom_pct": 100 * bottom,
            "border_left_pct": 100 * left,
            "border_right_pct": 100 * right,
        }


def bar(rows: np.ndarray, side: str) -> float:
    """Share (0-1) of the frame that is dark from a side in every row of the record."""
    if not len(rows):
        return 0.0
    lines = float(rows["height" if side in ("top", "bottom") else "width"][0])
    dark = float(rows[side].min())
    exact = rows[f"exact_{side}"]
    if np.isnan(exact).all():
        return dark / lines
    return min(float(np.nanmin(exact)), (dark + 1) / lines)  # lit somewhere within that row


def dark_sides(luma_HW: np.ndarray) -> tuple[int, int, int, int] | None:
    """Lines before the first lit one from the top, bottom, left and right; None if all is dark."""
    _, lit_HW = cv2.threshold(luma_HW, BAR_LUMA - 1, 255, cv2.THRESH_BINARY)
    x, y, width, height = cv2.boundingRect(lit_HW)
    if not width:
        return None
    return y, len(luma_HW) - y - height, x, luma_HW.shape[1] - x - width


def exact_sides(picture: Picture, dark: tuple[int, int, int, int]) -> tuple[float, ...]:
    """Shares (0-1) of the frame before the first lit line from each side, as displayed.

    Only the lines about the edge that the small picture shows are looked at, and along them the
    mean of as many pixels as make one of the small picture, so that one hot pixel lights nothing.
    """
    frame = picture.frame
    luma = picture.detail
    rotation = turn(frame)
    if rotation:
        luma = cv2.rotate(luma, TURNS[rotation])
    small_height, small_width = picture.luma.shape
    upright = [
        (luma, dark[0], small_height, small_width),
        (luma[::-1], dark[1], small_height, small_width),
        (luma.T, dark[2], small_width, small_height),
        (luma.T[::-1], dark[3], small_width, small_height),
    ]
    limit = BAR_LUMA if is_full_range(frame) else int(np.searchsorted(LIMITED_TO_FULL, BAR_LUMA))
    return tuple(
        first_lit(image, dark_lines=lines, num_lines=along, num_across=across, limit=limit)
        for image, lines, along, across in upright
    )


def first_lit(
    luma_HW: np.ndarray, *, dark_lines: int, num_lines: int, num_across: int, limit: int
) -> float:
    """Share (0-1) of the rows of a full picture above the first lit one.

    dark_lines of num_lines are dark in the small picture, and are here but for the last.
    """
    height = len(luma_HW)
    first = max(0, dark_lines - 1) * height // num_lines
    end = min(height, -(-(dark_lines + 2) * height // num_lines))
    strip = np.ascontiguousarray(luma_HW[first:end])
    means = cv2.resize(strip, (num_across, end - first), interpolation=cv2.INTER_AREA)
    lit = np.flatnonzero(means.max(axis=1) >= limit)
    return (first + int(lit[0]) if len(lit) else end) / height
