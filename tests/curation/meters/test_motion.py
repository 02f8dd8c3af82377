"""Speeds of pictures that move in known ways."""

import numpy as np
import pytest

from curation.meters.motion import Motion, speed_width_pct_per_s
from tests.curation.meters.feeding import feed, pictures, read
from tests.videos import pan, texture


def test_motion_of_a_pan_is_its_speed() -> None:
    # 1 px a frame of 128 px at 24 frames a second: 100 / 128 * 24 = 18.75 % of the width a second
    frames = pan(5, 48, height=72, width=128, step_px=1)[..., 1]
    meter = Motion()
    rows = feed(meter, pictures(list(frames)))
    found = read(meter, rows, 0, 48)
    assert found["motion_width_pct_per_s"] == pytest.approx(18.75, rel=0.1)
    assert len(rows) == pytest.approx(12, abs=1)  # six pairs a second, not one a frame


def test_motion_leaves_out_the_pair_that_straddles_the_cut() -> None:
    meter = Motion()
    still, other = (
        texture(1, height=72, width=128)[..., 1],
        texture(2, height=72, width=128)[..., 1],
    )
    # at 6 fps every pair is looked at
    rows = feed(meter, pictures([still] * 9 + [other] * 9, fps=6.0))
    assert read(meter, rows, 0, 9)["motion_width_pct_per_s"] < 0.01
    assert read(meter, rows, 9, 18)["motion_width_pct_per_s"] < 0.01
    assert read(meter, rows, 3, 4)["motion_width_pct_per_s"] is None


def test_speed_is_in_per_cent_of_width_per_second() -> None:
    flow = np.zeros((10, 50, 2), np.float32)
    flow[..., 0], flow[..., 1] = 3, 4  # 5 px of 50 in half a second
    assert speed_width_pct_per_s(flow, step_s=0.5) == pytest.approx(20)
