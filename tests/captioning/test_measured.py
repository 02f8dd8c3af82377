import pytest

from captioning.measured import sentence

SIZE = {"width": 640, "height": 360}


def test_every_measured_column_is_said_with_its_number() -> None:
    row = SIZE | {
        "num_frames": 80,
        "start_s": 2.0,
        "end_s": 5.2,
        "fps": 25.0,
        "luma_mean_pct": 12.4,
        "black_frames_pct": 50.0,
        "blown_frames_pct": 0.0,
        "motion_width_pct_per_s": 3.14,
        "longest_freeze_s": 1.25,
        "border_pct": 24.6,
    }
    assert sentence(row) == (
        "A landscape video clip of 640 by 360 pixels, 3.2 seconds long at 25 frames per second; "
        "brightness is low (mean 12%); 50% of the frames are black; "
        "there is moderate motion (3.1% of the picture's width per second); "
        "the picture stands still for 1.2 seconds; borders cover 25% of its area."
    )


def test_what_was_not_measured_is_not_said() -> None:
    row = SIZE | {"num_frames": 2, "luma_mean_pct": None, "start_s": None, "fps": None}
    assert sentence(row) == "A landscape video clip of 640 by 360 pixels."
    assert sentence({"width": None, "height": None, "luma_mean_pct": 50.0}) is None


def test_a_still_image_has_neither_length_nor_motion() -> None:
    row = {"width": 300, "height": 400, "num_frames": 1, "start_s": 0.0, "end_s": 0.04, "fps": 25.0}
    row |= {"motion_width_pct_per_s": 0.0, "luma_mean_pct": 70.0}
    assert sentence(row) == (
        "A portrait still image of 300 by 400 pixels; brightness is high (mean 70%)."
    )


@pytest.mark.parametrize(
    ("speed", "word"),
    [(0.0, "hardly any"), (0.99, "hardly any"), (1.0, "moderate"), (14.3, "fast")],
)
def test_motion_words_change_at_their_cut_points(speed: float, word: str) -> None:
    said = sentence(SIZE | {"num_frames": 50, "motion_width_pct_per_s": speed})
    assert said is not None and f"there is {word} motion" in said


@pytest.mark.parametrize(("width", "word"), [(400, "square"), (419, "square"), (420, "landscape")])
def test_shape_words(width: int, word: str) -> None:
    said = sentence({"width": width, "height": 400, "num_frames": 9})
    assert said is not None and said.startswith(f"A {word} video")
