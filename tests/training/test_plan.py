"""The plan: budgets, fairness, and that it is a function of (index, seed, epoch) and nothing
else.
"""

import itertools
import random

import pytest

from training.models.patches import Grid
from training.plan import Plan, View, make_plan, pack_rows, sample_shape

GRID = Grid(frames=4, pixels=8, patch=(1, 2, 2))


def lengths(count: int, *, longest: int) -> tuple[int, ...]:
    """Like clips: many middling ones, some images, some at the cap."""
    draw = random.Random(0)
    return tuple(
        min(longest, max(20, int(draw.lognormvariate(0, 0.7) * longest / 2))) for _ in range(count)
    )


def test_packs_hold_their_budget_and_every_row_once() -> None:
    tokens = lengths(3000, longest=1000)
    packs = list(pack_rows(list(range(3000)), tokens=tokens, budget_tokens=4000))
    assert sorted(itertools.chain(*packs)) == list(range(3000))
    assert all(sum(tokens[row] for row in pack) <= 4000 for pack in packs)


def test_packs_are_full_and_nobody_starves() -> None:
    tokens = lengths(20_000, longest=1000)
    packs = list(pack_rows(list(range(20_000)), tokens=tokens, budget_tokens=4000))
    fill = [sum(tokens[row] for row in pack) / 4000 for pack in packs]
    assert sum(fill[:-10]) / len(fill[:-10]) >= 0.995  # the pool runs dry in the last few
    newest = 0
    for pack in packs:
        newest = max(newest, *pack)
        assert newest - min(pack) <= 3000


def test_a_worked_example() -> None:
    """The oldest begins; the largest that fits comes next, then the next largest."""
    assert list(pack_rows([0, 1, 2, 3, 4], tokens=(5, 4, 3, 2, 1), budget_tokens=8)) == [
        (0, 2),
        (1, 3, 4),
    ]
    assert list(pack_rows([3, 4, 0], tokens=(8, 0, 0, 2, 1), budget_tokens=8)) == [(3, 4), (0,)]
    assert list(pack_rows([], tokens=(), budget_tokens=8)) == []


def plan(**changes: int) -> Plan:
    knobs = {"seed": 0, "budget_tokens": 4000, "packs_per_step": 4} | changes
    tokens = lengths(200, longest=1000)
    return Plan(tokens=tokens, rows=tuple(range(200)), **knobs)


def test_equal_for_equal_seed_and_epoch_and_different_otherwise() -> None:
    assert list(plan().steps(3)) == list(plan().steps(3))
    assert list(plan().steps(3)) != list(plan().steps(4))
    assert list(plan().steps(3)) != list(plan(seed=1).steps(3))


def test_every_step_has_its_packs_and_knows_its_tokens() -> None:
    steps = list(plan().steps(0))
    for step in steps:
        assert len(step) == 4
        total = sum(plan().tokens[row] for ticket in step for row in ticket.rows)
        assert {ticket.step_tokens for ticket in step} == {total}
    seen = [row for step in steps for ticket in step for row in ticket.rows]
    assert set(seen) == set(range(200))


def test_a_dataset_smaller_than_a_step_is_taken_again() -> None:
    small = Plan(tokens=(10, 10), rows=(0, 1), seed=0, budget_tokens=10, packs_per_step=5)
    (step,) = small.steps(0)
    assert sorted(ticket.rows[0] for ticket in step) in ([0, 0, 0, 1, 1], [0, 0, 1, 1, 1])


@pytest.mark.parametrize(
    ("row", "view", "expected"),
    [
        (
            (100, 24.0, 720, 1280),
            View(area_px=256 * 256, max_frames=33),
            (33, 192, 336, 9 * 12 * 21),
        ),
        (
            (100, 24.0, 720, 1280),
            View(area_px=256 * 256, max_frames=33, fps=8),
            (33, 192, 336, 9 * 12 * 21),
        ),
        ((49, 24.0, 720, 1280), View(area_px=256 * 256, fps=12), (25, 192, 336, 7 * 12 * 21)),
        ((30, 24.0, 64, 64), View(), (29, 64, 64, 8 * 4 * 4)),
        (
            (10, 8.0, 64, 64),
            View(fps=24),
            (9, 64, 64, 3 * 4 * 4),
        ),  # a slower clip gives the frames it has
        ((1, None, 1080, 810), View(area_px=256 * 256), (1, 288, 224, 18 * 14)),  # an image
    ],
)
def test_sample_shape(row: tuple, view: View, expected: tuple[int, ...]) -> None:
    assert sample_shape(*row, grid=GRID, view=view) == expected


def test_a_sample_too_long_for_a_pack_is_refused(dataset: object) -> None:
    from training.index import load_index

    index = load_index(str(dataset))
    with pytest.raises(
        ValueError, match=r"sample clip-4 has \d+ tokens and a pack holds 10: raise"
    ):
        make_plan(
            index,
            rows=range(6),
            grid=Grid(1, 4, (1, 2, 2)),
            view=View(),
            seed=0,
            budget_tokens=10,
            packs_per_step=1,
        )
