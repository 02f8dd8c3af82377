"""The data module: an endless run of packs from a cursor, equal for every number of workers and
devices.

The dataset is a map from a ticket of the plan to the clips of that pack; the sampler walks the
plan. Workers hold no state, so a checkpoint needs only the optimizer step and where its epoch
began: a few hundred bytes, and what was prefetched when the run stopped does not count.
"""

import bisect
import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn
from torch.utils.data import DataLoader, Dataset, Sampler

from training.captions import CaptionMix
from training.index import JSON_COLUMNS, index_hash, load_index
from training.models.patches import Grid
from training.pack import ClipBatch
from training.plan import VERSION, PackTicket, Plan, View, make_plan
from training.randomness import seed_of
from training.reader import ClipReader


class VideoData(LightningDataModule):
    """Packs of clips from the shards of one dataset."""

    def __init__(
        self,
        data: str,
        *,
        grid: Grid,
        view: View = View(),  # noqa: B008 - frozen
        budget_tokens: int = 32768,
        packs_per_step: int = 1,
        seed: int = 0,
        num_workers: int = 2,
        cache_mb: int = 0,
        holdout_pct: float = 0.0,
        val_packs: int = 8,
        caption_mix: CaptionMix | None = None,
    ):
        """
        Args:
            data: folder or s3:// URL of the dataset, with `shards/index.parquet` in it.
            grid: what a token covers; follows from the model.
            view: how much of a clip is looked at.
            budget_tokens: tokens of a pack at most; 4 times the longest sample fills packs to 0.99
            and more.
            packs_per_step: packs of one optimizer step over all devices and accumulated batches.
            seed: order, windows, noise, timesteps and caption drop follow from it.
            num_workers: reading processes; changes nothing but the speed.
            cache_mb: decoded clips kept by each reading process, for datasets that fit.
            holdout_pct: share of clips kept from training for validation, chosen by the hash of
            their id;
                at 0 validation looks at training clips.
            val_packs: packs of a validation at most.
            caption_mix: how often each kind of caption is trained on; null: the primary caption
            always. Validation looks at the primary caption.
        """
        super().__init__()
        self.data, self.grid, self.view, self.seed = data, Grid(*grid), view, seed
        self.budget_tokens, self.packs_per_step = budget_tokens, packs_per_step
        self.num_workers, self.cache_mb = num_workers, cache_mb
        self.holdout_pct, self.val_packs = holdout_pct, val_packs
        self.caption_mix = caption_mix
        self.cursor = Cursor(step=0, epoch=0, step_in_epoch=0)
        self.sampler: PlanSampler | None = None

    def setup(self, stage: str) -> None:
        index = load_index(self.data)
        held = [
            seed_of("holdout", key) % 10_000 < 100 * self.holdout_pct
            for key in index.table["key"].to_pylist()
        ]
        train = [row for row, out in enumerate(held) if not out]
        val = [row for row, out in enumerate(held) if out] if self.holdout_pct else train
        if not train or not val:
            raise ValueError(
                f"{self.holdout_pct = } leaves {len(train)} of {len(index)} clips for training "
                f"and {len(val)} for validation, expected one each: change data.holdout_pct"
            )
        self.plan = self.plan_of(index, train)
        self.val_plan = self.plan_of(index, val)
        self.dataset = PackDataset(
            ClipReader(
                index,
                grid=self.grid,
                view=self.view,
                seed=self.seed,
                cache_mb=self.cache_mb,
                caption_mix=self.caption_mix,
            )
        )
        mix = self.caption_mix
        self.fingerprint = {
            "plan version": VERSION,
            "dataset": index_hash(index),
            "seed": self.seed,
            "grid": repr(self.grid),
            "view": repr(self.view),
            "budget_tokens": self.budget_tokens,
            "packs_per_step": self.packs_per_step,
            "holdout_pct": self.holdout_pct,
            "caption_mix": mix and repr(mix),
            "set of captions": mix and index_hash(index, columns=JSON_COLUMNS),
        }

    def plan_of(self, index: Any, rows: list[int]) -> Plan:
        return make_plan(
            index,
            rows=rows,
            grid=self.grid,
            view=self.view,
            seed=self.seed,
            budget_tokens=self.budget_tokens,
            packs_per_step=self.packs_per_step,
        )

    def train_dataloader(self) -> DataLoader:
        trainer = self.trainer
        assert trainer is not None
        packs = trainer.world_size * trainer.accumulate_grad_batches
        if packs != self.packs_per_step:
            raise ValueError(
                f"{trainer.world_size} devices x "
                f"trainer.accumulate_grad_batches={trainer.accumulate_grad_batches} "
                f"make {packs} packs a step, expected "
                f"data.packs_per_step={self.packs_per_step}: set either to match"
            )
        self.sampler = PlanSampler(
            self.plan, self.cursor, rank=trainer.global_rank, world_size=trainer.world_size
        )
        return self.loader(self.sampler)

    def val_dataloader(self) -> DataLoader:
        trainer = self.trainer
        assert trainer is not None
        packs = [ticket for step in self.val_plan.steps(0) for ticket in step][: self.val_packs]
        tickets = [ticket._replace(purpose="validate") for ticket in packs]
        return self.loader(tickets[trainer.global_rank :: trainer.world_size])

    def transfer_batch_to_device(
        self, batch: ClipBatch, device: torch.device, dataloader_idx: int
    ) -> ClipBatch:
        return batch.to(device)

    def loader(self, tickets: "PlanSampler | list[PackTicket]") -> DataLoader:
        return DataLoader(
            self.dataset,
            sampler=tickets,
            batch_size=None,
            collate_fn=unchanged,
            num_workers=self.num_workers,
            prefetch_factor=4 if self.num_workers else None,
        )

    def fixed_batch(self) -> ClipBatch:
        """The first pack of the plan with noise of its own: equal at every moment of every run."""
        return self.dataset[next(self.plan.steps(0))[0]._replace(purpose="fixed")]

    def state_dict(self) -> dict[str, Any]:
        assert self.trainer is not None
        step = self.trainer.global_step
        cursor = self.sampler.cursor_at(step) if self.sampler else self.cursor
        return {"fingerprint": self.fingerprint, "cursor": dataclasses.asdict(cursor)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self.trainer is None or self.trainer.state.fn != TrainerFn.FITTING:
            return
        before = state_dict["fingerprint"]
        changed = [name for name, value in self.fingerprint.items() if before.get(name) != value]
        if changed:
            raise ValueError(
                f"this checkpoint was made with another {' and another '.join(changed)}, so its "
                "place in the plan means nothing here: give the old data and settings, or start "
                "anew without --ckpt_path"
            )
        self.cursor = Cursor(**state_dict["cursor"])


class PackDataset(Dataset):
    """Ticket to clips; the same answer in any process."""

    def __init__(self, reader: ClipReader):
        self.reader = reader

    def __getitem__(self, ticket: PackTicket) -> ClipBatch:
        clips = [
            self.reader.read(row, epoch=ticket.epoch, purpose=ticket.purpose) for row in ticket.rows
        ]
        return ClipBatch(clips=clips, step_tokens=ticket.step_tokens)


@dataclasses.dataclass(frozen=True)
class Cursor:
    """Where in the plan a run stands: optimizer step `step` is step `step_in_epoch` of `epoch`."""

    step: int
    epoch: int
    step_in_epoch: int


class PlanSampler(Sampler[PackTicket]):
    """This rank's packs of every step from the cursor on, without end."""

    def __init__(self, plan: Plan, cursor: Cursor, *, rank: int, world_size: int):
        self.plan, self.start, self.rank, self.world_size = plan, cursor, rank, world_size
        self.epochs: list[tuple[int, int]] = [(cursor.step - cursor.step_in_epoch, cursor.epoch)]

    def __iter__(self) -> Iterator[PackTicket]:
        first_step, epoch = self.epochs[0]
        del self.epochs[1:]
        while True:
            count = 0
            for number, packs in enumerate(self.plan.steps(epoch)):
                count += 1
                if first_step + number >= self.start.step:
                    yield from packs[self.rank :: self.world_size]
            first_step, epoch = first_step + count, epoch + 1
            self.epochs.append((first_step, epoch))

    def cursor_at(self, step: int) -> Cursor:
        """The cursor of a step already reached, although prefetching has gone further."""
        first_step, epoch = self.epochs[bisect.bisect_right(self.epochs, (step, float("inf"))) - 1]
        return Cursor(step=step, epoch=epoch, step_in_epoch=step - first_step)


def unchanged(batch: Any) -> Any:
    return batch
