"""What is given in each task, and how often each comes."""

from collections import Counter

import numpy as np
import pytest

from training.masks import TaskMix, draw_known


def known_frames(task: str, frames: int, number: int) -> list[bool]:
    """Given frames of a sample of `frames` x 2 x 2 tokens."""
    mix = TaskMix(text_to_video=1e-9, **{task: 1.0})
    known_THW = draw_known((frames, 2, 2), tasks=mix, rng_key=f"{number}")
    assert (known_THW.all(axis=(1, 2)) == known_THW.any(axis=(1, 2))).all()
    return known_THW[:, 0, 0].tolist()


@pytest.mark.parametrize(
    "task", ["image_to_video", "extend", "extend_back", "interpolate", "subset"]
)
def test_given_frames_of_every_task(task: str) -> None:
    drawn = [known_frames(task, 5, number) for number in range(200)]
    for known in drawn:
        assert 0 < sum(known) < 5
        text = "".join("x" if frame else "." for frame in known)
        ends = text.strip(".")
        if task == "image_to_video":
            assert text == "x...."
        elif task == "extend":
            assert text.startswith("x")
            assert ends == "x" * sum(known)
        elif task == "extend_back":
            assert text.endswith("x")
            assert ends == "x" * sum(known)
        elif task == "interpolate":
            assert text[0] == text[-1] == "x"
            assert text.strip("x") == "." * (5 - sum(known))
    kinds = {tuple(known) for known in drawn}
    expected = {"image_to_video": 1, "extend": 4, "extend_back": 4, "interpolate": 6, "subset": 30}
    assert len(kinds) == expected[task]


def test_in_painting_leaves_a_region_through_all_frames() -> None:
    mix = TaskMix(text_to_video=1e-9, inpaint=1)
    shapes = set()
    for number in range(200):
        known_THW = draw_known((3, 4, 6), tasks=mix, rng_key=f"{number}")
        assert (known_THW == known_THW[0]).all()
        rows, columns = np.nonzero(~known_THW[0])
        box = ~known_THW[0, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert box.all()
        assert 0 < (~known_THW).sum() < known_THW.size
        shapes.add(box.shape)
    assert len(shapes) == 3 * 5


def test_tasks_come_as_often_as_the_mix_says() -> None:
    mix = TaskMix(text_to_video=2, image_to_video=1, interpolate=1)
    counts = Counter(
        draw_known((4, 1, 1), tasks=mix, rng_key=f"{number}")[:, 0, 0].tobytes()
        for number in range(4000)
    )
    assert counts[bytes(4)] / 4000 == pytest.approx(0.5, abs=0.03)
    first_only = bytes([1, 0, 0, 0])
    assert counts[first_only] / 4000 == pytest.approx(0.25, abs=0.03)


def test_a_sample_has_the_tasks_that_it_can_have() -> None:
    """Of an image only a region can be asked for, of two frames no middle."""
    mix = TaskMix(text_to_video=1e-9, extend=1, interpolate=1, inpaint=1e-6)
    image = draw_known((1, 2, 2), tasks=mix, rng_key="a")
    assert 0 < image.sum() < 4
    assert draw_known((1, 1, 1), tasks=mix, rng_key="a").sum() == 0
    for number in range(50):
        two = draw_known((2, 1, 1), tasks=mix, rng_key=f"{number}")[:, 0, 0]
        assert two.tolist() == [True, False]


def test_the_same_sample_and_epoch_give_the_same_mask() -> None:
    mix = TaskMix(text_to_video=1, subset=5, inpaint=1)
    drawn = [draw_known((6, 3, 3), tasks=mix, rng_key=key) for key in ("0/a/1", "0/a/1", "0/a/2")]
    assert (drawn[0] == drawn[1]).all()
    assert any(
        (drawn[0] != draw_known((6, 3, 3), tasks=mix, rng_key=f"0/a/{n}")).any()
        for n in range(2, 9)
    )


def test_a_mix_without_text_to_video_is_refused() -> None:
    with pytest.raises(ValueError, match="text_to_video above 0: a single image has no other"):
        TaskMix(text_to_video=0, extend=1)
    with pytest.raises(ValueError, match="expected weights of 0 or more"):
        TaskMix(extend=-1)
