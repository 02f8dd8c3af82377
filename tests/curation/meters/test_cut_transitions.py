"""From scores to transitions, and what is left inside a clip: on scores made by hand."""

import numpy as np
import pytest

from curation.meters.cuts import RESIDUAL_WRITES, SCORE, Transition, residual, transitions


def decide(scores: np.ndarray, *, min_shot_frames: int = 6) -> list[Transition]:
    return transitions(
        scores, threshold=None, gradual_threshold=None, min_shot_frames=min_shot_frames
    )


def rows(
    num_frames: int,
    *,
    cut: dict[int, float] | None = None,
    gradual: tuple[tuple[int, int], ...] = (),
    blank: tuple[tuple[int, int], ...] = (),
) -> np.ndarray:
    made = np.zeros(num_frames, SCORE)
    for t, value in (cut or {}).items():
        made["cut"][t] = value
    for a, b in gradual:
        made["gradual"][a:b] = 0.9
    for a, b in blank:
        made["blank"][a:b] = True
    return made


def test_of_neighbouring_peaks_the_highest_is_the_cut() -> None:
    assert decide(rows(60, cut={29: 0.6, 30: 0.9, 31: 0.7})) == [Transition(30, 30)]
    assert decide(rows(60, cut={30: 0.7, 34: 0.9})) == [Transition(34, 34)]
    assert decide(rows(60, cut={30: 0.7, 34: 0.9}), min_shot_frames=4) == [
        Transition(30, 30),
        Transition(34, 34),
    ]
    assert decide(rows(60, cut={0: 0.9})) == []


def test_a_cut_inside_a_gradual_transition_is_part_of_it() -> None:
    assert decide(rows(100, cut={40: 0.9}, gradual=((30, 50),))) == [Transition(30, 50)]
    assert decide(rows(100, cut={40: 0.9}, gradual=((39, 42),))) == [Transition(40, 40)]


def test_slivers_beside_a_gradual_transition_belong_to_it() -> None:
    assert decide(rows(100, cut={33: 0.9}, gradual=((20, 30),))) == [Transition(20, 33)]
    assert decide(rows(100, gradual=((3, 12),))) == [Transition(0, 12)]
    assert decide(rows(100, gradual=((80, 97),))) == [Transition(80, 100)]
    assert decide(rows(100, cut={60: 0.9}, gradual=((20, 30),))) == [
        Transition(20, 30),
        Transition(60, 60),
    ]


def test_black_between_two_fades_is_part_of_the_transition() -> None:
    faded = rows(300, gradual=((20, 40), (200, 220)), blank=((40, 200),))
    assert decide(faded) == [Transition(20, 220)]


def test_black_between_two_cuts_is_a_shot() -> None:
    plain = rows(100, cut={30: 0.9, 60: 0.9}, blank=((30, 60),))
    assert decide(plain) == [Transition(30, 30), Transition(60, 60)]


def test_a_cut_into_black_before_a_fade_in_is_both() -> None:
    assert decide(rows(100, cut={30: 0.9}, gradual=((45, 60),), blank=((30, 45),))) == [
        Transition(30, 30),
        Transition(30, 60),
    ]


def test_thresholds_move_what_counts() -> None:
    made = rows(60, cut={30: 0.4})
    assert decide(made) == []
    low = transitions(made, threshold=0.3, gradual_threshold=None, min_shot_frames=6)
    assert low == [Transition(30, 30)]


def test_residual_is_the_highest_score_strictly_inside_a_clip() -> None:
    made = rows(100, cut={30: 0.45, 60: 0.99, 62: 0.8})
    assert residual(made, 10, 60) == {"residual_cut_score": pytest.approx(0.45)}
    assert residual(made, 30, 60) == {"residual_cut_score": 0.0}
    assert residual(made, 60, 100) == {"residual_cut_score": 0.0}  # 62 is the shadow of 60
    assert residual(made, 50, 70)["residual_cut_score"] == pytest.approx(0.99)
    assert residual(made[59:61], 0, 2)["residual_cut_score"] == pytest.approx(0.99)
    assert residual(made, 5, 6) == {"residual_cut_score": None}
    assert list(residual(made, 0, 100)) == RESIDUAL_WRITES.names


def test_no_scores_give_no_transitions() -> None:
    assert decide(np.zeros(0, SCORE)) == []
