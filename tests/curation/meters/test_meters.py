"""Each meter on pictures made by hand, with the answer worked out."""

import numpy as np
import pytest

from curation.meters.borders import Borders, bars
from curation.meters.damage import Damage
from curation.meters.exposure import Exposure, measure
from curation.meters.freeze import Freeze, longest_run_s
from curation.meters.motion import Motion, speed_width_pct_per_s
from curation.meters.span import Span
from curation.video.picture import Picture
from tests.videos import pan, texture


def feed(meter, lumas, *, fps: float = 24.0, corrupt: tuple[int, ...] = ()) -> Span:
    for i, luma in enumerate(lumas):
        bgr = np.repeat(luma[..., None], 3, axis=2)
        meter.update(Picture(i, i / fps, luma, bgr, is_corrupt=i in corrupt))
    return Span(0, len(lumas), np.arange(len(lumas) + 1) / fps)


def flat(value: int, *, height: int = 72, width: int = 128) -> np.ndarray:
    return np.full((height, width), value, np.uint8)


def test_exposure_of_flat_frames() -> None:
    meter = Exposure()
    span = feed(meter, [flat(0), flat(51), flat(102), flat(255)])
    found = meter.clip(span)
    assert found["luma_mean_pct"] == pytest.approx((0 + 20 + 40 + 100) / 4)
    assert (found["black_frames_pct"], found["blown_frames_pct"]) == (25, 25)


def test_a_frame_is_black_with_98_per_cent_of_black_pixels() -> None:
    luma = np.full((100, 100), 10, np.uint8)
    luma[:2] = 200
    assert measure(luma)[1] is True
    luma[:3] = 200
    assert measure(luma)[1] is False


def test_motion_of_a_pan_is_its_speed() -> None:
    # 1 px a frame of 128 px at 24 frames a second: 100 / 128 * 24 = 18.75 % of the width a second
    frames = pan(5, 48, height=72, width=128, step_px=1)[..., 1]
    meter = Motion()
    span = feed(meter, list(frames))
    assert meter.clip(span)["motion_width_pct_per_s"] == pytest.approx(18.75, rel=0.1)
    assert len(meter.speeds) == pytest.approx(12, abs=1)  # six pairs a second, not one a frame


def test_motion_leaves_out_the_pair_that_straddles_the_cut() -> None:
    meter = Motion()
    still, other = (
        texture(1, height=72, width=128)[..., 1],
        texture(2, height=72, width=128)[..., 1],
    )
    feed(meter, [still] * 9 + [other] * 9, fps=6.0)  # at 6 fps every pair is looked at
    edges = np.arange(10) / 6
    assert meter.clip(Span(0, 9, edges))["motion_width_pct_per_s"] < 0.01
    assert meter.clip(Span(9, 18, edges + 1.5))["motion_width_pct_per_s"] < 0.01
    assert meter.clip(Span(3, 4, edges[3:5]))["motion_width_pct_per_s"] is None


def test_speed_is_in_per_cent_of_width_per_second() -> None:
    flow = np.zeros((10, 50, 2), np.float32)
    flow[..., 0], flow[..., 1] = 3, 4  # 5 px of 50 in half a second
    assert speed_width_pct_per_s(flow, step_s=0.5) == pytest.approx(20)


def test_frozen_frames_are_those_equal_to_the_one_before() -> None:
    a, b = texture(1, height=72, width=128)[..., 1], texture(2, height=72, width=128)[..., 1]
    meter = Freeze()
    span = feed(meter, [a, b, b, b, a], fps=2.0)
    found = meter.clip(span)
    assert found["frozen_pct"] == 50  # 2 of the 4 that have one before
    assert found["longest_freeze_s"] == pytest.approx(1.0)


def test_noise_of_a_camera_is_not_frozen_but_coding_noise_is() -> None:
    rng = np.random.default_rng(0)
    base = texture(1, height=72, width=128)[..., 1].astype(int)
    noisy = [
        np.clip(base + rng.normal(0, 1.5, base.shape), 0, 255).astype(np.uint8) for _ in range(9)
    ]
    meter = Freeze()
    assert meter.clip(feed(meter, noisy))["frozen_pct"] == 0
    coded = [base.astype(np.uint8).copy() for _ in range(9)]
    for i, frame in enumerate(coded):
        frame[i] ^= 1  # one row of 72 a level off: 2/72 of a level on average
    meter = Freeze()
    assert meter.clip(feed(meter, coded))["frozen_pct"] == 100


def test_longest_run() -> None:
    frozen = np.array([True, False, True, True, False])
    assert longest_run_s(frozen, edges_s=np.array([0, 1, 2, 3, 10, 11.0])) == 8
    assert longest_run_s(np.array([False]), edges_s=np.array([0, 1.0])) == 0


def test_letterbox_is_what_stays_dark_in_every_frame() -> None:
    lumas = [texture(i, height=72, width=128)[..., 1] // 2 + 60 for i in range(4)]
    for luma in lumas:
        luma[:9] = luma[-9:] = 3  # an eighth at the top and at the bottom
    meter = Borders()
    found = meter.clip(feed(meter, lumas))
    assert found == pytest.approx(
        {
            "border_pct": 25,
            "border_top_pct": 12.5,
            "border_bottom_pct": 12.5,
            "border_left_pct": 0,
            "border_right_pct": 0,
        }
    )


def test_a_dark_picture_with_some_light_has_no_bars_nor_has_a_black_one() -> None:
    night = flat(5)
    night[::6, ::9] = 90  # stars everywhere
    meter = Borders()
    assert meter.clip(feed(meter, [night] * 3))["border_pct"] < 8
    meter = Borders()
    assert meter.clip(feed(meter, [flat(0)] * 3))["border_pct"] == 0
    assert bars(np.array([0, 0, 200, 0])) == (0.5, 0.25)


def test_damaged_frames_are_counted_per_clip() -> None:
    meter = Damage()
    feed(meter, [flat(9)] * 6, corrupt=(1, 4, 5))
    assert meter.clip(Span(0, 4, np.arange(5.0)))["corrupt_frames"] == 1
    assert meter.clip(Span(4, 6, np.arange(3.0)))["corrupt_frames"] == 2
