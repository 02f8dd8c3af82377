"""Where in the plans of its phases a run stands, and the walk from there on.

A cursor is all that a checkpoint keeps of the data: it counts optimizer steps, so that what was
prefetched when a run stopped does not count, and says nothing of workers or devices.
"""

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from training.plan import Plan, Rows


@dataclass(frozen=True)
class Cursor:
    """The next optimizer step to take, as a place in the plans."""

    step: int = 0
    begun: int = 0
    """the step at which the run's phases began to count"""
    phase: int = 0
    epoch: int = 0
    """counts through all phases: no two of them draw the same numbers"""
    step_in_epoch: int = 0


class Step(NamedTuple):
    """One optimizer step: its packs, the costliest first."""

    cursor: Cursor
    packs: list[Rows]


class Schedule:
    """The plans of a run's phases, one after another."""

    def __init__(self, plans: Sequence[Plan], ends: Sequence[float]):
        """ends: the step before which each phase ends, counted from the first one's beginning."""
        self.plans, self.ends = plans, ends

    def walk(self, cursor: Cursor) -> Iterator[Step]:
        """Every step from the cursor on, without end."""
        while True:
            cursor = self._in_phase(cursor)
            for number, packs in enumerate(self.plans[cursor.phase].steps(cursor.epoch)):
                if number < cursor.step_in_epoch:
                    continue
                if cursor.step - cursor.begun >= self.ends[cursor.phase]:
                    break
                yield Step(cursor, packs)
                cursor = replace(cursor, step=cursor.step + 1, step_in_epoch=number + 1)
            if cursor.step - cursor.begun < self.ends[cursor.phase]:
                cursor = replace(cursor, epoch=cursor.epoch + 1, step_in_epoch=0)

    def _in_phase(self, cursor: Cursor) -> Cursor:
        """The cursor, in the next phase where its own has ended: with an epoch of its own."""
        phase = cursor.phase
        while cursor.step - cursor.begun >= self.ends[phase]:
            phase += 1
        if phase == cursor.phase:
            return cursor
        return replace(cursor, phase=phase, epoch=cursor.epoch + 1, step_in_epoch=0)


class Trail:
    """Where every epoch of a walk began: finds the cursor of a step that prefetching has passed."""

    def __init__(self, start: Cursor):
        self.cursors = [start]

    def passed(self, cursor: Cursor) -> None:
        if (cursor.epoch, cursor.phase) != (self.cursors[-1].epoch, self.cursors[-1].phase):
            self.cursors.append(cursor)

    def at(self, step: int) -> Cursor:
        """The cursor of a step already reached."""
        begins = [cursor.step for cursor in self.cursors]
        last = self.cursors[bisect.bisect_right(begins, step) - 1]
        return replace(last, step=step, step_in_epoch=last.step_in_epoch + step - last.step)
