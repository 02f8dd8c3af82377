"""Overlays burned into moving and standing textures."""

import cv2
import numpy as np
import pytest

from curation.meters.overlay import HEIGHT, WIDTH, Blob, Overlay, edges, place
from tests.curation.meters.feeding import feed, full_pictures, read
from tests.videos import texture

FPS = 2.0  # every frame is a look
WORLD = texture(11, height=900, width=3200)[..., 1] // 2 + 50


def moving(*, step_px: int, num_frames: int = 12) -> list[np.ndarray]:
    """640x360 frames of a camera that pans by so many pixels a look."""
    return [WORLD[300:660, step_px * i : step_px * i + 640].copy() for i in range(num_frames)]


def titled(frames: list[np.ndarray], text: str, *, x: int, y: int) -> list[np.ndarray]:
    """With white text outlined in black, as a subtitle is."""
    for frame in frames:
        for level, thickness in ((10, 4), (240, 1)):
            cv2.putText(
                frame, text, (x, y), cv2.FONT_HERSHEY_DUPLEX, 0.8, level, thickness, cv2.LINE_AA
            )
    return frames


def found(frames: list[np.ndarray]) -> dict:
    meter = Overlay()
    return read(meter, feed(meter, full_pictures(frames, fps=FPS)), 0, len(frames), fps=FPS)


def test_a_moving_picture_alone_has_no_overlay() -> None:
    assert found(moving(step_px=40)) == {"overlay_pct": 0, "overlay_place": None}


def test_a_subtitle_is_found_where_it_is() -> None:
    frames = titled(moving(step_px=40), "as the narrator says", x=180, y=330)
    (width, height), below = cv2.getTextSize(
        "as the narrator says", cv2.FONT_HERSHEY_DUPLEX, 0.8, 4
    )
    worked_out = 100 * width * (height + below) / (640 * 360)
    clip = found(frames)
    assert clip["overlay_pct"] == pytest.approx(worked_out, rel=0.35)
    assert clip["overlay_place"] == "lower third"


def test_a_translucent_logo_is_found_in_its_corner() -> None:
    frames = moving(step_px=40)
    for frame in frames:
        mark = np.zeros_like(frame)
        cv2.circle(mark, (590, 40), 18, 255, -1)
        cv2.putText(mark, "TV", (578, 46), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 0, 2)
        frame[mark > 0] = frame[mark > 0] // 2 + 127
    clip = found(frames)
    assert clip["overlay_pct"] == pytest.approx(100 * np.pi * 18**2 / (640 * 360), rel=0.7)
    assert clip["overlay_place"] == "corner"


def test_a_subtitle_of_three_seconds_is_found_in_a_longer_clip() -> None:
    frames = moving(step_px=40, num_frames=24)
    titled(frames[6:16], "as the narrator says", x=180, y=330)
    assert found(frames)["overlay_place"] == "lower third"


def test_a_picture_that_stands_still_has_no_verdict() -> None:
    nothing = {"overlay_pct": None, "overlay_place": None}
    rng = np.random.default_rng(0)
    locked_off = [
        np.clip(f + rng.normal(0, 3, f.shape), 0, 255).astype(np.uint8) for f in moving(step_px=0)
    ]
    assert found(locked_off) == nothing
    for i, frame in enumerate(locked_off):  # and where a subject passes before it
        frame[100:300, 40 * i : 40 * i + 160] = WORLD[:200, :160]
    assert found(locked_off) == nothing
    assert found(titled(locked_off, "as the narrator says", x=180, y=330)) == nothing
    assert found([np.full((360, 640), 90, np.uint8)] * 12) == nothing  # no edges at all
    assert found(moving(step_px=40, num_frames=6)) == nothing  # shorter than a look of 3 s


def test_horizons_and_bars_are_no_edges_of_letters() -> None:
    image = np.full((HEIGHT, WIDTH), 40, np.uint8)
    image[60:] = 200
    assert not edges(image).any()
    image[60:70, 100:110] = 40  # a corner
    assert edges(image)[58:72, 97:113].any()


def test_looks_are_twice_a_second_and_a_bit_a_place() -> None:
    meter = Overlay()
    rows = feed(meter, full_pictures(moving(step_px=4, num_frames=25), fps=10.0))
    assert rows["frame"].tolist() == [0, 5, 10, 15, 20]
    assert rows.dtype["edges"].itemsize == WIDTH * HEIGHT // 8 == 4608


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (0.9, 0.1, "corner"),
        (0.1, 0.9, "corner"),
        (0.5, 0.9, "lower third"),
        (0.5, 0.5, "elsewhere"),
        (0.5, 0.05, "elsewhere"),
    ],
)
def test_places(x: float, y: float, expected: str) -> None:
    assert place(Blob(x, y, 99)) == expected
