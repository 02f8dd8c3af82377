"""What one frame alone says against a stretch of footage: darkness, blur, text, emptiness.

For the first look at keyframes (`curation.stages.look`), where there is no frame before to compare
with. Text is what looks like a line of writing: dense strokes of one height in a row on an even
ground that runs around them; leaves and bricks are not taken for it, a title card or a slide is.
"""

from typing import NamedTuple

import cv2
import numpy as np

from curation.meters.exposure import BLACK_LUMA, WHITE_LUMA, percentile_range, share_above
from curation.meters.focus import focus
from curation.meters.phash import STEPS as PHASH_STEPS
from curation.meters.phash import frequencies, inside_bars, levels, pack, scene_bits
from curation.video.picture import Picture, shrink

WORK_PX = 512  # long side, at which the letters of a subtitle are 10 pixels high
STROKE = 48  # of 255: contrast of writing that is meant to be read
EVEN = 24  # of 255: an even ground, with the ringing of coarse coding around letters
LINE_PX = (6, 72)  # height of a line at 512 pixels
LETTER_GAPS_PX = (5, 11, 23)  # between letters; up to a line's height apart are those of a word
SHORTEST_WORD = np.ones((1, 12), np.uint8)  # twice the height of the smallest line
LEAST_WRITING = 0.02  # of the pixels: less is a caption, not a page
MOST_UNEVEN = 0.6  # of the pixels: a page of print has less, foliage more
LEAST_FILLED = 0.4  # of the box, by the strokes and the gaps between them
RING_EDGES = 0.15  # of the pixels around it: neighbouring lines and a frame
LEAST_ASPECT = 2.0  # of a word
MOST_BETWEEN = 0.4  # of a line's pixels are neither ink nor ground; writing 0.1 to 0.25, rock 0.55
STROKES_PER_HEIGHT = 0.5  # of its length: an i and a gap take up to two heights


class Glance(NamedTuple):
    """Measures of one frame; None where there was nothing to measure."""

    dark_pct: float
    """Pixels below 10 % of full scale."""
    bright_pct: float
    """Pixels within 2 % of white."""
    luma_mean_pct: float
    contrast_pct: float
    """Range of luma from the 5th percentile to the 95th, of full scale."""
    focus: float | None
    """curation.meters.focus: in focus 0.3 to 1."""
    text_pct: float
    """Of the frame inside boxes around lines of writing on an even ground."""
    phash: int
    """64 bits: curation.meters.phash of the picture inside dark borders."""
    phash_seen: float
    """Standard deviation, of 255, of what the hash describes: how much there was to see."""


def glance(picture: Picture) -> Glance:
    luma = picture.luma
    detail = work_size(picture.detail)
    whole = frequencies(luma, inside_bars(luma))[0]
    looks = whole[None].astype(np.float32) / PHASH_STEPS
    return Glance(
        dark_pct=100 * (1 - share_above(luma, BLACK_LUMA - 1)),
        bright_pct=100 * share_above(luma, WHITE_LUMA - 1),
        luma_mean_pct=100 * float(luma.mean()) / 255,
        contrast_pct=100 * percentile_range(picture.histogram) / 255,
        focus=focus(luma),
        text_pct=text_pct(detail),
        phash=int(pack(scene_bits(looks))[0]),
        phash_seen=float(levels(looks)[0]),
    )


def work_size(luma_HW: np.ndarray) -> np.ndarray:
    """At most 512 pixels on the long side."""
    height, width = luma_HW.shape
    scale = WORK_PX / max(height, width)
    if scale >= 1:
        return luma_HW
    return shrink(luma_HW, (max(1, round(width * scale)), max(1, round(height * scale))))


def text_pct(luma_HW: np.ndarray) -> float:
    """Share of the frame, in percent, inside boxes around lines of writing."""
    boxes = text_boxes(luma_HW)
    if not boxes:
        return 0.0
    covered = np.zeros(luma_HW.shape, np.uint8)
    for x, y, width, height in boxes:
        covered[y : y + height, x : x + width] = 1
    return 100 * cv2.countNonZero(covered) / covered.size


def text_boxes(luma_HW: np.ndarray) -> list[tuple[int, int, int, int]]:
    """(x, y, width, height) of lines of writing on an even ground."""
    kernel = np.ones((3, 3), np.uint8)
    spread = cv2.morphologyEx(luma_HW, cv2.MORPH_GRADIENT, kernel)
    uneven = cv2.threshold(spread, EVEN, 1, cv2.THRESH_BINARY)[1]
    if cv2.countNonZero(uneven) > MOST_UNEVEN * uneven.size:
        return []
    strokes = cv2.threshold(spread, STROKE, 1, cv2.THRESH_BINARY)[1]
    sums = cv2.integral(uneven)
    found = []
    for gap in LETTER_GAPS_PX:
        words = cv2.morphologyEx(strokes, cv2.MORPH_CLOSE, np.ones((1, gap), np.uint8))
        words = cv2.morphologyEx(words, cv2.MORPH_OPEN, SHORTEST_WORD)
        if cv2.countNonZero(words) < LEAST_WRITING * words.size:
            continue
        _, _, stats, _ = cv2.connectedComponentsWithStats(words, connectivity=4)
        _, _, width, height, area = stats.T
        is_line = (LINE_PX[0] <= height) & (height <= LINE_PX[1]) & (gap - 3 <= height)
        is_line &= (width >= LEAST_ASPECT * height) & (area >= LEAST_FILLED * width * height)
        is_line[0] = False  # the ground
        for x, y, w, h in stats[is_line, :4].tolist():
            if _ground_is_even(sums, x, y, w, h) and _is_written(luma_HW[y : y + h, x : x + w]):
                found.append((x, y, w, h))
    return found


def _ground_is_even(sums: np.ndarray, x: int, y: int, width: int, height: int) -> bool:
    """Whether a frame of a quarter of the line's height around it holds hardly an edge."""
    margin = max(2, height // 4)

    def count(left: int, top: int, right: int, bottom: int) -> tuple[int, int]:
        left, top = max(0, left), max(0, top)
        right, bottom = min(sums.shape[1] - 1, right), min(sums.shape[0] - 1, bottom)
        inside = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        return int(inside), (right - left) * (bottom - top)

    inner = count(x - 2, y - 2, x + width + 2, y + height + 2)
    outer = count(x - 2 - margin, y - 2 - margin, x + width + 2 + margin, y + height + 2 + margin)
    ring = outer[1] - inner[1]
    return ring > 0 and outer[0] - inner[0] <= RING_EDGES * ring


def _is_written(box_HW: np.ndarray) -> bool:
    """Whether rows of pixels through the box cross many strokes of two tones, ink and ground."""
    low, high = float(box_HW.min()), float(box_HW.max())
    shade = (box_HW - low) / max(1.0, high - low)
    if np.mean((0.25 < shade) & (shade < 0.75)) > MOST_BETWEEN:
        return False
    ink = shade > 0.5
    crossings = np.count_nonzero(ink[:, 1:] != ink[:, :-1], axis=1)
    height, width = box_HW.shape
    rows = np.sort(crossings)[-max(1, height // 2) :]  # ascenders cross fewer
    return float(rows.mean()) / 2 >= STROKES_PER_HEIGHT * width / height
