"""Brightness: mean luma, and the share of frames that are black or blown out.

A frame is black as FFmpeg's blackdetect has it: at least 98 % of its pixels below 10 % of full
scale. A frame is blown when at least half of its pixels are within 2 % of white: detail there is
lost for good.
"""

from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from curation.meters.span import Span
from curation.video.picture import Picture

BLACK_LUMA = 26  # 10 % of 255
BLACK_SHARE = 0.98
WHITE_LUMA = 250
BLOWN_SHARE = 0.5


class Exposure:
    writes: ClassVar[pa.Schema] = pa.schema(
        {
            "luma_mean_pct": pa.float32(),
            "black_frames_pct": pa.float32(),
            "blown_frames_pct": pa.float32(),
        }
    )

    def __init__(self) -> None:
        self.luma_mean: list[float] = []
        self.black: list[bool] = []
        self.blown: list[bool] = []

    def update(self, picture: Picture) -> None:
        mean, black, blown = measure(picture.luma)
        self.luma_mean.append(mean)
        self.black.append(black)
        self.blown.append(blown)

    def clip(self, span: Span) -> dict[str, Any]:
        frames = slice(span.start, span.end)
        return {
            "luma_mean_pct": 100 * float(np.mean(self.luma_mean[frames])),
            "black_frames_pct": 100 * float(np.mean(self.black[frames])),
            "blown_frames_pct": 100 * float(np.mean(self.blown[frames])),
        }


def measure(luma_HW: np.ndarray) -> tuple[float, bool, bool]:
    """(mean luma 0-1, is black, is blown) of one frame."""
    black = np.count_nonzero(luma_HW < BLACK_LUMA) >= BLACK_SHARE * luma_HW.size
    blown = np.count_nonzero(luma_HW >= WHITE_LUMA) >= BLOWN_SHARE * luma_HW.size
    return float(luma_HW.mean()) / 255, bool(black), bool(blown)
