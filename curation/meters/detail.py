"""How much of its nominal resolution a picture has, how its coding shows, whether it is in focus.

Once a second. Sharpness and blockiness are read along lines: some rows and some columns of the
full-resolution luma inside the bars, which costs in proportion to a frame's sides, not its area.
Focus is read from the small picture.
"""

from typing import Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa

from curation.meters.blockiness import blockiness
from curation.meters.borders import dark_sides
from curation.meters.focus import focus
from curation.meters.sharpness import sharpness
from curation.meters.span import Span
from curation.video.decode import turn
from curation.video.picture import TURNS, Picture

LOOKS_PER_S = 1.0
NUM_LINES = 32  # each way
STRIP_PX = 8  # columns are taken by so many neighbours: one by one each would cost a memory access


class Detail:
    """Per look the sharpness, the blockiness and the focus."""

    record: ClassVar[np.dtype] = np.dtype(
        [("sharpness", "f4"), ("blockiness", "f4"), ("focus", "f4")]
    )
    writes: ClassVar[pa.Schema] = pa.schema(
        {
            "sharpness_pct": pa.float32(),  # median look; 100: edges one pixel wide
            "blockiness_pct": pa.float32(),  # median look; 0: no grid is seen
            "focus_pct": pa.float32(),  # median look; below 15 out of focus, of the small picture
        }
    )

    def update(self, picture: Picture) -> tuple | None:
        if picture.frame is None or not picture.begins(LOOKS_PER_S):
            return None
        dark = dark_sides(stored(picture))
        if dark is None:
            return None
        rows, columns = lines(picture.detail, inside=dark, small=stored(picture).shape)
        in_focus = focus(picture.luma)
        in_focus = np.nan if in_focus is None else in_focus
        return sharpness(rows, columns), blockiness(rows, columns), in_focus

    @staticmethod
    def clip(rows: np.ndarray, span: Span) -> dict[str, Any]:
        return {
            "sharpness_pct": median_pct(rows["sharpness"]),
            "blockiness_pct": median_pct(rows["blockiness"]),
            "focus_pct": median_pct(rows["focus"]),
        }


def median_pct(values: np.ndarray) -> float | None:
    """Of the looks that gave one."""
    known = values[~np.isnan(values)]
    return 100 * float(np.median(known)) if len(known) else None


def stored(picture: Picture) -> np.ndarray:
    """The small luma turned back to how the frame is stored."""
    rotation = turn(picture.frame)
    return cv2.rotate(picture.luma, TURNS[360 - rotation]) if rotation else picture.luma


def lines(
    luma_HW: np.ndarray, *, inside: tuple[int, int, int, int], small: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (n, W) rows and (n, H) columns, evenly spread over what lies between the bars.

    The bars are given in lines of a small picture of that (height, width), and one line more is
    left out to each side, so that no line crosses an edge of the frame.
    """
    height, width = luma_HW.shape
    top, bottom, left, right = (lines + 1 if lines else 0 for lines in inside)
    y0, y1 = top * height // small[0], height - bottom * height // small[0]
    x0, x1 = left * width // small[1], width - right * width // small[1]
    rows = luma_HW[y0 : y1 : max(1, (y1 - y0) // NUM_LINES), x0:x1]
    step = max(STRIP_PX, (x1 - x0) * STRIP_PX // NUM_LINES)
    strips = [luma_HW[y0:y1, x : x + STRIP_PX] for x in range(x0, x1 - STRIP_PX + 1, step)]
    columns = np.hstack(strips).T if strips else np.zeros((0, max(0, y1 - y0)), np.uint8)
    return np.ascontiguousarray(rows), np.ascontiguousarray(columns)
