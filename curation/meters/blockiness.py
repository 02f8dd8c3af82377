"""Blockiness: steps of luma on the grid of a block codec, against the steps within its blocks.

MPEG-2, MPEG-4, JPEG and H.264 or HEVC without their loop filter code blocks of 8 pixels (or a
multiple) each for itself; at few bits the seams show (Wang et al. 2002, "No-reference perceptual
quality assessment of JPEG compressed images", eq. 1). Of the eight places that a grid may have, the
one with the largest steps is taken, so that a cropped picture is told as well; one that was scaled
afterwards is not.
"""

import cv2
import numpy as np

BLOCK_PX = 8
STEP_MAX = 16  # of 255: a larger step is an edge of the picture
FLOOR = 0.5  # of 255, added to the steps within, where nearly nothing is inside the blocks
BLOCKS_MIN = 4


def blockiness(*lines: np.ndarray) -> float:
    """By what part the steps on the grid exceed those beside it, 0 = none; the mean over uint8
    (n, length) arrays of lines, one for each direction; NaN where they are too short.
    """
    found = [excess(part) for part in lines if part.shape[1] > BLOCKS_MIN * BLOCK_PX and len(part)]
    return float(np.mean(found)) if found else np.nan


def excess(lines: np.ndarray) -> float:
    step = np.minimum(cv2.absdiff(lines[:, 1:], lines[:, :-1]), np.uint8(STEP_MAX))
    mean = cv2.reduce(step, 0, cv2.REDUCE_AVG, dtype=cv2.CV_32F).ravel()
    blocks = mean[: len(mean) // BLOCK_PX * BLOCK_PX].reshape(-1, BLOCK_PX)
    at_place = np.sort(blocks.mean(axis=0))
    within = float(np.median(at_place[:-1]))
    return (float(at_place[-1]) - within) / (within + FLOOR)
