"""What comes back to where it began, told from what leads elsewhere."""

import numpy as np
import pytest

from curation.meters.cuts import SCORE, without_returns

PLACE = np.random.default_rng(0).integers(20, 230, 144).astype(np.uint8)
ELSEWHERE = np.random.default_rng(1).integers(20, 230, 144).astype(np.uint8)


def prints(*stretches: tuple[np.ndarray, int]) -> np.ndarray:
    """(T, 144) with a level of noise, as of a sensor."""
    rng = np.random.default_rng(2)
    still = np.concatenate([np.repeat(p[None], n, axis=0) for p, n in stretches])
    return np.clip(still + rng.integers(-1, 2, still.shape), 0, 255).astype(np.uint8)


def rows(
    num_frames: int, *, cut: tuple[int, ...] = (), gradual: tuple[int, int] = (0, 0)
) -> np.ndarray:
    made = np.zeros(num_frames, SCORE)
    made["cut"][list(cut)] = 0.9
    made["gradual"][slice(*gradual)] = 0.9
    return made


def test_a_passer_by_is_dropped_and_a_dissolve_is_kept() -> None:
    scores = rows(150, gradual=(50, 100))
    passed = prints((PLACE, 50), (ELSEWHERE, 50), (PLACE, 50))
    assert not without_returns(scores, passed)["gradual"].any()
    left = prints((PLACE, 75), (ELSEWHERE, 75))
    np.testing.assert_array_equal(without_returns(scores, left), scores)
    assert scores["gradual"].any()  # the rows that were given stay as they are


def test_something_else_may_stand_in_a_quarter_of_the_picture_and_the_light_may_change() -> None:
    after = (PLACE * 0.95 + 4).astype(np.uint8)
    after[:30] = ELSEWHERE[:30]
    passed = prints((PLACE, 50), (ELSEWHERE, 50), (after, 50))
    scores = rows(150, gradual=(50, 100))
    assert not without_returns(scores, passed)["gradual"].any()
    after[:80] = ELSEWHERE[:80]
    other = prints((PLACE, 50), (ELSEWHERE, 50), (after, 50))
    assert without_returns(scores, other)["gradual"].any()


def test_a_fade_to_black_and_back_is_a_transition() -> None:
    scores = rows(150, gradual=(50, 100))
    scores["blank"][60:90] = True
    black = np.zeros(144, np.uint8)
    dipped = prints((PLACE, 50), (black, 50), (PLACE, 50))
    np.testing.assert_array_equal(without_returns(scores, dipped), scores)


def test_two_flat_pictures_say_nothing() -> None:
    black = np.full(144, 12, np.uint8)
    scores = rows(150, gradual=(50, 100))
    titled = prints((black, 50), (ELSEWHERE, 50), (black, 50))
    np.testing.assert_array_equal(without_returns(scores, titled), scores)


@pytest.mark.parametrize("length", [1, 2, 4])
def test_a_flash_is_no_cut(length: int) -> None:
    white = np.full(144, 250, np.uint8)
    flashed = prints((PLACE, 50), (white, length), (PLACE, 50))
    scores = rows(len(flashed), cut=(50, 50 + length))
    assert not without_returns(scores, flashed)["cut"].any()


def test_a_short_shot_between_two_of_one_scene_is_one() -> None:
    scores = rows(109, cut=(50, 59))
    inserted = prints((PLACE, 50), (ELSEWHERE, 9), (PLACE, 50))
    np.testing.assert_array_equal(without_returns(scores, inserted), scores)


def test_a_jump_cut_before_a_still_background_is_one() -> None:
    after = PLACE.copy()
    after[60:80] = ELSEWHERE[60:80]
    scores = rows(100, cut=(50,))
    np.testing.assert_array_equal(without_returns(scores, prints((PLACE, 50), (after, 50))), scores)


def test_nothing_and_the_ends_of_a_source() -> None:
    assert len(without_returns(rows(0), np.zeros((0, 144), np.uint8))) == 0
    scores = rows(40, cut=(1, 38), gradual=(0, 5))
    left = prints((PLACE, 38), (ELSEWHERE, 2))
    np.testing.assert_array_equal(without_returns(scores, left)["cut"][38:], scores["cut"][38:])
