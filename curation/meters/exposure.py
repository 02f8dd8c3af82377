"""Brightness, contrast and colour: how much light there is, and frames that show nothing.

A frame is black as FFmpeg's blackdetect has it: at least 98 % of its pixels below 10 % of full
scale. A frame is blown when at least half of its pixels are within 2 % of white: detail there is
lost for good. A frame is grey when it is flat, neither black nor blown, and colourless: what a
decoder paints where it has lost the picture (128 in all three planes), and a covered lens by day.
"""

from typing import Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa

from curation.meters.span import Span
from curation.video.picture import LONG_SIDE_PX, Picture

BLACK_LUMA = 26  # 10 % of 255
BLACK_SHARE = 0.98
BLACK_MEAN = BLACK_SHARE * (BLACK_LUMA - 1) + (1 - BLACK_SHARE) * 255  # no black frame has more
WHITE_LUMA = 250
BLOWN_SHARE = 0.5
BLOWN_MEAN = BLOWN_SHARE * WHITE_LUMA  # no blown frame has less
LOW_SHARE, HIGH_SHARE = 0.05, 0.95  # the darkest and lightest twentieth do not count as contrast
GREY_SPREAD = 3.0  # of 255, standard deviation: an empty wall's light falls off by more
GREY_CHROMA = 2.0  # of 128, mean distance from grey
NEUTRAL = 128
GREY = np.full((LONG_SIDE_PX, LONG_SIDE_PX), NEUTRAL, np.uint8)
LOOKS_PER_S = 8.0  # a fade to black takes a quarter of a second
SLOW_LOOKS_PER_S = 2.0  # at contrast and colour


class Exposure:
    """Brightness eight times a second; contrast and colour twice."""

    record: ClassVar[np.dtype] = np.dtype(
        [
            ("mean", "f4"),
            ("black", "?"),
            ("blown", "?"),
            ("grey", "?"),
            ("contrast", "f4"),  # NaN between the looks
            ("chroma", "f4"),  # NaN between the looks
        ]
    )
    writes: ClassVar[pa.Schema] = pa.schema(
        {
            "luma_mean_pct": pa.float32(),
            "contrast_pct": pa.float32(),  # median of the range, 5th to 95th percentile
            "chroma_mean_pct": pa.float32(),  # mean distance from grey; black and white has about 0
            "black_frames_pct": pa.float32(),
            "blown_frames_pct": pa.float32(),
            "grey_frames_pct": pa.float32(),
        }
    )

    def update(self, picture: Picture) -> tuple | None:
        if not picture.begins(LOOKS_PER_S):
            return None
        mean, black, blown, flat = measure(picture.luma)
        grey = flat and not (black or blown) and colour(picture.u, picture.v) <= GREY_CHROMA
        if not picture.begins(SLOW_LOOKS_PER_S):
            return mean, black, blown, grey, np.nan, np.nan
        contrast = percentile_range(picture.histogram)
        return mean, black, blown, grey, contrast, colour(picture.u, picture.v)

    @staticmethod
    def clip(rows: np.ndarray, span: Span) -> dict[str, Any]:
        if not len(rows):
            return dict.fromkeys(Exposure.writes.names)
        looked = rows[~np.isnan(rows["contrast"])]
        contrast = chroma = None
        if len(looked):
            contrast = 100 * float(np.median(looked["contrast"])) / 255
            chroma = 100 * float(np.mean(looked["chroma"])) / NEUTRAL
        return {
            "luma_mean_pct": 100 * float(np.mean(rows["mean"])) / 255,
            "contrast_pct": contrast,
            "chroma_mean_pct": chroma,
            "black_frames_pct": 100 * float(np.mean(rows["black"])),
            "blown_frames_pct": 100 * float(np.mean(rows["blown"])),
            "grey_frames_pct": 100 * float(np.mean(rows["grey"])),
        }


def measure(luma_HW: np.ndarray) -> tuple[float, bool, bool, bool]:
    """(mean of 255, is black, is blown, is flat) of one frame.

    Pixels are counted only where the mean leaves it open, which is seldom and saves 20 us.
    """
    means, spreads = cv2.meanStdDev(luma_HW)
    mean, spread = means.item(), spreads.item()
    black = mean <= BLACK_MEAN and (share_above(luma_HW, BLACK_LUMA - 1) <= 1 - BLACK_SHARE)
    blown = mean >= BLOWN_MEAN and share_above(luma_HW, WHITE_LUMA - 1) >= BLOWN_SHARE
    return mean, black, blown, spread <= GREY_SPREAD


def share_above(luma_HW: np.ndarray, level: int) -> float:
    """Share (0-1) of the pixels above a level."""
    _, above_HW = cv2.threshold(luma_HW, level, 255, cv2.THRESH_BINARY)
    return cv2.countNonZero(above_HW) / luma_HW.size


def percentile_range(histogram: np.ndarray) -> int:
    """Levels from the 5th percentile to the 95th of (256,) counts."""
    below = histogram.cumsum()
    low, high = below.searchsorted((LOW_SHARE * below[-1], HIGH_SHARE * below[-1]))
    return int(high - low)


def colour(u: np.ndarray, v: np.ndarray) -> float:
    """Mean over both chroma planes of the distance from grey, of 128."""
    grey = GREY[: u.shape[0], : u.shape[1]]
    distance = cv2.norm(u, grey, cv2.NORM_L1) + cv2.norm(v, grey, cv2.NORM_L1)
    return distance / (2 * u.size)
