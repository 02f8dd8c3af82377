"""Speed of the picture, from optical flow between neighbouring frames: as a whole, of the camera
and of what moves before it, and how unsteady the camera is.

Dense inverse search (Kroeger et al. 2016, "Fast optical flow using dense inverse search") on pairs
of adjacent frames. Twice a second two pairs in a row are looked at, since only frames one
after another tell a shaking camera from a moving one. Pairs half a second apart, the usual "2 fps
flow", leave the search range: rank correlation with flow on every frame 0.62, against 0.96.
"""

from typing import Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa

from curation.meters.borders import BAR_LUMA
from curation.meters.camera import Move, fit, grid, name, on_grid
from curation.meters.span import Span
from curation.video.picture import Picture

LOOKS_PER_S = 2.0
STILL_WIDTH_PCT_PER_S = 0.6  # a sensor's noise alone reads up to 0.5
REPEATED = 0.1  # of the other pair's speed: a repeated frame, whose jerk is not the camera's


class Motion:
    """Per looked-at pair (the frame before, this one) the mean flow and the camera's share."""

    record: ClassVar[np.dtype] = np.dtype(
        [
            ("speed", "f4"),  # mean length of the flow, % of width per second
            ("camera", "f4"),  # of the camera's flow
            ("subject", "f4"),  # of what the camera's flow leaves
            ("pan", "f4"),  # of the camera, as in `Move`
            ("tilt", "f4"),
            ("zoom", "f4"),
            ("roll", "f4"),
            ("step_s", "f4"),
            ("aspect", "f4"),
        ]
    )
    writes: ClassVar[pa.Schema] = pa.schema(
        {
            "motion_width_pct_per_s": pa.float32(),  # mean
            "still_pct": pa.float32(),  # share of the looks below 0.6 % of width per second
            "camera_width_pct_per_s": pa.float32(),  # median
            "subject_width_pct_per_s": pa.float32(),  # mean
            "jitter_width_pct_per_s2": pa.float32(),  # mean change of the camera's velocity
            "pan_width_pct_per_s": pa.float32(),  # median; positive: to the right
            "tilt_width_pct_per_s": pa.float32(),  # median; positive: up
            "zoom_pct_per_s": pa.float32(),  # median; positive: in
            "roll_deg_per_s": pa.float32(),  # median; positive: clockwise
            "camera_motion": pa.string(),  # see camera.name
        }
    )

    def __init__(self) -> None:
        self.flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        # fewer iterations than the preset's: a fifth less time, the same ranks
        self.flow.setGradientDescentIterations(12)
        self.flow.setVariationalRefinementIterations(3)
        self.again = False

    def update(self, picture: Picture) -> tuple | None:
        before, again = picture.before, self.again
        self.again = picture.begins(LOOKS_PER_S)
        if before is None or not (again or self.again):
            return None
        flow_HW2 = self.flow.calc(before.luma, picture.luma, None)
        flow = on_grid(flow_HW2.view(np.complex64)[..., 0])
        return measure(flow, before.luma, step_s=picture.time_s - before.time_s)

    @staticmethod
    def clip(rows: np.ndarray, span: Span) -> dict[str, Any]:
        # the pair that ends on the clip's first frame straddles the cut
        rows = rows[rows["frame"] > span.start]
        if not len(rows):
            return dict.fromkeys(Motion.writes.names)
        shake, jitter = unsteadiness(rows)
        pan, tilt, zoom, roll, camera = (
            float(np.median(rows[part])) for part in ("pan", "tilt", "zoom", "roll", "camera")
        )
        move = Move(
            *(pan, tilt, zoom, roll, camera),
            shake=shake or 0.0,
            jitter=jitter or 0.0,
            aspect=float(rows["aspect"][0]),
        )
        return {
            "motion_width_pct_per_s": float(np.mean(rows["speed"])),
            "still_pct": 100 * float(np.mean(rows["speed"] < STILL_WIDTH_PCT_PER_S)),
            "camera_width_pct_per_s": camera,
            "subject_width_pct_per_s": float(np.mean(rows["subject"])),
            "jitter_width_pct_per_s2": jitter,
            "pan_width_pct_per_s": pan,
            "tilt_width_pct_per_s": tilt,
            "zoom_pct_per_s": zoom,
            "roll_deg_per_s": roll,
            "camera_motion": name(move),
        }


def measure(flow: np.ndarray, luma_HW: np.ndarray, *, step_s: float) -> tuple[float, ...]:
    """One row of the record from the (N,) flow u + iv on the grid, pixels, between two pictures.

    Points in the dark say nothing of the camera: bars stand still in every pan.
    """
    height, width = luma_HW.shape
    points = grid(height, width)
    shift, scale = fit(flow, points, on_grid(luma_HW) >= BAR_LUMA)
    camera = shift + scale * points
    pct_per_s = 100 / width / step_s
    return (
        float(np.abs(flow).mean()) * pct_per_s,
        float(np.abs(camera).mean()) * pct_per_s,
        float(np.abs(flow - camera).mean()) * pct_per_s,
        -shift.real * pct_per_s,  # a camera that turns right moves the picture to the left
        shift.imag * pct_per_s,  # and one that turns up moves it down, where y grows
        100 * scale.real / step_s,
        -float(np.degrees(scale.imag)) / step_s,
        step_s,
        width / height,
    )


def unsteadiness(rows: np.ndarray) -> tuple[float, float] | tuple[None, None]:
    """Mean change of the camera's (pan, tilt) between pairs that share a frame: (% of width per
    second, the same per second); None where there are no such pairs.
    """
    first, second = rows[:-1], rows[1:]
    slower = np.minimum(first["speed"], second["speed"])
    faster = np.maximum(first["speed"], second["speed"])
    usable = (np.diff(rows["frame"]) == 1) & ((slower > REPEATED * faster) | (faster == 0))
    if not usable.any():
        return None, None
    change = np.hypot(
        second["pan"] - first["pan"],
        second["tilt"] - first["tilt"],
    )[usable]
    between_s = ((first["step_s"] + second["step_s"]) / 2)[usable]
    return float(change.mean()), float((change / between_s).mean())
