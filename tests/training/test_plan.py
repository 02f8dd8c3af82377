"""The plan: budgets, fairness, balance, and that it is a function of (index, seed, epoch, phase)
and nothing else.
"""

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest

from training.curriculum import Phase, View
from training.index import Index, load_index
from training.models.cost import Cost
from training.models.patches import Grid
from training.plan import SHUFFLE_SAMPLES, Plan, deal, make_plan, pack_rows, sample_shape

GRID = Grid(frames=4, pixels=8, patch=(1, 2, 2))
COST = Cost(width=512, depth=12, mlp_ratio=4.0, token_width=64, attention="full", causal=True)


def lengths(count: int, *, longest: int) -> list[int]:
    """Like clips: many middling ones, some images, some at the cap."""
    draw = random.Random(0)
    return [
        min(longest, max(20, int(draw.lognormvariate(0, 0.7) * longest / 2))) for _ in range(count)
    ]


def packed(tokens: list[int], budget_tokens: int) -> list[tuple[int, ...]]:
    return list(pack_rows(iter(enumerate(tokens)), budget_tokens))


def test_packs_hold_their_budget_and_every_row_once() -> None:
    tokens = lengths(3000, longest=1000)
    packs = packed(tokens, 4000)
    assert sorted(itertools.chain(*packs)) == list(range(3000))
    assert all(sum(tokens[row] for row in pack) <= 4000 for pack in packs)


def test_packs_are_full_and_nobody_starves() -> None:
    tokens = lengths(20_000, longest=1000)
    packs = packed(tokens, 4000)
    fill = [sum(tokens[row] for row in pack) / 4000 for pack in packs]
    assert sum(fill[:-10]) / len(fill[:-10]) >= 0.995  # the pool runs dry in the last few
    newest = 0
    for pack in packs:
        newest = max(newest, *pack)
        assert newest - min(pack) <= 3000


def test_a_worked_example() -> None:
    """The oldest begins; the largest that fits comes next, then the next largest."""
    assert packed([5, 4, 3, 2, 1], 8) == [(0, 2), (1, 3, 4)]
    assert list(pack_rows(iter([(3, 2), (4, 1), (0, 8)]), 8)) == [(3, 4), (0,)]
    assert packed([], 8) == []


def plan(*, num: int = 200, **changes: object) -> Plan:
    """A plan of `num` rows in shards of 20, whose cost is the square of their tokens."""
    tokens = np.array(lengths(num, longest=1000))
    made = Plan(
        phase=Phase(budget_tokens=4000),
        seed=0,
        packs_per_step=4,
        shards=tuple(np.split(np.arange(num), range(20, num, 20))),
        tokens=tokens,
        image_tokens=np.full(num, 7),
        cost=tokens.astype(float) ** 2,
        image_cost=np.full(num, 49.0),
        is_video=np.arange(num) % 10 > 0,
    )
    return replace(made, **changes)  # pyright: ignore[reportArgumentType]


def rows_of(plan: Plan, epoch: int = 0) -> list[int]:
    return [row for step in plan.steps(epoch) for pack in step for row in pack]


def test_equal_for_equal_seed_and_epoch_and_different_otherwise() -> None:
    assert list(plan().steps(3)) == list(plan().steps(3))
    assert list(plan().steps(3)) != list(plan().steps(4))
    assert list(plan().steps(3)) != list(plan(seed=1).steps(3))


def test_every_step_has_its_packs_and_every_row_comes() -> None:
    assert all(len(step) == 4 for step in plan().steps(0))
    assert set(rows_of(plan())) == set(range(200))


def test_a_dataset_smaller_than_a_step_is_taken_again() -> None:
    small = plan(num=2, packs_per_step=5, tokens=np.array([10, 10]), phase=Phase(budget_tokens=10))
    (step,) = small.steps(0)
    assert sorted(pack[0] for pack in step) in ([0, 0, 0, 1, 1], [0, 0, 1, 1, 1])


def test_samples_are_shuffled_inside_windows_of_whole_shards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of shards of 20 samples, three are read at a time: a window of 50 needs so many."""
    monkeypatch.setattr("training.plan.SHUFFLE_SAMPLES", 50)
    rows = [row for row, _ in plan().order(0)]
    assert sorted(rows) == list(range(200))
    for start in range(0, 200, 60):
        window = rows[start : start + 60]
        assert len({row // 20 for row in window}) == len(window) // 20
        assert window != sorted(window)
    assert rows != [row for row, _ in plan().order(1)]


def test_a_share_of_the_videos_is_seen_as_images() -> None:
    some = plan(num=2000, phase=Phase(budget_tokens=4000, image_share=0.25))
    shown = {row: tokens for row, tokens in some.order(0)}
    still = {row for row, tokens in shown.items() if tokens == 7}
    assert 0.20 < len(still) / 1800 < 0.30
    assert not any(row % 10 == 0 for row in still)  # those are images by themselves
    assert still != {row for row, tokens in some.order(1) if tokens == 7}
    row = min(still)
    assert some.view_of(row, 0).max_frames == 1
    assert some.cost_of((row,), 0) == 49.0


def test_steps_are_of_packs_that_cost_alike() -> None:
    """Over 8 devices the mean is near the largest, which dealing by turns does not reach."""
    tokens = np.array(lengths(8000, longest=8000))
    cost = np.array([COST.forward((1, 1, int(n))) for n in tokens])
    even = plan(
        num=8000, tokens=tokens, cost=cost, packs_per_step=8, phase=Phase(budget_tokens=32000)
    )

    def balance(steps: list[list[float]]) -> float:
        return float(np.mean([np.mean(step) / max(step) for step in steps]))

    planned = [[even.cost_of(pack, 0) for pack in step] for step in even.steps(0)][:-8]
    in_turn = [even.cost_of(pack, 0) for pack in pack_rows(even.order(0), 32000)]
    by_turns = [in_turn[i : i + 8] for i in range(0, len(in_turn) - 64, 8)]
    assert balance(planned) >= 0.97
    assert balance(by_turns) < 0.95
    assert all(step == sorted(step, reverse=True) for step in planned)


@pytest.mark.parametrize("world_size", [1, 2, 4, 8])
def test_any_number_of_devices_gets_the_same_packs(world_size: int) -> None:
    step = [(number,) for number in range(8)]
    dealt = [deal(step, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert sorted(itertools.chain(*dealt)) == step
    assert len({len(part) for part in dealt}) == 1
    if world_size == 2:  # to and fro
        assert dealt == [[(0,), (3,), (4,), (7,)], [(1,), (2,), (5,), (6,)]]


def test_packs_are_made_lazily() -> None:
    """The first ones need no more of a million samples than the pool."""
    asked = 0

    def counted() -> object:
        nonlocal asked
        for row in range(1_000_000):
            asked += 1
            yield row, 100

    packs = pack_rows(counted(), 4000)  # pyright: ignore[reportArgumentType]
    assert [len(next(packs)) for _ in range(3)] == [40, 40, 40]
    assert asked < 1000


def test_an_epoch_of_a_million_samples_begins_in_its_first_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    million = plan(num=1_000_000)
    looked: list[int] = []
    as_image = Plan.as_image
    monkeypatch.setattr(
        Plan, "as_image", lambda self, row, epoch: looked.append(row) or as_image(self, row, epoch)
    )
    step = next(million.steps(0))
    assert len(step) == million.packs_per_step
    assert len(set(looked)) < 2 * SHUFFLE_SAMPLES


@pytest.mark.parametrize(
    ("row", "view", "expected"),
    [
        (
            (100, 24.0, 720, 1280),
            View(area_px=256 * 256, max_frames=33),
            (33, 192, 336, (9, 12, 21)),
        ),
        (
            (100, 24.0, 720, 1280),
            View(area_px=256 * 256, max_frames=33, fps=8),
            (33, 192, 336, (9, 12, 21)),
        ),
        ((49, 24.0, 720, 1280), View(area_px=256 * 256, fps=12), (25, 192, 336, (7, 12, 21))),
        ((30, 24.0, 64, 64), View(), (29, 64, 64, (8, 4, 4))),
        (
            (10, 8.0, 64, 64),
            View(fps=24),
            (9, 64, 64, (3, 4, 4)),
        ),  # a slower clip gives the frames it has
        ((1, None, 1080, 810), View(area_px=256 * 256), (1, 288, 224, (1, 18, 14))),  # an image
    ],
)
def test_sample_shape(row: tuple, view: View, expected: tuple) -> None:
    assert sample_shape(*row, grid=GRID, view=view) == expected


def planned(index: Index, phase: Phase) -> Plan:
    rows = np.arange(len(index))
    knobs = {"grid": Grid(1, 4, (1, 2, 2)), "cost": COST, "seed": 0, "packs_per_step": 1}
    return make_plan(index, rows=rows, phase=phase, **knobs)


def test_a_sample_too_long_for_a_pack_is_refused(dataset: object) -> None:
    index = load_index(str(dataset))
    with pytest.raises(
        ValueError, match=r"sample clip-4 has \d+ tokens and a pack holds 10: raise"
    ):
        planned(index, Phase(budget_tokens=10))


def test_a_phase_chooses_its_samples(dataset: object) -> None:
    index = load_index(str(dataset))
    assert set(rows_of(planned(index, Phase()))) == set(range(6))
    assert set(rows_of(planned(index, Phase(only="images")))) == {5}
    assert set(rows_of(planned(index, Phase(only="videos", min_frames=9)))) == {0, 2, 4}
    assert set(rows_of(planned(index, Phase(min_area_px=64 * 64)))) == {2, 5}
    with pytest.raises(ValueError, match="leaves none of 6 samples: change data.phases"):
        planned(index, Phase(min_area_px=10**6))


def test_a_plan_knows_the_tokens_of_every_sample(dataset: object) -> None:
    index = load_index(str(dataset))
    plan = planned(index, Phase(view=View(area_px=1536, max_frames=5)))
    tokens = [
        sample_shape(*shape, grid=Grid(1, 4, (1, 2, 2)), view=plan.phase.view).counts
        for shape in ((9, 8.0, 48, 80), (1, None, 64, 96))
    ]
    assert plan.tokens[[0, 5]].tolist() == [int(np.prod(count)) for count in tokens]
    assert plan.cost[0] == COST.forward(tokens[0])
    assert plan.image_tokens[0] == tokens[0][1] * tokens[0][2]
