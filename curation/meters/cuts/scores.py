"""What is said of each frame, and by whom."""

from typing import Literal

import numpy as np

Detector = Literal["network", "adaptive", "content", "histogram", "hash"]
"""network: ours, cuts and gradual transitions; the others: PySceneDetect's, hard cuts only."""

REACH = 54
"""Frames before it on which a score of the network depends."""

REACH_AHEAD = 38
"""Frames after it."""

OVERLAP = REACH + REACH_AHEAD
"""Frames to decode beyond a segment's end, so that the scores of the next one's first REACH frames,
which that one cannot know, are right.
"""

SCORE = np.dtype([("cut", "f4"), ("gradual", "f4"), ("blank", "?")])
"""Per frame. cut: probability that a hard cut lies before it. gradual: probability that it lies
inside a gradual transition. blank: it shows one flat tone, as between a fade out and a fade in."""
