"""Frame i of every test file is of grey level 10 i, so pixels say which frame was read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from training.captions import CaptionMix
from training.curriculum import View
from training.index import load_index
from training.masks import TaskMix
from training.models.patches import Grid
from training.reader import ClipReader, frame_indices

GRID = Grid(frames=1, pixels=4, patch=(1, 2, 2))


def reader(
    dataset: Path,
    view: View,
    *,
    seed: int = 0,
    cache_mb: int = 0,
    caption_mix: CaptionMix | None = None,
) -> "Seen":
    index = load_index(str(dataset))
    knobs = {"seed": seed, "cache_mb": cache_mb, "caption_mix": caption_mix}
    return Seen(ClipReader(index, grid=GRID, **knobs), view)


@dataclass
class Seen:
    """A reader under one view."""

    reader: ClipReader
    view: View

    def read(self, number: int, *, epoch: int, purpose: str) -> Any:
        return self.reader.read(number, view=self.view, epoch=epoch, purpose=purpose)


def frame_numbers(video: np.ndarray) -> list[int]:
    return [round(float(frame.mean()) / 10) for frame in video]


@pytest.mark.parametrize("number", range(5))
def test_the_samples_own_frames_are_read(dataset: Path, specs: list, number: int) -> None:
    _, first_frame, num_frames, fps, height, width = specs[number]
    clip = reader(dataset, View()).read(number, epoch=0, purpose="train")
    assert clip.video_THWC.shape == (num_frames, height, width, 3)
    assert frame_numbers(clip.video_THWC.numpy()) == list(
        range(first_frame, first_frame + num_frames)
    )
    assert clip.times_s.tolist() == pytest.approx([i / fps for i in range(num_frames)])
    assert clip.caption == f"grey clip {number}"


def test_an_image_is_a_clip_of_one_frame(dataset: Path) -> None:
    clip = reader(dataset, View(area_px=1536)).read(5, epoch=0, purpose="train")
    assert clip.video_THWC.shape == (1, 32, 48, 3)
    assert (clip.video_THWC == 200).all()
    assert clip.times_s.tolist() == [0.0]


def test_frame_rate_and_window(dataset: Path) -> None:
    clip = reader(dataset, View(fps=8, max_frames=4, window="first")).read(
        2, epoch=0, purpose="train"
    )
    assert frame_numbers(clip.video_THWC.numpy()) == [0, 3, 6, 9]
    assert clip.times_s.tolist() == pytest.approx([0, 1 / 8, 2 / 8, 3 / 8])
    starts = set()
    for epoch in range(20):
        clip = reader(dataset, View(fps=8, max_frames=4)).read(2, epoch=epoch, purpose="train")
        numbers = frame_numbers(clip.video_THWC.numpy())
        assert np.diff(numbers).tolist() == [3, 3, 3]
        starts.add(numbers[0])
    assert starts <= set(range(8))
    assert len(starts) > 4


@pytest.mark.parametrize("fps", [24.0, 23.976, 25.0, 29.97, 30.0, 12.0, 5.0])
def test_every_planned_frame_exists(fps: float) -> None:
    """At any pair of rates the plan's number of frames fits into the clip."""
    from training.plan import sample_shape

    for num_frames in range(1, 80):
        for rate in (3.0, 8.0, 16.0, 24.0):
            view = View(fps=rate)
            frames = sample_shape(num_frames, fps, 64, 64, grid=GRID, view=view).frames
            row = {"num_frames": num_frames, "fps": fps, "first_frame": 7}
            indices = frame_indices(row, frames=frames, view=view, rng_key="any")
            assert indices[0] >= 7
            assert indices[-1] < 7 + num_frames
            assert len(set(indices)) == frames


def test_the_picture_is_cut_about_its_centre_not_bent(dataset: Path) -> None:
    """48 x 80 at 16 x 32 pixels: the aspect 5:3 covers 2:1 and loses rows, not columns."""
    clip = reader(dataset, View(area_px=600)).read(0, epoch=0, purpose="train")
    assert clip.video_THWC.shape[1:3] == (16, 32)


def test_cache_and_order_change_nothing(dataset: Path) -> None:
    view = View(max_frames=3)
    plain, cached = reader(dataset, view), reader(dataset, view, cache_mb=1)
    for epoch in (0, 1, 0, 1):
        for number in (3, 0, 4, 5):
            one = plain.read(number, epoch=epoch, purpose="train")
            other = cached.read(number, epoch=epoch, purpose="train")
            assert one.rng_key == other.rng_key
            assert (one.video_THWC == other.video_THWC).all()
    assert cached.reader.cache.clips


def test_streams_differ_by_seed_epoch_purpose_and_sample(dataset: Path) -> None:
    keys = {
        reader(dataset, View(), seed=seed).read(number, epoch=epoch, purpose=purpose).rng_key
        for seed in (0, 1)
        for epoch in (0, 1)
        for purpose in ("train", "fixed")
        for number in (0, 5)
    }
    assert len(keys) == 16


def captions(read_by: Seen, number: int, *, purpose: str = "train") -> list[str]:
    """The caption of a sample in its first 24 epochs."""
    return [read_by.read(number, epoch=epoch, purpose=purpose).caption for epoch in range(24)]


def test_a_mix_gives_a_sample_other_captions_in_other_epochs(dataset: Path) -> None:
    mix = CaptionMix(dense=1, short=1, fields=1, original=1)
    mixed = reader(dataset, View(max_frames=1, window="first"), cache_mb=1, caption_mix=mix)
    drawn = captions(mixed, 3)
    assert set(drawn) == {
        *("grey clip 3", "grey 3", "MVI 3"),
        *("Clip 3.", "Clip 3. The camera is static.", "The camera is static. Clip 3."),
    }
    # seed, sample and epoch decide, not what was read before or by whom
    other = reader(dataset, View(max_frames=1, window="first"), caption_mix=mix)
    late = [other.read(3, epoch=epoch, purpose="train").caption for epoch in (23, 5, 11)]
    assert late == [drawn[23], drawn[5], drawn[11]]
    # a sample of one caption keeps it, in shards of before the variants too
    assert set(captions(mixed, 4)) == {"grey clip 4"}
    assert set(captions(mixed, 5)) == {"grey clip 5"}


def test_without_a_mix_and_in_evaluation_the_primary_caption_is_read(dataset: Path) -> None:
    view = View(max_frames=1, window="first")
    assert set(captions(reader(dataset, view, cache_mb=1), 3)) == {"grey clip 3"}
    mixed = reader(dataset, view, cache_mb=1, caption_mix=CaptionMix(dense=0, short=1))
    for purpose in ("validate", "fixed"):
        assert set(captions(mixed, 3, purpose=purpose)) == {"grey clip 3"}


def test_a_sample_that_cannot_be_decoded_is_named_and_masked(dataset: Path) -> None:
    broken = reader(dataset, View(max_frames=3))
    index = broken.reader.index
    real = index.read

    def damaged(row: dict, part: Literal["media", "json", "txt"]) -> bytes:
        content = real(row, part)
        return b"not a picture" if row["key"] in ("clip-0", "clip-5") else content

    object.__setattr__(index, "read", damaged)
    for number, shape in ((0, (3, 6, 10)), (5, (1, 8, 12))):
        clip = broken.read(number, epoch=0, purpose="train")
        assert clip.error
        name = f"sample clip-{number} of bucket/bucket-000000.tar cannot be decoded"
        assert clip.error.startswith(name)
        assert clip.video_THWC.shape[:3] == (shape[0], 8 * shape[1], 8 * shape[2])
        assert clip.known_THW.shape == shape
        assert clip.known_THW.all()
    assert broken.read(1, epoch=0, purpose="train").error is None


def test_any_frames_of_a_clip(dataset: Path) -> None:
    """With gaps the frames are any of the clip's, in order, with the times they have there."""
    gapped = reader(dataset, View(max_frames=4, gaps=1.0))
    steps = set()
    for epoch in range(10):
        clip = gapped.read(2, epoch=epoch, purpose="train")
        numbers = frame_numbers(clip.video_THWC.numpy())
        assert numbers == sorted(set(numbers))
        assert clip.times_s.tolist() == pytest.approx([(n - numbers[0]) / 24 for n in numbers])
        steps |= set(np.diff(numbers).tolist())
    assert len(steps) > 3


def test_given_tokens_are_counted_before_anything_is_read(dataset: Path) -> None:
    mixed = reader(dataset, View(max_frames=5))
    mixed.reader.tasks = TaskMix(text_to_video=0.1, extend=1, inpaint=1, subset=1)
    for number in range(6):
        for epoch in range(5):
            known_THW = mixed.read(number, epoch=epoch, purpose="train").known_THW
            targets = mixed.reader.num_targets(number, view=View(max_frames=5), epoch=epoch)
            assert targets == int((~known_THW).sum())
            assert targets > 0
    assert not mixed.read(0, epoch=0, purpose="validate").known_THW.any()
