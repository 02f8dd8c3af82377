"""Hashes of pictures whose DCT, borders and movement are known."""

import cv2
import numpy as np
import pytest

from curation.meters.phash import (
    CHANGE_LOOKS,
    LOOKS_PER_S,
    PART_EVERY,
    STEPS,
    Phash,
    by_area,
    frequencies,
    inside_bars,
)
from tests.curation.meters.feeding import feed, flat, pictures, read
from tests.videos import pan, texture

STILL = texture(1, height=72, width=128)[..., 1]


def hashes(data: bytes) -> np.ndarray:
    return np.frombuffer(data, "<u8")


def columns(lumas: list[np.ndarray], *, fps: float = 24.0) -> dict:
    meter = Phash()
    return read(meter, feed(meter, pictures(lumas, fps=fps)), 0, len(lumas), fps=fps)


def test_frequencies_are_those_of_the_phash_library() -> None:
    """Shrink to 32 x 32 and take the DCT by OpenCV; coefficients 1 to 8 each way."""
    for luma in (STILL, texture(2, height=128, width=72)[..., 1], STILL[5:64, 3:120]):
        small = cv2.resize(luma.astype(np.float32), (32, 32), interpolation=cv2.INTER_AREA)
        expected = cv2.dct(small)[1:9, 1:9].ravel()
        whole, _, _ = frequencies(luma, (0, luma.shape[0], 0, luma.shape[1]))
        np.testing.assert_allclose(whole / STEPS, expected, atol=0.5)
        meter = Phash()
        found = read(meter, feed(meter, pictures([np.ascontiguousarray(luma)])), 0, 1)
        bits = np.unpackbits(np.frombuffer(found["phash"], np.uint8)).astype(bool)
        # a coefficient within rounding of the median may fall on either side
        clear = np.abs(expected - np.median(expected)) > 1
        assert clear.sum() > 50
        np.testing.assert_array_equal(bits[clear], (expected > np.median(expected))[clear])


def test_middle_is_that_of_the_area_and_centre_that_of_the_picture() -> None:
    luma = texture(3, height=100, width=200)[..., 1]
    area = 20, 80, 0, 150
    whole, middle, centre = frequencies(luma, area)
    inside = np.ascontiguousarray(luma[20:80, :150])
    np.testing.assert_allclose(whole, frequencies(inside, (0, 60, 0, 150))[0], atol=1)
    core = np.ascontiguousarray(luma[15:85, 30:170])
    np.testing.assert_allclose(centre, frequencies(core, (0, 70, 0, 140))[0], atol=1)
    smaller = cv2.getRectSubPix(inside, (139, 56), (74.5, 29.5))  # 93 %
    assert np.corrcoef(middle, frequencies(smaller, (0, 56, 0, 139))[0])[0, 1] > 0.99


def test_a_logo_in_the_bars_leaves_the_centre_alone() -> None:
    boxed = STILL.copy()
    boxed[:10] = boxed[-10:] = 16
    marked = boxed.copy()
    marked[3:7, 6:16] = 255
    one, two = (np.frombuffer(columns([luma])["phash_parts"], "<u8") for luma in (boxed, marked))
    assert np.bitwise_count(one[0] ^ two[0]) > 8 and one[2] == two[2]


def test_area_weights_cover_every_pixel_of_the_stretch_alike() -> None:
    weights = by_area(72, 3.6, 68.4)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    share = weights.sum(axis=0) / weights.sum()
    np.testing.assert_allclose(share[4:68], 1 / 64.8)  # whole pixels
    assert share[:3].sum() == 0 and share[3] == pytest.approx(0.4 / 64.8)


def test_dark_even_bars_are_left_out_and_dark_pictures_are_not() -> None:
    boxed = STILL.copy()
    boxed[:9], boxed[-7:], boxed[:, :20] = 16, 20, 16
    assert inside_bars(boxed) == (9, 65, 20, 128)
    assert inside_bars(STILL) == (0, 72, 0, 128)
    assert inside_bars(flat(10)) == (0, 72, 0, 128)  # black: nothing inside
    bright = STILL.copy()
    bright[:9] = 90  # an even wall is no bar
    assert inside_bars(bright) == (0, 72, 0, 128)


def test_a_letterboxed_copy_has_nearly_the_same_hash() -> None:
    boxed = np.concatenate([flat(16, height=12), STILL, flat(16, height=12)])
    one, two = hashes(columns([STILL])["phash"]), hashes(columns([boxed])["phash"])
    assert np.bitwise_count(one ^ two)[0] <= 2


def test_looks_lie_on_a_grid_of_eighths_and_a_frame_stands_until_the_next() -> None:
    lumas = [texture(seed, height=72, width=128)[..., 1] for seed in range(3)]
    found = columns(lumas, fps=2.0)  # frames at 0, 0.5 and 1 s
    scene = hashes(found["phash"])
    assert found["phash_start_look"] == 0 and len(scene) == LOOKS_PER_S + 1
    assert len(set(scene[:4])) == len(set(scene[4:8])) == 1 and len(set(scene)) == 3
    assert len(found["phash_change"]) == 8 * len(scene)
    assert len(found["phash_seen"]) == 4 * len(scene)
    assert len(found["phash_parts"]) == 32 * 3  # at 0, 0.5 and 1 s

    meter = Phash()
    rows = feed(meter, pictures(list(pan(3, 48, height=72, width=128)[..., 1])))
    assert read(meter, rows, 14, 48)["phash_start_look"] == 5  # from 0.583 s


def test_changes_are_against_half_a_second_before() -> None:
    moving = list(pan(3, 48, height=72, width=128)[..., 1])
    found = columns(moving)
    energy = np.frombuffer(found["phash_seen"], np.uint8)[1::4]
    assert (energy[:CHANGE_LOOKS] == 0).all() and (energy[CHANGE_LOOKS:] > 20).all()
    # look 8 is frame 24, look 4 frame 12
    late, early = (frequencies(moving[frame], (0, 72, 0, 128))[0].astype(int) for frame in (24, 12))
    bits = np.unpackbits(np.frombuffer(found["phash_change"], np.uint8)[8 * 8 : 9 * 8])
    np.testing.assert_array_equal(bits.astype(bool), late > early)
    levels = np.sqrt(np.square((late - early) / STEPS).sum()) / 32
    assert energy[8] == min(255, round(STEPS * levels))
    assert not np.frombuffer(columns([STILL] * 48)["phash_seen"], np.uint8)[1::4].any()


def test_a_change_of_borders_is_no_movement() -> None:
    boxed = STILL.copy()
    boxed[:10] = 16
    energy = np.frombuffer(columns([STILL] * 24 + [boxed] * 24)["phash_seen"], np.uint8)[1::4]
    assert not energy.any()


def test_parts_are_kept_for_the_half_seconds_of_the_source() -> None:
    meter = Phash()
    rows = feed(meter, pictures(list(pan(3, 48, height=72, width=128)[..., 1])))
    for start in range(0, 13, 3):
        found = read(meter, rows, start, 48)
        first, count = found["phash_start_look"], len(hashes(found["phash"]))
        assert first == start // 3
        halves = [n for n in range(first, first + count) if n % PART_EVERY == 0]
        assert len(found["phash_parts"]) == 32 * len(halves)


def test_a_clip_between_two_looks_has_none() -> None:
    meter = Phash()
    rows = feed(meter, pictures([STILL] * 12))
    assert set(read(meter, rows, 1, 3).values()) == {None}
