"""Shots of films put together in the test, so that every transition is known."""

import numpy as np
import pytest

from curation.meters.cuts import Cuts, Detector, Transition, blends, is_blend, join
from curation.video.picture import Picture
from tests.videos import pan


def shot(seed: int, num_frames: int, *, step_px: int = 1) -> np.ndarray:
    """A moving texture, the darker the lower its seed."""
    frames = pan(seed, num_frames, height=72, width=128, step_px=step_px)
    return (frames * min(1.0, 0.3 + 0.2 * seed)).astype(np.uint8)


def tripod(seed: int, num_frames: int) -> np.ndarray:
    """A picture that only a sensor's noise moves."""
    noise = np.random.default_rng(seed).normal(0, 2, (num_frames, 72, 128, 1))
    return np.clip(shot(seed, num_frames, step_px=0) + noise, 0, 255).astype(np.uint8)


def transitions(frames_THWC: np.ndarray, *, detector: Detector = "adaptive") -> list[Transition]:
    cuts = Cuts(detector=detector, threshold=None, min_shot_frames=6)
    for i, image in enumerate(frames_THWC):
        cuts.update(Picture(i, i / 24, image[..., 1], image[..., ::-1].copy(), is_corrupt=False))
    return cuts.transitions()


def dissolve(a: np.ndarray, b: np.ndarray, *, num_frames: int) -> np.ndarray:
    """a, then num_frames in which its end fades into b's beginning, then the rest of b."""
    weight = (np.arange(1, num_frames + 1) / (num_frames + 1))[:, None, None, None]
    mixed = (1 - weight) * a[-num_frames:] + weight * b[:num_frames]
    return np.concatenate([a[:-num_frames], mixed.astype(np.uint8), b[num_frames:]])


@pytest.mark.parametrize("detector", ["adaptive", "content", "histogram", "hash"])
def test_hard_cuts_are_found_at_their_frame(detector: Detector) -> None:
    film = np.concatenate([shot(1, 30), shot(4, 25), shot(1, 40)[:, ::-1]])
    assert transitions(film, detector=detector) == [Transition(30, 30), Transition(55, 55)]


def test_a_film_of_one_shot_has_no_transition() -> None:
    assert transitions(shot(1, 60, step_px=2)) == []
    assert transitions(shot(1, 1)) == []


def test_a_dissolve_is_a_gap_and_no_cut() -> None:
    film = dissolve(tripod(1, 50), tripod(2, 60), num_frames=20)  # frames 30..49 are mixed
    (found,) = transitions(film)
    assert found.kind == "gradual"
    assert abs(found.start - 30) <= 3 and abs(found.end - 50) <= 3


def test_a_fade_through_black_is_gradual() -> None:
    a, b = tripod(1, 40), tripod(2, 40)
    down = (a[:16] * np.linspace(1, 0, 16)[:, None, None, None]).astype(np.uint8)
    up = (b[:16] * np.linspace(0, 1, 16)[:, None, None, None]).astype(np.uint8)
    found = transitions(np.concatenate([a, down, up, b]))
    assert found and all(t.kind == "gradual" for t in found)
    assert found[0].start >= 34 and found[-1].end <= 78


def test_a_blend_lies_on_the_line_between_its_ends() -> None:
    a, b = np.zeros(100, np.float32), np.full(100, 90, np.float32)
    weights = [0, 0.2, 0.5, 0.8, 1.0]
    assert is_blend(np.stack([(1 - w) * a + w * b for w in weights]))
    assert not is_blend(np.stack([(1 - w) * a + w * b for w in [0, 0.6, 0.5, 0.8, 1.0]]))
    assert not is_blend(np.stack([a, a, a, a, a]))
    one = b.copy()
    one[10:] = 0  # an object passes over a tenth of the picture
    assert not is_blend(np.stack([(1 - w) * a + w * one * 5 for w in weights]))


def test_a_window_with_a_hard_cut_is_not_asked() -> None:
    film = np.concatenate([shot(1, 40)[:, ::4, ::4], shot(2, 40)[:, ::4, ::4]])
    assert blends(film, cuts=[40]) == []


def test_slivers_beside_a_gradual_transition_belong_to_it() -> None:
    gradual, cut = Transition(20, 30), Transition(33, 33)
    assert join([gradual], [cut], num_frames=100, min_shot_frames=6) == [Transition(20, 33)]
    assert join([Transition(3, 9)], [], num_frames=100, min_shot_frames=6) == [Transition(0, 9)]
    assert join([Transition(80, 97)], [], num_frames=100, min_shot_frames=6) == [
        Transition(80, 100)
    ]
    far = Transition(60, 60)
    assert join([gradual], [far], num_frames=100, min_shot_frames=6) == [gradual, far]
