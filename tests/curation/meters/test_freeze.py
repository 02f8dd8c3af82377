"""Frozen and repeated frames in sequences whose repeats are known."""

import numpy as np
import pytest

from curation.meters.freeze import Freeze, duplicates, longest_run_s, period_frames
from tests.curation.meters.feeding import feed, pictures, read
from tests.videos import pan, texture

MOVING = list(pan(3, 120, height=72, width=128, step_px=1)[..., 1])


def shown(order: list[int]) -> dict:
    """The columns of one clip that shows these frames of a moving picture."""
    meter = Freeze()
    return read(meter, feed(meter, pictures([MOVING[i] for i in order])), 0, len(order))


def test_frozen_frames_are_those_equal_to_the_one_before() -> None:
    a, b = texture(1, height=72, width=128)[..., 1], texture(2, height=72, width=128)[..., 1]
    meter = Freeze()
    rows = feed(meter, pictures([a, b, b, b, a], fps=2.0))
    found = read(meter, rows, 0, 5, fps=2.0)
    assert found["frozen_pct"] == 50  # 2 of the 4 that have one before
    assert found["longest_freeze_s"] == pytest.approx(1.0)
    assert read(meter, rows, 2, 3)["frozen_pct"] is None  # a frame alone cannot freeze


def test_noise_of_a_camera_is_not_frozen_but_coding_noise_is() -> None:
    rng = np.random.default_rng(0)
    base = texture(1, height=72, width=128)[..., 1].astype(int)
    noisy = [
        np.clip(base + rng.normal(0, 1.5, base.shape), 0, 255).astype(np.uint8) for _ in range(9)
    ]
    meter = Freeze()
    assert read(meter, feed(meter, pictures(noisy)), 0, 9)["frozen_pct"] == 0
    coded = [base.astype(np.uint8).copy() for _ in range(9)]
    for i, frame in enumerate(coded):
        frame[i] ^= 1  # one row of 72 a level off: 2/72 of a level on average
    assert read(meter, feed(meter, pictures(coded)), 0, 9)["frozen_pct"] == 100


def test_film_at_a_video_rate_repeats_every_fifth_or_sixth_frame() -> None:
    film_at_30 = shown([i * 4 // 5 for i in range(100)])
    assert film_at_30["duplicate_period_frames"] == 5
    assert film_at_30["duplicate_frames_pct"] == pytest.approx(20, abs=1)
    film_at_60 = shown([i * 2 // 5 for i in range(100)])
    assert film_at_60["duplicate_period_frames"] == 5
    assert film_at_60["duplicate_frames_pct"] == pytest.approx(60, abs=1)
    pal_at_30 = shown([i * 5 // 6 for i in range(100)])
    assert pal_at_30["duplicate_period_frames"] == 6
    on_twos = shown([i // 2 for i in range(100)])
    assert on_twos["duplicate_period_frames"] == 2
    assert on_twos["duplicate_frames_pct"] == pytest.approx(50, abs=1)


def test_a_moving_picture_and_a_frozen_one_have_no_duplicates() -> None:
    for order in ([*range(100)], [0] * 100, [*range(40), *[40] * 30, *range(41, 71)]):
        found = shown(order)
        assert found["duplicate_frames_pct"] == 0
        assert found["duplicate_period_frames"] is None


def test_a_stutter_has_duplicates_but_no_cadence() -> None:
    late = {7, 15, 32, 38, 61, 80}
    order = np.cumsum([i not in late for i in range(100)]) - 1
    found = shown([int(i) for i in order])
    assert found["duplicate_frames_pct"] == pytest.approx(100 * 6 / 99)
    assert found["duplicate_period_frames"] is None


def test_a_coarsely_coded_repeat_is_told_by_changing_less_than_its_neighbours() -> None:
    change = np.where(np.arange(60) % 5 == 4, 0.6, 5.0)  # 0.6 is far above the noise of a freeze
    assert np.flatnonzero(duplicates(change)).tolist() == [*range(4, 60, 5)]
    assert period_frames(duplicates(change)) == 5
    calm = np.random.default_rng(0).uniform(0.4, 1.0, 60)  # a locked-off camera's noise
    assert not duplicates(calm).any()


def test_longest_run() -> None:
    frozen = np.array([True, False, True, True, False])
    assert longest_run_s(frozen, edges_s=np.array([0, 1, 2, 3, 10, 11.0])) == 8
    assert longest_run_s(np.array([False]), edges_s=np.array([0, 1.0])) == 0
