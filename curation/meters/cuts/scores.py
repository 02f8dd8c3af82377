"""What is said of each frame, and by whom."""

from typing import Literal

import numpy as np

Detector = Literal["network", "adaptive", "content", "histogram", "hash"]
"""network: ours, cuts and gradual transitions; the others: PySceneDetect's, hard cuts only."""

REACH = 54
"""Frames on either side on which a score of the network depends."""

SCORE = np.dtype([("cut", "f4"), ("gradual", "f4"), ("blank", "?")])
"""Per frame. cut: probability that a hard cut lies before it. gradual: probability that it lies
inside a gradual transition. blank: it shows one flat tone, as between a fade out and a fade in."""
