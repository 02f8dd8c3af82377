"""Letterbox and pillarbox: black bars that stay over the whole clip, and the box between them.

A row or column belongs to a bar when its brightest pixel stays below 24 of 255 (FFmpeg's cropdetect
limit) in every look at the clip, eight a second, but black ones. A row of the small picture is 1/72
of a 16:9 frame; twice a second the edges are looked up in the full picture, to a row of its own.
There the picture must begin along a line: what is lit first at a point or two is a dark scene, no
bar.
"""

from typing import Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa

from curation.meters.span import Span
from curation.video.decode import turn
from curation.video.picture import LIMITED_TO_FULL, TURNS, Picture, is_full_range

BAR_LUMA = 24
LOOKS_PER_S = 8.0
EXACT_LOOKS_PER_S = 2.0
EDGE_PX = 4  # within which a picture begins: coding softens its edge
EDGE_LIT = 0.15  # of the line, in one look at least: a shadow that ends in a corner lights 0.05
SIDES = ("top", "bottom", "left", "right")
NOT_LOOKED = (np.nan,) * 8


class Borders:
    """Per look the rows and columns that are dark up to the first lit one, from each side, and
    twice a second the same as exact shares of the frame.
    """

    record: ClassVar[np.dtype] = np.dtype(
        [(side, "u1") for side in SIDES]
        + [("height", "u1"), ("width", "u1")]
        + [(f"exact_{side}", "f4") for side in SIDES]  # NaN between the looks
        + [(f"lit_{side}", "f4") for side in SIDES]  # share of the line where the picture begins
    )
    writes: ClassVar[pa.Schema] = pa.schema(
        {"border_pct": pa.float32()} | {f"border_{side}_pct": pa.float32() for side in SIDES}
    )

    def update(self, picture: Picture) -> tuple | None:
        if not picture.begins(LOOKS_PER_S):
            return None
        dark = dark_sides(picture.luma)
        if dark is None:
            return None  # a black frame has no bars
        height, width = picture.luma.shape
        exact = NOT_LOOKED
        if picture.frame is not None and picture.begins(EXACT_LOOKS_PER_S):
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
    exact, lit = rows[f"exact_{side}"], rows[f"lit_{side}"]
    if np.isnan(exact).all():
        return dark / lines
    edge = min(float(np.nanmin(exact)), (dark + 1) / lines)  # lit somewhere within that row
    here = np.abs(exact - edge) <= 1 / lines
    return edge if (lit[here] >= EDGE_LIT).any() else 0.0


def dark_sides(luma_HW: np.ndarray) -> tuple[int, int, int, int] | None:
    """Lines before the first lit one from the top, bottom, left and right; None if all is dark."""
    _, lit_HW = cv2.threshold(luma_HW, BAR_LUMA - 1, 255, cv2.THRESH_BINARY)
    x, y, width, height = cv2.boundingRect(lit_HW)
    if not width:
        return None
    return y, len(luma_HW) - y - height, x, luma_HW.shape[1] - x - width


def exact_sides(picture: Picture, dark: tuple[int, int, int, int]) -> tuple[float, ...]:
    """Shares (0-1) of the frame before the first lit line from each side, as displayed, and the
    shares of those lines that are lit.

    Only the lines about the edge that the small picture shows are looked at, and along them the
    mean of as many pixels as make one of the small picture, so that one hot pixel lights nothing.
    """
    frame = picture.frame
    luma = picture.detail
    rotation = turn(frame)
    if rotation:
        luma = cv2.rotate(luma, TURNS[rotation])
    height, width = picture.luma.shape
    top, bottom, left, right = dark
    rows, columns = slice(top, height - bottom), slice(left, width - right)
    upright = [
        (luma, top, height, width, columns),
        (luma[::-1], bottom, height, width, columns),
        (luma.T, left, width, height, rows),
        (luma.T[::-1], right, width, height, rows),
    ]
    limit = BAR_LUMA if is_full_range(frame) else int(np.searchsorted(LIMITED_TO_FULL, BAR_LUMA))
    found = [
        first_lit(
            image, dark_lines=lines, num_lines=along, num_across=across, inside=inside, limit=limit
        )
        for image, lines, along, across, inside in upright
    ]
    return (*(edge for edge, _ in found), *(lit for _, lit in found))


def first_lit(
    luma_HW: np.ndarray,
    *,
    dark_lines: int,
    num_lines: int,
    num_across: int,
    inside: slice,
    limit: int,
) -> tuple[float, float]:
    """Share (0-1) of the rows of a full picture above the first lit one, and the share of what is
    inside the other bars that is lit there.

    dark_lines of num_lines are dark in the small picture, and are here but for the last.
    """
    height = len(luma_HW)
    first = max(0, dark_lines - 1) * height // num_lines
    end = min(height, -(-(dark_lines + 2) * height // num_lines))
    strip = np.ascontiguousarray(luma_HW[first:end])
    means = cv2.resize(strip, (num_across, end - first), interpolation=cv2.INTER_AREA)
    lit = np.flatnonzero(means.max(axis=1) >= limit)
    if not len(lit):
        return end / height, 0.0
    begins = means[lit[0] : lit[0] + EDGE_PX, inside].max(axis=0) >= limit
    return (first + int(lit[0])) / height, float(begins.mean())
