"""Overlaid text and logos: edges that stay where they are while the picture moves behind them.

Twice a second the places are noted where luma changes sharply both along the rows and along the
columns, as letters and emblems do and horizons and bars do not. What is noted at the same place for
three seconds, in a picture whose other edges come and go, was put over it. Where the picture itself
stands still or crawls (below about 4 % of its width per second) nothing can be said, and the
columns are null.

Text is not read and moving titles are not found: that is what reading the pictures is for (the
stage `text`).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa

from curation.meters.span import Span
from curation.video.decode import turn
from curation.video.picture import TURNS, Picture, shrink

LOOKS_PER_S = 2.0
WIDTH, HEIGHT = 256, 144  # whatever the frame's shape: a subtitle of 1080p is 6 pixels high
EDGE = 16  # of 255: a step between neighbours; a translucent logo has 20
LOOKS = 7  # in a row: three seconds, as long as a subtitle stands
ZONE_PX = 16
ZONE_EDGES = 6  # pixels: fewer say nothing about a zone
STILL_ZONE = 0.4  # of a zone's edges stay from one look to the next: it stands still, or is covered
STILL_PICTURE = 0.3  # of the zones with edges, in any half second: the picture does not move on
GAP_PX = (9, 3)  # between letters and between lines, closed to make blobs of words
BLOB_MIN_PX = 24  # 0.07 % of the picture
BLOB_FILL = 0.15  # of a blob's pixels are edges that stay
CORNER = (0.3, 0.25)  # of width and height: where broadcasters put their marks
LOWER = 2 / 3  # of the height: below lie subtitles and name plates


class Overlay:
    """Per look the places of edges, a bit each."""

    record: ClassVar[np.dtype] = np.dtype([("edges", f"V{WIDTH * HEIGHT // 8}")])
    writes: ClassVar[pa.Schema] = pa.schema(
        {
            "overlay_pct": pa.float32(),  # of the frame, in the three seconds with the most
            "overlay_place": pa.string(),  # of the largest: corner, lower third, elsewhere
        }
    )

    def update(self, picture: Picture) -> tuple | None:
        if picture.frame is None or not picture.begins(LOOKS_PER_S):
            return None
        rotation = turn(picture.frame)
        size = (HEIGHT, WIDTH) if rotation % 180 else (WIDTH, HEIGHT)
        small = shrink(picture.detail, size)
        if rotation:
            small = cv2.rotate(small, TURNS[rotation])
        return (np.packbits(edges(small)).tobytes(),)

    @staticmethod
    def clip(rows: np.ndarray, span: Span) -> dict[str, Any]:
        packed = np.frombuffer(rows["edges"].tobytes(), np.uint8)
        looks = np.unpackbits(packed).reshape(-1, HEIGHT, WIDTH)
        still = np.array([still_share(a, b) for a, b in zip(looks[:-1], looks[1:], strict=True)])
        found = [
            staying(looks[first : first + LOOKS])
            for first in range(0, len(looks) - LOOKS + 1, LOOKS // 2)
            if still[first : first + LOOKS - 1].max() <= STILL_PICTURE
        ]
        if not found:
            return dict.fromkeys(Overlay.writes.names)
        most = max(found, key=lambda overlays: sum(o.area_px for o in overlays))
        largest = max(most, key=lambda o: o.area_px, default=None)
        return {
            "overlay_pct": 100 * sum(o.area_px for o in most) / (WIDTH * HEIGHT),
            "overlay_place": place(largest) if largest else None,
        }


def edges(luma_HW: np.ndarray) -> np.ndarray:
    """Whether luma steps both along the row and along the column within a pixel of each place."""
    along, across = np.zeros_like(luma_HW), np.zeros_like(luma_HW)
    along[:, 1:] = cv2.absdiff(luma_HW[:, 1:], luma_HW[:, :-1])
    across[1:] = cv2.absdiff(luma_HW[1:], luma_HW[:-1])
    near = np.ones((3, 3), np.uint8)
    return np.minimum(cv2.dilate(along, near), cv2.dilate(across, near)) >= EDGE


@dataclass(frozen=True)
class Blob:
    """A stretch of overlay: its middle as shares of width and height, and its area."""

    x: float
    y: float
    area_px: int


def still_share(a_HW: np.ndarray, b_HW: np.ndarray) -> float:
    """Share of the zones with edges whose edges (0 or 1) stay from one look to the next; 1 where
    there are none.
    """
    either, both = zones(a_HW | b_HW), zones(a_HW & b_HW)
    with_edges = either >= ZONE_EDGES
    if not with_edges.any():
        return 1.0
    return float(np.mean(both[with_edges] >= STILL_ZONE * either[with_edges]))


def staying(looks_THW: np.ndarray) -> list[Blob]:
    """Where edges (0 or 1) stay over all the looks."""
    stays_HW = looks_THW.min(axis=0)
    words_HW = cv2.morphologyEx(stays_HW, cv2.MORPH_CLOSE, np.ones(GAP_PX[::-1], np.uint8))
    num, labels_HW, stats, middles = cv2.connectedComponentsWithStats(words_HW)
    staying_px = np.bincount(labels_HW[stays_HW > 0], minlength=num)
    areas = stats[:, cv2.CC_STAT_AREA]
    return [
        Blob(float(middles[i][0]) / WIDTH, float(middles[i][1]) / HEIGHT, int(areas[i]))
        for i in range(1, num)
        if areas[i] >= BLOB_MIN_PX and staying_px[i] >= BLOB_FILL * areas[i]
    ]


def zones(image_HW: np.ndarray) -> np.ndarray:
    """Sums over squares of ZONE_PX."""
    high, wide = HEIGHT // ZONE_PX, WIDTH // ZONE_PX
    return image_HW.reshape(high, ZONE_PX, wide, ZONE_PX).sum(axis=(1, 3), dtype=np.int64)


def place(blob: Blob) -> str:
    """corner, lower third or elsewhere."""
    if min(blob.x, 1 - blob.x) < CORNER[0] and min(blob.y, 1 - blob.y) < CORNER[1]:
        return "corner"
    return "lower third" if blob.y >= LOWER else "elsewhere"
