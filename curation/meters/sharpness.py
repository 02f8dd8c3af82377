"""Sharpness: how steep the picture's strongest edges are.

An edge of the sharpest kind rises within one pixel; defocus, motion, a cheap lens or an enlarged
smaller original spread it over several. The measure is the steepest step within eight pixels as a
share of the rise over those eight pixels: 1 for an ideal edge, 1/2 after enlarging it by two, 1/8
for a ramp, whatever the contrast and the size of the frame. (Edge width as a measure of blur:
Marziliano et al. 2002, "A no-reference perceptual blur metric".)

Only the strongest edges are looked at: they are where the focus is, and stand out of noise. What
the flattest half of the lines shows is taken for noise and subtracted in quadrature.
"""

import cv2
import numpy as np

RISE_PX = 8
STRONGEST = 0.01  # of all places
RISE_MIN = 16  # of 255; a weaker rise cannot be told from noise
PLACES_MIN = 32
SPARSE = 5  # of the flat places one in so many is enough for their median


def sharpness(*lines: np.ndarray) -> float:
    """0.125-1 from uint8 (n, length) arrays of lines; NaN where there are no edges."""
    measured = [steps_and_rises(part) for part in lines if part.shape[1] > RISE_PX and len(part)]
    if not measured:
        return np.nan
    step = np.concatenate([s for s, _ in measured])
    rise = np.concatenate([r for _, r in measured])
    counts = cv2.calcHist([rise], [0], None, [256], [0, 256]).ravel()
    above = counts[::-1].cumsum()[::-1]  # above[r]: places that rise by r or more
    limit = max(RISE_MIN, int(np.count_nonzero(above >= STRONGEST * rise.size)) - 1)
    strong = np.flatnonzero(rise >= limit)
    if len(strong) < PLACES_MIN:
        return np.nan
    flat = rise[::SPARSE] < np.count_nonzero(above > 0.5 * rise.size)
    noise = float(np.median(step[::SPARSE][flat]))
    steepest = np.sqrt(np.maximum(step[strong].astype(np.float32) ** 2 - noise**2, 0))
    return float(np.median(np.minimum(steepest / rise[strong], 1)))


def steps_and_rises(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(largest step between neighbours, rise) over each stretch of RISE_PX pixels, uint8, flat."""
    step = cv2.absdiff(lines[:, 1:], lines[:, :-1])
    rise = cv2.absdiff(lines[:, RISE_PX:], lines[:, :-RISE_PX])
    # the maximum over the steps i to i + 7 that make up the rise from i to i + 8
    largest = cv2.dilate(step, np.ones((1, RISE_PX), np.uint8), anchor=(0, 0))
    return np.ascontiguousarray(largest[:, : rise.shape[1]]).ravel(), rise.ravel()
