"""Which frames a model sees, how large, and what they cost."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from captioning.frames import FrameReader, Frames, Shown, pick
from tests.videos import turn_header, write_video

QWEN3 = Frames(per_s=2, min_frames=4, max_frames=8, patch_px=32)


@dataclass
class At:
    """A picture as far as choosing looks at it."""

    time: float


def test_frames_are_taken_in_the_middle_of_equal_stretches() -> None:
    assert QWEN3.times_s(10.0, 12.0) == [10.25, 10.75, 11.25, 11.75]
    assert [QWEN3.count(s) for s in (0.0, 0.5, 3.0, 4.0, 60.0)] == [1, 4, 6, 8, 8]
    assert QWEN3.times_s(0.0, 60.0)[-1] == 56.25  # spread over all of it: no end is left out


def test_sizes_lie_on_the_grid_between_the_bounds() -> None:
    frames = Frames(patch_px=32, min_pixels=64 * 1024, max_pixels=256 * 1024)
    assert frames.size((1920, 1080)) == (672, 384)
    assert frames.size((640, 360)) == (640, 352)  # 360 is not on the grid
    assert frames.size((1080, 1920)) == (384, 672)
    for display in ((160, 120), (20, 400), (4096, 64), (33, 31), (3840, 2160)):
        width, height = frames.size(display)
        assert width % 32 == height % 32 == 0 and min(width, height) >= 32
        assert 64 * 1024 <= width * height <= 256 * 1024
    # as near to the aspect as one patch allows
    assert frames.size((160, 120)) == (320, 224)


def test_tokens_are_patches_of_frame_pairs() -> None:
    video = Frames(patch_px=32, max_pixels=256 * 1024)
    assert video.tokens(8, (1920, 1080)) == 4 * 21 * 12
    assert video.tokens(7, (1920, 1080)) == 4 * 21 * 12
    pictures = Frames(send_as="images", patch_px=28, min_pixels=28 * 28, max_pixels=320 * 28 * 28)
    assert pictures.tokens(8, (280, 140)) == 8 * 10 * 5
    assert Frames(send_as="images", tokens_per_frame=256).tokens(5, (9, 9)) == 5 * 256


def test_words_about_knobs() -> None:
    with pytest.raises(ValueError, match="1 <= min_frames <= max_frames"):
        Frames(min_frames=9, max_frames=8)
    with pytest.raises(ValueError, match="min_pixels = 4, max_pixels"):
        Frames(min_pixels=4)


def test_what_is_on_the_screen_at_a_time_is_chosen_once() -> None:
    shown = [At(0.0), At(0.1), At(1.0), At(1.1)]  # a rate that varies: nothing between 0.1 and 1
    assert [p.time for p in pick(iter(shown), [0.05, 0.3, 0.7, 1.05])] == [0.0, 0.1, 1.0]
    assert [p.time for p in pick(iter(shown), [1.5, 1.9])] == [1.1]
    assert pick(iter([]), [0.5]) == []
    assert [p.time for p in pick(iter([At(0.2)]), [0.1, 0.3])] == [0.2]


def clip(start_s: float, end_s: float, *, num_frames: int = 24) -> dict[str, Any]:
    return {"clip_id": f"{start_s}", "start_s": start_s, "end_s": end_s, "num_frames": num_frames}


def decoded(jpeg: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    return image


def grey_levels(shown: Shown) -> list[int]:
    images = [decoded(jpeg) for jpeg in shown.jpegs]
    assert {image.shape[::-1] for image in images} == {shown.size}
    return [round(float(image.mean())) for image in images]


def test_the_frames_of_clips_are_those_of_their_times(tmp_path: Path) -> None:
    frames = np.repeat(np.arange(96, dtype=np.uint8) * 2, 64 * 96 * 3).reshape(96, 64, 96, 3)
    path = write_video(tmp_path / "a.mp4", frames, fps=24, options={"crf": "1"})
    small = Frames(per_s=4, min_frames=2, max_frames=4, patch_px=32, min_pixels=32 * 32)
    reader = FrameReader(path, small)
    (_, one), (_, two) = reader.read([clip(0.0, 1.0), clip(2.0, 2.5)])
    assert isinstance(one, Shown) and isinstance(two, Shown)
    assert one.times_s == pytest.approx([0.125, 0.375, 0.625, 0.875]) and one.length_s == 1.0
    assert grey_levels(one) == pytest.approx([6, 18, 30, 42], abs=2)
    assert two.times_s == pytest.approx([0.125, 0.375])
    assert grey_levels(two) == pytest.approx([2 * 51, 2 * 57], abs=2)
    assert reader.num_decoded <= 62  # up to the second clip's end, once


def test_a_turned_phone_and_a_still_image_stand_upright(tmp_path: Path) -> None:
    half = np.zeros((24, 64, 128, 3), np.uint8)
    half[:, :, 64:] = 200  # the stored right half is bright: below, after a turn by 90 degrees
    path = write_video(tmp_path / "a.mp4", half)
    turn_header(path, degrees_clockwise=90)
    frames = Frames(patch_px=32, min_pixels=32 * 32)
    ((_, shown),) = FrameReader(path, frames).read([clip(0.0, 1.0)])
    assert isinstance(shown, Shown) and shown.size == (64, 128)
    image = decoded(shown.jpegs[0])
    assert image[:56].mean() < 20 and image[72:].mean() > 180
    assert cv2.imwrite(str(tmp_path / "b.png"), half[0])
    ((_, still),) = FrameReader(tmp_path / "b.png", frames).read([clip(0, 0, num_frames=1)])
    assert isinstance(still, Shown) and (still.times_s, still.length_s) == ([0.0], 0.0)
    assert still.size == (128, 64)


def test_what_cannot_be_read_is_told_of_every_clip(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"nothing" * 99)
    found = list(FrameReader(tmp_path / "a.mp4", Frames()).read([clip(0, 1), clip(1, 2)]))
    assert [row["start_s"] for row, _ in found] == [0, 1]
    assert all(isinstance(why, str) and ": " in why for _, why in found)
    path = write_video(tmp_path / "b.mp4", half := np.zeros((12, 32, 32, 3), np.uint8))
    assert len(half) == 12
    ((_, why),) = FrameReader(path, Frames()).read([clip(50, 51)])
    assert isinstance(why, str) and why.startswith("no_frames: ")
