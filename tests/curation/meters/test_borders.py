"""Bars of known size about textures."""

import numpy as np
import pytest

from curation.meters.borders import Borders, dark_sides
from tests.curation.meters.feeding import feed, flat, full_pictures, pictures, read
from tests.videos import texture


def barred(*, top: int, bottom: int, left: int = 0, right: int = 0, bar: int = 3) -> np.ndarray:
    """A 1280x720 texture behind bars of so many pixels."""
    luma = texture(5, height=720, width=1280)[..., 1] // 2 + 60
    luma[:top], luma[720 - bottom :] = bar, bar
    luma[:, :left], luma[:, 1280 - right :] = bar, bar
    return luma


def test_letterbox_is_what_stays_dark_in_every_frame() -> None:
    lumas = [texture(i, height=72, width=128)[..., 1] // 2 + 60 for i in range(4)]
    for luma in lumas:
        luma[:9] = luma[-9:] = 3  # an eighth at the top and at the bottom
    lumas[2][-20:] = 3  # more of it is dark in one frame
    lumas.insert(1, flat(0))  # a black frame says nothing
    meter = Borders()
    found = read(meter, feed(meter, pictures(lumas)), 0, 5)
    assert found == pytest.approx(
        {
            "border_pct": 25,
            "border_top_pct": 12.5,
            "border_bottom_pct": 12.5,
            "border_left_pct": 0,
            "border_right_pct": 0,
        }
    )


def test_edges_are_exact_to_a_pixel_of_the_full_picture() -> None:
    meter = Borders()
    luma = barred(top=93, bottom=87, left=7, right=2)  # a small picture's pixel is ten of them
    found = read(meter, feed(meter, full_pictures([luma] * 3)), 0, 3)
    assert found["border_top_pct"] == pytest.approx(100 * 93 / 720)
    assert found["border_bottom_pct"] == pytest.approx(100 * 87 / 720)
    assert found["border_left_pct"] == pytest.approx(100 * 7 / 1280)
    assert found["border_right_pct"] == pytest.approx(100 * 2 / 1280)


def test_what_is_lit_between_the_exact_looks_counts() -> None:
    meter = Borders()
    dark, lit = barred(top=200, bottom=0), barred(top=93, bottom=0)
    rows = feed(
        meter, full_pictures([dark] * 5 + [lit] * 9 + [dark] * 4 + [barred(top=0, bottom=0)])
    )
    # the looks are at the frames 0 and 12
    assert read(meter, rows, 0, 5)["border_top_pct"] == pytest.approx(100 * 200 / 720)
    assert read(meter, rows, 0, 18)["border_top_pct"] == pytest.approx(100 * 93 / 720)
    assert read(meter, rows, 0, 19)["border_top_pct"] == 0


def test_a_shadow_at_the_side_is_no_bar() -> None:
    dark_scene = barred(top=0, bottom=0, left=300)
    y, x = np.mgrid[0:720, 0:1280]
    dark_scene[(x < 300 + 900 * np.abs(y / 720 - 0.5))] = 6  # lit in the shape of an arrow
    meter = Borders()
    assert read(meter, feed(meter, full_pictures([dark_scene] * 3)), 0, 3)["border_pct"] == 0


def test_one_hot_pixel_in_a_bar_lights_nothing() -> None:
    luma = barred(top=90, bottom=90)
    luma[40, 600] = 255
    meter = Borders()
    found = read(meter, feed(meter, full_pictures([luma])), 0, 1)
    assert found["border_top_pct"] == pytest.approx(12.5)


def test_a_dark_picture_with_some_light_has_no_bars_nor_has_a_black_one() -> None:
    night = flat(5)
    night[::6, ::9] = 90  # stars everywhere
    meter = Borders()
    assert read(meter, feed(meter, pictures([night] * 3)), 0, 3)["border_pct"] < 8
    assert read(meter, feed(meter, pictures([flat(0)] * 3)), 0, 3)["border_pct"] == 0
    assert dark_sides(flat(0)) is None
    assert dark_sides(np.diag([0, 0, 200, 0]).astype(np.uint8)) == (2, 1, 2, 1)
