"""The walk through phases and epochs, from the beginning and from every cursor on the way."""

from itertools import islice

import numpy as np
import pytest

from training.curriculum import Phase, ends
from training.plan import Plan
from training.schedule import Cursor, Schedule, Step, Trail


def plan(num: int, *, budget_tokens: int) -> Plan:
    """Rows of 10 tokens each."""
    tens = np.full(num, 10)
    return Plan(
        phase=Phase(budget_tokens=budget_tokens),
        seed=0,
        packs_per_step=2,
        shards=(np.arange(num),),
        tokens=tens,
        image_tokens=tens,
        cost=tens.astype(float),
        image_cost=tens.astype(float),
        is_video=tens > 0,
    )


PHASES = [Phase(steps=5), Phase(steps=4), Phase()]
SCHEDULE = Schedule(
    # epochs of 3, 2 and 4 steps: the first phase ends inside one, the second at the end of one
    [plan(12, budget_tokens=20), plan(12, budget_tokens=30), plan(8, budget_tokens=10)],
    ends(PHASES),
)


def steps(start: Cursor, num: int) -> list[Step]:
    return list(islice(SCHEDULE.walk(start), num))


def test_phases_and_epochs_follow_one_another() -> None:
    walked = steps(Cursor(), 14)
    assert [cursor.step for cursor, _ in walked] == list(range(14))
    places = [(cursor.phase, cursor.epoch, cursor.step_in_epoch) for cursor, _ in walked]
    assert places == [
        *[(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 0), (0, 1, 1)],
        *[(1, 2, 0), (1, 2, 1), (1, 3, 0), (1, 3, 1)],
        *[(2, 4, 0), (2, 4, 1), (2, 4, 2), (2, 4, 3), (2, 5, 0)],
    ]


@pytest.mark.parametrize("stop", range(14))
@pytest.mark.parametrize("ahead", [0, 1, 4])
def test_every_stop_goes_on_as_if_undisturbed(stop: int, ahead: int) -> None:
    """However far prefetching had gone when the run stopped."""
    whole = steps(Cursor(), 20)
    trail = Trail(Cursor())
    for cursor, _ in whole[: stop + ahead]:
        trail.passed(cursor)
    assert steps(trail.at(stop), 20 - stop)[0].packs == whole[stop].packs
    assert [step.packs for step in steps(trail.at(stop), 20 - stop)] == [
        step.packs for step in whole[stop:]
    ]


def test_a_new_beginning_counts_its_phases_from_there() -> None:
    walked = steps(Cursor(step=100, begun=100, epoch=7), 6)
    assert [(c.step, c.phase, c.epoch) for c, _ in walked][-2:] == [(104, 0, 8), (105, 1, 9)]


def test_phases_that_cannot_be_are_refused() -> None:
    assert ends(PHASES) == [5, 9, float("inf")]
    with pytest.raises(ValueError, match="a phase has steps = None and another follows it"):
        ends([Phase(), Phase()])
    with pytest.raises(ValueError, match="data.phases is empty"):
        ends([])
    with pytest.raises(ValueError, match="image_share = 1.5"):
        Phase(image_share=1.5)
