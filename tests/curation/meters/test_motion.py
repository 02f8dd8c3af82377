"""Speeds and camera moves of footage whose motion is known."""

import cv2
import numpy as np
import pytest

from curation.meters.motion import Motion, measure, unsteadiness
from tests.curation.meters.feeding import feed, pictures, read
from tests.videos import pan, texture

WIDTH, HEIGHT, FPS = 128, 72, 24.0
WORLD = texture(7, height=360, width=640)[..., 1]
RNG = np.random.default_rng(0)
NOISE = RNG.normal(0, 2, (48, HEIGHT, WIDTH))


def shot(
    *,
    pan_px: float = 0,
    tilt_px: float = 0,
    zoom: float = 0,
    roll_deg: float = 0,
    shake_px: float = 0,
    subject_px: float | None = None,
    noise: bool = True,
) -> list[np.ndarray]:
    """Two seconds of a camera over a texture: per frame the pixels to the right and upward, the
    growth of the picture, the degrees clockwise, the spread of a random displacement and the pixels
    by which a square subject moves across it.
    """
    frames = []
    rng = np.random.default_rng(1)
    thing = texture(9, height=24, width=24)[..., 1]
    for i in range(48):
        x, y = 320 + pan_px * i, 180 - tilt_px * i
        x, y = (x, y) + rng.normal(0, shake_px, 2) if shake_px else (x, y)
        # a camera that rolls clockwise sees the world turn the other way
        matrix = cv2.getRotationMatrix2D((float(x), float(y)), roll_deg * i, (1 + zoom) ** i)
        matrix[:, 2] += (WIDTH - 1) / 2 - x, (HEIGHT - 1) / 2 - y
        frame = cv2.warpAffine(WORLD, matrix, (WIDTH, HEIGHT))
        if subject_px is not None:
            left = round(4 + subject_px * i)
            frame[24:48, left : left + 24] = thing
        if noise:
            frame = np.clip(frame + NOISE[i], 0, 255).astype(np.uint8)
        frames.append(frame)
    return frames


def found(lumas: list[np.ndarray]) -> dict:
    meter = Motion()
    return read(meter, feed(meter, pictures(lumas, fps=FPS)), 0, len(lumas), fps=FPS)


def test_motion_of_a_pan_is_its_speed() -> None:
    # 1 px a frame of 128 px at 24 frames a second: 100 / 128 * 24 = 18.75 % of the width a second
    frames = pan(5, 48, height=72, width=128, step_px=1)[..., 1]
    meter = Motion()
    rows = feed(meter, pictures(list(frames)))
    clip = read(meter, rows, 0, 48)
    assert clip["motion_width_pct_per_s"] == pytest.approx(18.75, rel=0.1)
    assert clip["pan_width_pct_per_s"] == pytest.approx(18.75, rel=0.1)
    assert clip["camera_motion"] == "pan right"
    assert len(rows) == pytest.approx(8, abs=1)  # four pairs a second, not one a frame


def test_motion_leaves_out_the_pair_that_straddles_the_cut() -> None:
    meter = Motion()
    still, other = (
        texture(1, height=72, width=128)[..., 1],
        texture(2, height=72, width=128)[..., 1],
    )
    # at 3 fps every pair is looked at
    rows = feed(meter, pictures([still] * 9 + [other] * 9, fps=3.0))
    assert read(meter, rows, 0, 9)["motion_width_pct_per_s"] < 0.01
    assert read(meter, rows, 9, 18)["motion_width_pct_per_s"] < 0.01
    assert read(meter, rows, 3, 4)["motion_width_pct_per_s"] is None
    assert read(meter, rows, 3, 4)["camera_motion"] is None


@pytest.mark.parametrize(
    ("move", "column", "value", "expected"),
    [
        # 0.5 px of 128 a frame at 24 frames a second
        ({"pan_px": 0.5}, "pan_width_pct_per_s", 9.375, "pan right"),
        ({"pan_px": -0.5}, "pan_width_pct_per_s", -9.375, "pan left"),
        ({"tilt_px": 0.5}, "tilt_width_pct_per_s", 9.375, "tilt up"),
        ({"tilt_px": -0.5}, "tilt_width_pct_per_s", -9.375, "tilt down"),
        ({"zoom": 0.01}, "zoom_pct_per_s", 24, "zoom in"),
        ({"zoom": -0.01}, "zoom_pct_per_s", -24, "zoom out"),
        ({"roll_deg": 0.6}, "roll_deg_per_s", 14.4, "roll"),
        ({"roll_deg": -0.6}, "roll_deg_per_s", -14.4, "roll"),
        ({}, "pan_width_pct_per_s", 0, "static"),
    ],
)
def test_camera_moves_are_measured_and_named(
    move: dict, column: str, value: float, expected: str
) -> None:
    clip = found(shot(**move))
    assert clip[column] == pytest.approx(value, rel=0.2, abs=0.2)
    assert clip["camera_motion"] == expected


def test_camera_and_subject_are_told_apart() -> None:
    before_still, twice = found(shot(subject_px=1)), found(shot(subject_px=2))
    in_pan, alone = found(shot(pan_px=1, subject_px=0)), found(shot(pan_px=1))
    for clip in (before_still, twice):
        assert clip["camera_width_pct_per_s"] < 1
        assert clip["camera_motion"] == "static"
    # 24 x 24 of 128 x 72 pixels move by 1 px a frame; the flow smears them out as far again
    worked_out = 24 * 24 / (128 * 72) / 128 * 100 * 24
    assert worked_out < before_still["subject_width_pct_per_s"] < 3 * worked_out
    ratio = twice["subject_width_pct_per_s"] / before_still["subject_width_pct_per_s"]
    assert ratio == pytest.approx(2, rel=0.2)
    assert in_pan["pan_width_pct_per_s"] == pytest.approx(18.75, rel=0.1)
    assert in_pan["subject_width_pct_per_s"] > 2 * alone["subject_width_pct_per_s"]


def test_a_frozen_clip_and_a_shaking_one_are_told_from_a_calm_one() -> None:
    frozen = found(shot(noise=False))
    tripod, calm, shaking = found(shot()), found(shot(pan_px=0.5)), found(shot(shake_px=0.6))
    assert frozen["motion_width_pct_per_s"] == 0
    assert frozen["still_pct"] == 100
    assert calm["still_pct"] == shaking["still_pct"] == 0
    assert max(tripod["jitter_width_pct_per_s2"], calm["jitter_width_pct_per_s2"]) < 50
    assert shaking["jitter_width_pct_per_s2"] > 200
    assert [c["camera_motion"] for c in (frozen, tripod, calm, shaking)] == [
        *("static", "static", "pan right", "handheld")
    ]


def test_bars_do_not_slow_a_pan() -> None:
    frames = shot(pan_px=0.8)
    for frame in frames:
        frame[:20] = frame[-20:] = 2  # more than half of the picture
    assert found(frames)["pan_width_pct_per_s"] == pytest.approx(15, rel=0.1)


def test_speed_is_in_per_cent_of_width_per_second() -> None:
    flow = np.full(9 * 16, 3 + 4j, np.complex64)  # 5 px of 128 in half a second
    luma = np.full((72, 128), 99, np.uint8)
    speed, camera, subject, pan_right, tilt_up, *_ = measure(flow, luma, step_s=0.5)
    assert speed == pytest.approx(100 * 5 / 128 / 0.5)
    assert camera == pytest.approx(speed, rel=1e-4)
    assert subject == pytest.approx(0, abs=1e-3)
    assert (pan_right, tilt_up) == (
        pytest.approx(-100 * 3 / 128 / 0.5, rel=1e-4),
        pytest.approx(100 * 4 / 128 / 0.5, rel=1e-4),
    )


def test_unsteadiness_is_the_change_between_pairs_that_share_a_frame() -> None:
    rows = np.zeros(4, [("frame", "i8"), *Motion.record.descr])
    rows["frame"], rows["step_s"], rows["speed"] = [8, 9, 16, 17], 0.1, 5
    rows["pan"], rows["tilt"] = [1, 4, 0, 0], [2, 6, 50, 50]  # 5 % / s, then none
    assert unsteadiness(rows) == (pytest.approx(2.5), pytest.approx(25))
    rows["speed"] = [5, 0.1, 5, 5]  # the second pair is a repeated frame: its jerk does not count
    assert unsteadiness(rows) == (0, 0)
    assert unsteadiness(rows[::2]) == (None, None)
