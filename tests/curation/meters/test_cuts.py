"""Shots of films put together in the test, so that every transition is known."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from curation.bench.cuts import Tally, judge
from curation.meters.cuts import (
    REACH,
    SCORE,
    Cuts,
    Detector,
    Transition,
    residual_of_clip,
    transitions,
    without_returns,
)
from curation.meters.cuts.meter import without_damage
from curation.video.decode import DecodePass
from curation.video.picture import Picture, fingerprint, small_planes, small_size
from tests.videos import pan


def shot(seed: int, num_frames: int, *, step_px: int = 1) -> np.ndarray:
    """A moving texture, the darker the lower its seed."""
    frames = pan(seed, num_frames, height=72, width=128, step_px=step_px)
    return (frames * min(1.0, 0.3 + 0.2 * seed)).astype(np.uint8)


def tripod(seed: int, num_frames: int) -> np.ndarray:
    """A picture that only a sensor's noise moves."""
    noise = np.random.default_rng(seed).normal(0, 2, (num_frames, 72, 128, 1))
    return np.clip(shot(seed, num_frames, step_px=0) + noise, 0, 255).astype(np.uint8)


def pictures(frames_THWC: np.ndarray, *, first: int = 0) -> list[Picture]:
    found = []
    for i, rgb in enumerate(frames_THWC, start=first):
        y, v, u = cv2.split(cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2YCrCb))
        found.append(Picture(i, i / 24, (y, u[::2, ::2].copy(), v[::2, ::2].copy())))
    return found


def score(frames_THWC: np.ndarray, *, detector: Detector = "network") -> np.ndarray:
    cuts = Cuts(detector=detector)
    for picture in pictures(frames_THWC):
        cuts.update(picture)
    return cuts.scores()


def found_in(
    frames_THWC: np.ndarray, *, detector: Detector = "network", min_shot_frames: int = 6
) -> list[Transition]:
    return decide(score(frames_THWC, detector=detector), min_shot_frames=min_shot_frames)


def decide(scores: np.ndarray, *, min_shot_frames: int = 6) -> list[Transition]:
    return transitions(
        scores, threshold=None, gradual_threshold=None, min_shot_frames=min_shot_frames
    )


def mix(a: np.ndarray, b: np.ndarray, alpha_THW: np.ndarray) -> np.ndarray:
    """a, then as many frames as alpha has in which its end becomes b's beginning, then b's rest."""
    n = len(alpha_THW)
    mixed = a[-n:] + (b[:n].astype(np.float32) - a[-n:]) * alpha_THW[..., None]
    return np.concatenate([a[:-n], mixed.astype(np.uint8), b[n:]])


def rising(num_frames: int) -> np.ndarray:
    return ((np.arange(num_frames) + 1) / (num_frames + 1))[:, None, None]


def dissolve(a: np.ndarray, b: np.ndarray, *, num_frames: int) -> np.ndarray:
    return mix(a, b, np.broadcast_to(rising(num_frames), (num_frames, 72, 128)))


def wipe(a: np.ndarray, b: np.ndarray, *, num_frames: int, soft: float, turns: int) -> np.ndarray:
    """b comes in from one of four sides."""
    place = np.broadcast_to(np.linspace(0, 1, 128), (72, 128))
    if turns % 2:
        place = np.broadcast_to(np.linspace(0, 1, 72)[:, None], (72, 128))
    place = 1 - place if turns >= 2 else place
    return mix(a, b, np.clip((rising(num_frames) * (1 + soft) - place) / soft, 0, 1))


@pytest.mark.parametrize("detector", ["network", "adaptive", "content", "histogram", "hash"])
def test_hard_cuts_are_found_at_their_frame(detector: Detector) -> None:
    film = np.concatenate([shot(1, 40), shot(4, 45), shot(1, 50)[:, ::-1]])
    assert found_in(film, detector=detector) == [Transition(40, 40), Transition(85, 85)]


@pytest.mark.parametrize("step_px", [0, 2, 5])
def test_a_film_of_one_shot_has_no_transition(step_px: int) -> None:
    assert found_in(shot(1, 90, step_px=step_px)) == []
    assert found_in(shot(3, 1)) == []
    assert found_in(tripod(2, 60)) == []


def test_a_shot_of_nine_frames_is_found() -> None:
    film = np.concatenate([shot(1, 40), shot(4, 9), shot(2, 40)])
    assert found_in(film) == [Transition(40, 40), Transition(49, 49)]


def test_a_jump_cut_within_a_scene_is_found() -> None:
    """The same view, and what moves in it is suddenly elsewhere and seen from nearer."""
    long = shot(3, 200)
    near = np.stack([cv2.resize(f[10:60, 20:108], (128, 72)) for f in long[120:170]])
    assert found_in(np.concatenate([long[:50], near])) == [Transition(50, 50)]


@pytest.mark.parametrize("num_frames", [8, 20, 60])
def test_a_dissolve_is_a_gap_and_no_cut(num_frames: int) -> None:
    film = dissolve(tripod(1, 40 + num_frames), tripod(3, 40 + num_frames), num_frames=num_frames)
    (found,) = found_in(film)
    assert found.kind == "gradual"
    slack = max(3, num_frames // 6)
    assert abs(found.start - 40) <= slack and abs(found.end - 40 - num_frames) <= slack


@pytest.mark.parametrize("tone", [0, 255])
def test_a_fade_through_one_tone_is_one_transition(tone: int) -> None:
    a, b = tripod(2, 60), tripod(3, 60)
    weight = np.linspace(0, 1, 18)[:, None, None, None]
    down = a[-18:] + (tone - a[-18:].astype(float)) * weight
    up = b[:18] + (tone - b[:18].astype(float)) * weight[::-1]
    held = np.full((8, 72, 128, 3), tone)
    film = np.concatenate([a[:-18], down, held, up, b[18:]]).astype(np.uint8)
    (found,) = found_in(film)
    assert found.kind == "gradual" and abs(found.start - 42) <= 4 and abs(found.end - 86) <= 4


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("soft", [0.01, 0.3])
def test_wipes_from_every_side_are_found(turns: int, soft: float) -> None:
    film = wipe(tripod(2, 60), tripod(4, 60), num_frames=18, soft=soft, turns=turns)
    (found,) = found_in(film)
    assert found.kind == "gradual" and found.start < 57 and found.end > 45


def test_flashes_are_no_cuts() -> None:
    film = shot(2, 100)
    film[40] = 250
    film[70:72] = np.clip(film[70:72].astype(int) + 150, 0, 255)
    assert found_in(film) == []


def test_a_fast_pan_is_no_cut() -> None:
    fast = pan(2, 60, height=72, width=128, step_px=12)
    film = np.concatenate([np.repeat(fast[:1], 40, 0), fast, np.repeat(fast[-1:], 40, 0)])
    assert found_in(film) == []


def test_something_that_passes_near_the_camera_is_no_transition() -> None:
    film = tripod(3, 100)
    for i in range(20):
        left = i * 12 - 70
        film[40 + i, :, max(0, left) : max(0, left + 70)] = (30, 25, 60)
    assert found_in(film) == []


def test_damage_hides_what_is_found_on_it() -> None:
    rows = np.zeros(6, SCORE)
    rows["cut"], rows["gradual"] = 0.9, 0.8
    clean = without_damage(rows, np.array([False, False, True, True, False, False]))
    kept = np.array([0.9, 0.9, 0, 0, 0, 0.9], np.float32)
    np.testing.assert_array_equal(clean["cut"], kept)


def test_scores_depend_on_frames_within_reach_alone() -> None:
    film = dissolve(
        np.concatenate([shot(1, 150), shot(4, 150, step_px=2)]), shot(3, 200), num_frames=30
    )
    whole = score(film)
    a, b = 130, 370  # a piece with REACH more on either side
    piece = score(film[a - REACH : b + REACH])[REACH:-REACH]
    for name in ("cut", "gradual"):
        np.testing.assert_allclose(piece[name], whole[name][a:b], atol=1e-6)
    np.testing.assert_array_equal(piece["blank"], whole["blank"][a:b])
    changed = film.copy()
    changed[: a - REACH] = 255 - changed[: a - REACH]
    np.testing.assert_allclose(score(changed)["cut"][a:], whole["cut"][a:], atol=1e-6)


def test_no_frames_give_no_scores() -> None:
    for detector in ("network", "adaptive"):
        assert len(Cuts(detector=detector).scores()) == 0


def test_a_stream_that_changes_its_size_is_scored() -> None:
    cuts = Cuts(detector="network")
    small = [np.ascontiguousarray(f[::2, ::2]) for f in shot(3, 20)]
    for picture in [*pictures(shot(3, 20)), *pictures(np.stack(small), first=20)]:
        cuts.update(picture)
    assert len(cuts.scores()) == 40


def test_a_clip_that_still_holds_a_cut_is_told_by_its_frames() -> None:
    whole = pictures(np.concatenate([shot(1, 40), shot(4, 40)]))
    assert residual_of_clip(whole) > 0.5
    assert residual_of_clip(whole[:40]) < 0.5 and residual_of_clip(whole[40:]) < 0.5


# -- real footage ----------------------------------------------------------------------------------


def test_real_cuts_and_gradual_transitions_are_found(footage: Path) -> None:
    known = json.loads((footage / "cuts.json").read_text())
    tally = Tally()
    for name in (
        "edit_dev_25fps.mp4",
        "sintel_trailer_30s.mp4",
        "bbb_0_30.webm",
        "nasa_13013_multistream.mp4",
        "stream-of-water-audioless.webm",
        "car-detection.mp4",
        "friday.mp4",
        "chaplin.mp4",
        "flower_mjpeg.avi",
    ):
        decode, cuts, prints = DecodePass(footage / name), Cuts(detector="network"), []
        for frame in decode:
            size = small_size(*decode.display_size())
            planes = small_planes(frame.picture, size=size, rotation=decode.rotation)
            cuts.update(Picture(frame.index, frame.time_s, planes))
            prints.append(np.frombuffer(fingerprint(planes[0]), np.uint8))
        scores = without_returns(cuts.scores(), np.array(prints))
        judge(tally, decide(scores), known[name], name=name, num_frames=len(scores))
    assert tally.hard()[2] >= 0.95, (tally.wrong, tally.missed)
    recall, precision = tally.gradual()
    assert recall >= 0.85 and precision >= 0.8, (tally.gradual_missed, tally.gradual_wrong)
