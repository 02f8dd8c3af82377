"""Focus: whether a picture has fine edges beside its coarse ones.

Pictures of the world have edges of about the same strength at every scale (Field 1987, "Relations
between the statistics of natural images and the response properties of cortical cells"), so that
strong coarse edges without fine ones are a lens out of focus. It is read from the small picture, in
which a sensor's noise and the blocks of coarse coding, which are fine edges too, are averaged away;
`sharpness` is told by them.
"""

import cv2
import numpy as np

OCTAVES = 4  # at 128, 64, 32 and 16 pixels: a defocus of up to a tenth of the width
EDGE_PERCENTILE = 98  # the sharpest fiftieth counts: a shallow depth of field is no blur
LEAST_EDGE = 2.0  # of 255: without an edge at any scale there is nothing to be in focus


def focus(luma_HW: np.ndarray) -> float | None:
    """Strength of the strongest edges of a small picture over that at coarser scales: in focus 0.3
    to 1, blurred over 1.5 % of the width 0.12; None for a picture without edges.
    """
    edges = []
    image = luma_HW.astype(np.float32)
    for _ in range(OCTAVES):
        edge = np.abs(image - cv2.GaussianBlur(image, (0, 0), 1.0))
        edges.append(float(np.percentile(edge, EDGE_PERCENTILE)))
        image = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return edges[0] / max(edges[1:]) if max(edges) > LEAST_EDGE else None
