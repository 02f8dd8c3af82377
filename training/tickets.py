"""Tickets: which samples go into a pack, for whom, and why.

The dataset is a map from a ticket to the clips of that pack; the sampler walks the plan and writes
the tickets of one device. Reading processes hold no state.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from torch.utils.data import Dataset, Sampler

from training.pack import ClipBatch
from training.plan import Plan, Rows, deal
from training.reader import ClipReader
from training.schedule import Cursor, Schedule, Trail


class PackTicket(NamedTuple):
    """One pack of the plan: what a reader needs to make it, and nothing that depends on rank or
    worker.
    """

    phase: int
    epoch: int
    rows: Rows
    step_targets: int
    """predicted tokens of all packs of the global step: what its loss is divided by"""
    purpose: Literal["train", "validate", "fixed"] = "train"
    """keeps the random streams of training and evaluation apart"""
    balance: float = 1.0
    """mean over largest cost of a device in the step"""


class PackDataset(Dataset):
    """Ticket to clips; the same answer in any process."""

    def __init__(self, reader: ClipReader, plans: Sequence[Plan]):
        self.reader, self.plans = reader, plans

    def __getitem__(self, ticket: PackTicket) -> ClipBatch:
        plan, epoch = self.plans[ticket.phase], ticket.epoch
        clips = [
            self.reader.read(
                row, view=plan.view_of(row, epoch), epoch=epoch, purpose=ticket.purpose
            )
            for row in ticket.rows
        ]
        return ClipBatch(clips, ticket.step_targets, plan.phase.budget_tokens, ticket.balance)


class PlanSampler(Sampler[PackTicket]):
    """This rank's packs of every step from the cursor on, without end."""

    def __init__(
        self,
        schedule: Schedule,
        reader: ClipReader,
        cursor: Cursor,
        *,
        rank: int,
        world_size: int,
    ):
        self.schedule, self.reader, self.start = schedule, reader, cursor
        self.rank, self.world_size = rank, world_size
        self.trail = Trail(cursor)

    def __iter__(self) -> Iterator[PackTicket]:
        self.trail = Trail(self.start)
        for cursor, packs in self.schedule.walk(self.start):
            self.trail.passed(cursor)
            plan, epoch = self.schedule.plans[cursor.phase], cursor.epoch
            targets = sum(
                self.reader.num_targets(row, view=plan.view_of(row, epoch), epoch=epoch)
                for pack in packs
                for row in pack
            )
            dealt = [
                deal(packs, rank=rank, world_size=self.world_size)
                for rank in range(self.world_size)
            ]
            costs = [sum(plan.cost_of(pack, epoch) for pack in part) for part in dealt]
            balance = sum(costs) / len(costs) / max(costs)
            for pack in dealt[self.rank]:
                yield PackTicket(cursor.phase, epoch, pack, targets, balance=balance)


def unchanged(batch: Any) -> Any:
    return batch
