"""Speed of the picture: mean optical flow between neighbouring frames, in % of frame width per
second.

Dense inverse search (Kroeger et al. 2016, "Fast optical flow using dense inverse search") on pairs
of adjacent frames, six pairs a second: rank correlation 0.96 with flow on every frame. Pairs half a
second apart, the usual "2 fps flow", leave the search range and reach 0.62.
"""

from typing import Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa

from curation.meters.span import Span
from curation.video.picture import Picture

PAIRS_PER_S = 6.0


class Motion:
    writes: ClassVar[pa.Schema] = pa.schema({"motion_width_pct_per_s": pa.float32()})

    def __init__(self) -> None:
        self.flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self.before: Picture | None = None
        self.due_s = float("-inf")
        self.frames: list[int] = []  # the later frame of each pair
        self.speeds: list[float] = []

    def update(self, picture: Picture) -> None:
        before, self.before = self.before, picture
        if before is None or before.time_s < self.due_s:
            return
        self.due_s = before.time_s + 1 / PAIRS_PER_S
        flow_HW2 = self.flow.calc(before.luma, picture.luma, None)
        self.frames.append(picture.index)
        self.speeds.append(speed_width_pct_per_s(flow_HW2, step_s=picture.time_s - before.time_s))

    def clip(self, span: Span) -> dict[str, Any]:
        # the pair that ends on the clip's first frame straddles the cut
        first, last = np.searchsorted(self.frames, [span.start + 1, span.end])
        speeds = self.speeds[first:last]
        return {"motion_width_pct_per_s": float(np.mean(speeds)) if speeds else None}


def speed_width_pct_per_s(flow_HW2: np.ndarray, *, step_s: float) -> float:
    """Mean length of the flow vectors (pixels) as % of the frame's width per second."""
    length_HW = np.hypot(flow_HW2[..., 0], flow_HW2[..., 1])
    return 100 * float(length_HW.mean()) / flow_HW2.shape[1] / step_s
