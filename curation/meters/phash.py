"""What a clip looks like and how it moves, in hashes that survive re-encoding.

Each look is the DCT hash of the pHash library (Zauner 2010, "Implementation and benchmarking of
perceptual image hash functions", §3.2.1): the picture at 32 x 32, its 8 x 8 lowest frequencies
without the first row and column, one bit each for being above their median. It is taken of the
picture inside dark borders; again of its middle, which is what a cropped copy shows; and again of
the centre of the picture with its borders, where no logo or subtitle lies.

A look tells a scene, and a fixed camera shows one scene for hours. So a second hash tells what
happens in it: the signs of how the same 64 frequencies change within half a second. A copy has the
same scene and the same changes; another stretch of the same take has only the same scene. As in
vPDQ (Meta, ThreatExchange), looks that show too little do not count: `contrast` and `energy` say
how much there was to see and how much moved. `curation.stages.dedup` compares them.

Looks are taken on a grid of eighths of a second of the source's own clock, so that a copy which
begins elsewhere is at most a sixteenth off; a frame shown longer stands for all of its eighths.
"""

import functools
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from curation.meters.span import Span
from curation.video.picture import Picture

LOOKS_PER_S = 8
CHANGE_LOOKS = 4  # half a second: a slow movement is above coding noise by then
PART_EVERY = 4  # looks at the parts are kept twice a second: it halves the room
MIDDLE = 0.93  # of each side: within 2 % of any crop of up to 5 % at every edge
CENTRE = 0.7  # of each side: overlays keep to the outer seventh (title-safe areas end at a tenth)
SIDE = 32
LOW = 8
STEPS = 4  # coefficients are kept in quarters: an int16 holds the largest, 5200
DARK = 40  # of 255: black bars after a lift in brightness of a tenth
EVEN = 10  # of 255: the range of a bar's pixels after coarse coding
LEAST_PICTURE = 4  # less than a quarter of a side left between bars: the picture itself is dark

AREA = np.dtype(("u1", (4,)))
COEFFICIENTS = np.dtype(("i2", (LOW * LOW,)))


class Phash:
    """Frequencies of eight looks a second; hashes of a clip."""

    record: ClassVar[np.dtype] = np.dtype(
        [("area", AREA), *((view, COEFFICIENTS) for view in ("whole", "middle", "centre"))]
    )
    writes: ClassVar[pa.Schema] = pa.schema(
        {
            "phash": pa.large_binary(),  # 8 bytes per look
            "phash_change": pa.large_binary(),  # 8 bytes per look: against half a second before
            # 4 bytes per look, quarter levels: contrast and energy of the whole, of the centre
            "phash_seen": pa.large_binary(),
            # 8 bytes each per look at a whole or half second: hash and change of the middle, of
            # the centre
            "phash_parts": pa.large_binary(),
            "phash_start_look": pa.int64(),  # eighths of a second on the source's clock
        }
    )

    def update(self, picture: Picture) -> tuple | None:
        if not picture.begins(LOOKS_PER_S):
            return None
        area = inside_bars(picture.luma)
        return area, *frequencies(picture.luma, area)

    @staticmethod
    def clip(rows: np.ndarray, span: Span) -> dict[str, Any]:
        if not len(rows):
            return dict.fromkeys(Phash.writes.names)
        times_s = span.edges_s[rows["frame"] - span.start]
        looks = np.floor(times_s * LOOKS_PER_S).astype(np.int64)
        grid = np.arange(looks[0], looks[-1] + 1)
        rows = rows[np.searchsorted(looks, grid, side="right") - 1]
        whole, middle, centre = (
            rows[view].astype(np.float32) / STEPS for view in ("whole", "middle", "centre")
        )
        steady = same_area(rows["area"])
        (whole_change, whole_levels), (middle_change, _), (centre_change, centre_levels) = (
            changes(view) for view in (whole, middle, centre)
        )
        parts = scene_bits(middle), middle_change, scene_bits(centre), centre_change
        seen = np.stack(
            [levels(whole), whole_levels * steady, levels(centre), centre_levels], axis=1
        )
        return {
            "phash": pack(scene_bits(whole)).tobytes(),
            "phash_change": pack(whole_change).tobytes(),
            "phash_seen": np.minimum(np.round(STEPS * seen), 255).astype(np.uint8).tobytes(),
            "phash_parts": np.stack([pack(bits) for bits in parts], axis=1)[
                grid % PART_EVERY == 0
            ].tobytes(),
            "phash_start_look": int(grid[0]),
        }


# -- one look --------------------------------------------------------------------------------------


def inside_bars(luma_HW: np.ndarray) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of the picture without even dark borders; all of it where they
    leave too little.
    """
    height, width = luma_HW.shape
    edges = luma_HW[0], luma_HW[-1], luma_HW[:, 0], luma_HW[:, -1]
    if min(int(edge.max()) for edge in edges) > DARK:
        return 0, height, 0, width
    (top, bottom), (left, right) = (_between_bars(luma_HW, axis) for axis in (1, 0))
    if (bottom - top) * LEAST_PICTURE < height or (right - left) * LEAST_PICTURE < width:
        return 0, height, 0, width
    return top, bottom, left, right


def _between_bars(luma_HW: np.ndarray, axis: int) -> tuple[int, int]:
    """First and last + 1 of the lines along an axis that are no bar."""
    lightest, darkest = luma_HW.max(axis=axis), luma_HW.min(axis=axis)
    picture = np.flatnonzero((lightest > DARK) | (lightest - darkest > EVEN))
    return (int(picture[0]), int(picture[-1]) + 1) if len(picture) else (0, 0)


def frequencies(
    luma_HW: np.ndarray, area: tuple[int, int, int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(64,) int16 quarters: low DCT coefficients of the area, of its middle, of the picture's
    centre.

    Shrinking and DCT are both linear along each side: two matrix products do them for all three.
    """
    top, bottom, left, right = area
    rows = to_frequencies(luma_HW.shape[0], top, bottom)
    columns = to_frequencies(luma_HW.shape[1], left, right)
    kept = np.rint(rows @ luma_HW.astype(np.float32) @ columns.T).astype(np.int16)
    whole, middle, centre = (kept[i : i + LOW, i : i + LOW].ravel() for i in (0, LOW, 2 * LOW))
    return whole, middle, centre


@functools.lru_cache(maxsize=256)
def to_frequencies(length: int, first: int, last: int) -> np.ndarray:
    """(3 * 8, length) along one side: shrink to 32 by area and take the orthonormal DCT-II's
    coefficients 1 to 8; of [first, last), of its middle, of the centre of the length.
    """
    k, n = np.arange(1, LOW + 1)[:, None], np.arange(SIDE)
    dct = np.sqrt(2 / SIDE) * np.cos(np.pi * (2 * n + 1) * k / (2 * SIDE))
    views = [(first, last, 1.0), (first, last, MIDDLE), (0, length, CENTRE)]
    margins = [(end - start) * (1 - share) / 2 for start, end, share in views]
    parts = [
        dct @ by_area(length, start + margin, end - margin)
        for (start, end, _), margin in zip(views, margins, strict=True)
    ]
    # both sides of the product have the root of the steps
    return (np.sqrt(STEPS) * np.concatenate(parts)).astype(np.float32)


def by_area(length: int, start: float, end: float) -> np.ndarray:
    """(32, length) weights that average the pixels [start, end) into 32 equal stretches."""
    edges = np.linspace(start, end, SIDE + 1)[:, None]
    covered = np.clip(edges[1:] - np.arange(length), 0, 1) - np.clip(
        edges[:-1] - np.arange(length), 0, 1
    )
    return covered / covered.sum(axis=1, keepdims=True)


# -- a clip's looks --------------------------------------------------------------------------------


def scene_bits(looks_NK: np.ndarray) -> np.ndarray:
    """(N, 64) whether each coefficient is above the look's median."""
    return looks_NK > np.median(looks_NK, axis=1, keepdims=True)


def changes(looks_NK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bits (N, 64) of what rose within half a second, and by how much (N,) in levels all changed;
    0 for the first half second.
    """
    rise = np.zeros_like(looks_NK)
    rise[CHANGE_LOOKS:] = looks_NK[CHANGE_LOOKS:] - looks_NK[:-CHANGE_LOOKS]
    return rise > 0, levels(rise)


def same_area(areas_N4: np.ndarray) -> np.ndarray:
    """(N,) whether the picture lay within the same borders half a second before, to a pixel."""
    same = np.zeros(len(areas_N4), dtype=bool)
    moved = np.abs(areas_N4[CHANGE_LOOKS:].astype(int) - areas_N4[:-CHANGE_LOOKS])
    same[CHANGE_LOOKS:] = moved.max(axis=1, initial=0) <= 1
    return same


def levels(looks_NK: np.ndarray) -> np.ndarray:
    """(N,) standard deviation of luma, of 255, that the coefficients stand for (Parseval)."""
    return np.sqrt(np.square(looks_NK).sum(axis=1)) / SIDE


def pack(bits_NK: np.ndarray) -> np.ndarray:
    """(N, 64) bits as (N,) little-endian uint64, the first bit highest in each byte."""
    return np.packbits(bits_NK, axis=1).view("<u8").ravel()
