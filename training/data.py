"""The data module: an endless run of packs from a cursor, equal for every number of workers and
devices.

Packs are read by tickets of the plan (tickets.py), so a checkpoint needs only the cursor
(schedule.py): a few hundred bytes.
"""

import dataclasses
import sys
from itertools import islice
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch.utils.data import DataLoader

from curation import storage
from training.ahead import AheadLoader
from training.captions import CaptionMix
from training.curriculum import Phase, View, ends
from training.index import JSON_COLUMNS, Index, held_out, index_hash, load_index, window_bytes
from training.latents import Latents, open_latents, wanted_folders
from training.masks import TaskMix
from training.models.cost import Cost
from training.models.patches import Grid
from training.pack import ClipBatch
from training.plan import SHUFFLE_SAMPLES, VERSION, Plan, make_plan
from training.reader import ClipReader
from training.schedule import Cursor, Schedule
from training.shards import ShardCache
from training.tickets import PackDataset, PackTicket, PlanSampler, unchanged

LEARNING = "objective, optimizer or text_drop"
"""In a fingerprint: what has no part in the plan."""

SOME_FAILED = 10
"""Samples that may fail in a dataset of twice as many or more."""


class VideoData(LightningDataModule):
    """Packs of clips from the shards of one dataset."""

    def __init__(
        self,
        data: str,
        *,
        grid: Grid,
        cost: Cost | None,
        view: View = View(),  # noqa: B008 - frozen
        budget_tokens: int = 32768,
        image_share: float = 0.0,
        phases: list[Phase] | None = None,
        packs_per_step: int = 1,
        tasks: TaskMix = TaskMix(),  # noqa: B008 - frozen
        caption_mix: CaptionMix | None = None,
        seed: int = 0,
        num_workers: int = 2,
        cache_mb: int = 0,
        latents: str | None = None,
        shard_cache: str | None = None,
        shard_cache_gb: float = 100.0,
        holdout_pct: float = 0.0,
        val_packs: int = 8,
        max_failed_pct: float = 0.1,
        new_phase: bool = False,
    ):
        """
        Args:
            data: folder or s3:// URL of the dataset, with `shards/index.parquet` in it.
            grid: what a token covers; follows from the model.
            cost: what a sample costs the model, by which packs are dealt out; follows from it.
            view: how much of a clip is looked at, in a run of one phase.
            budget_tokens: tokens of a pack at most, in a run of one phase; 4 times the longest
                sample fills packs to 0.995 and more.
            image_share: share of video clips of which one frame is seen, in a run of one phase.
            phases: what a run of several phases looks at, instead of the three above.
            packs_per_step: packs of one optimizer step over all devices; each device takes its
                share of them one after another (gradient accumulation follows from it).
            tasks: how often which frames or parts of a sample are given in training.
            caption_mix: how often each kind of caption is trained on; null: the primary caption
                always. Validation looks at the primary caption.
            seed: order, windows, noise, timesteps, tasks and caption drop follow from it.
            num_workers: reading processes; changes nothing but the speed.
            cache_mb: decoded clips or latents kept by each reading process, for datasets that fit.
            latents: "auto", or another folder than $DATA/latents, reads latents and text states as
                `training encode` wrote them, in place of videos; null reads videos.
            shard_cache: local folder that shards of object storage or a slow disk are copied into,
                whole, as they are needed, by all processes of a machine; null reads what is needed
                of them, one read per file.
            shard_cache_gb: gigabytes (10^9 bytes) of that folder at most; what was read longest ago
                goes first.
            holdout_pct: share of clips kept from training for validation, chosen by the hash of
                their id; at 0 validation looks at training clips.
            val_packs: packs of a validation at most.
            max_failed_pct: share of samples that may prove unreadable before the run stops; ten
                may in any dataset, but never more than half.
            new_phase: go on from a checkpoint of another dataset or other settings: a new plan
                begins where that one stopped, or the old one goes on where only what is learned
                from it has changed (objective, optimizer, text_drop).
        """
        super().__init__()
        assert cost is not None  # linked to the model's; a group of knobs could not be left out
        if not cost.sees_later_frames and (late := tasks.with_later_frames):
            raise ValueError(
                f"data.tasks has {', '.join(late)}, which give later frames, and factorised "
                "attention sees earlier ones only: set model.network.causal to false"
            )
        self.data, self.grid, self.cost, self.seed = data, Grid(*grid), cost, seed
        one = Phase(view=view, budget_tokens=budget_tokens, image_share=image_share)
        self.phases = [one] if phases is None else phases
        self.ends = ends(self.phases)
        self.packs_per_step, self.tasks, self.caption_mix = packs_per_step, tasks, caption_mix
        self.num_workers, self.cache_mb = num_workers, cache_mb
        self.latents, self.cache_folder, self.cache_gb = latents, shard_cache, shard_cache_gb
        self.holdout_pct, self.val_packs = holdout_pct, val_packs
        self.max_failed_pct, self.new_phase = max_failed_pct, new_phase
        self.cursor = Cursor()
        self.history: list[dict[str, Any]] = []
        self.failed: dict[str, str] = {}
        self.sampler: PlanSampler | None = None

    def setup(self, stage: str) -> None:
        # beside latents no more than captions is read of a shard
        index = load_index(self.data, cache=None if self.latents else self.shard_cache())
        self.check_cache(index)
        held = held_out(index, self.holdout_pct)
        train, val = np.flatnonzero(~held), np.flatnonzero(held if held.any() else ~held)
        if not len(train) or (self.holdout_pct and not held.any()):
            raise ValueError(
                f"{self.holdout_pct = } leaves {len(train)} of {len(index)} clips for training "
                f"and {int(held.sum())} for validation, expected one each: change data.holdout_pct"
            )
        self.schedule = Schedule(
            [self.plan(index, train, phase=phase) for phase in self.phases], self.ends
        )
        self.val_plan = self.plan(index, val, phase=self.phases[-1])
        self.reader = ClipReader(
            index,
            grid=self.grid,
            seed=self.seed,
            cache_mb=self.cache_mb,
            caption_mix=self.caption_mix,
            tasks=self.tasks,
            latents=self.open_latents(index) if self.latents else None,
        )
        self.dataset = PackDataset(self.reader, [*self.schedule.plans, self.val_plan])
        some = max(SOME_FAILED, len(index) * self.max_failed_pct / 100)
        self.max_failed = min(some, len(index) // 2)
        mix = self.caption_mix
        self.fingerprint = {
            "plan version": VERSION,
            "dataset": index_hash(index),
            "seed": self.seed,
            "grid": repr(self.grid),
            "cost": repr(self.cost),
            "view, budget or phases": repr(self.phases),
            "packs_per_step": self.packs_per_step,
            "holdout_pct": self.holdout_pct,
            "tasks": repr(self.tasks),
            "caption_mix": mix and repr(mix),
            "set of captions": mix and index_hash(index, columns=JSON_COLUMNS),
            LEARNING: getattr(self.trainer and self.trainer.lightning_module, "learning", None),
        }

    def plan(self, index: Index, rows: np.ndarray, *, phase: Phase) -> Plan:
        if phase.view.gaps and self.grid.frames > 1:
            raise ValueError(
                f"view.gaps = {phase.view.gaps}, expected 0: the autoencoder joins "
                f"{self.grid.frames} frames in one, which have to follow one another"
            )
        return make_plan(
            index,
            rows=rows,
            phase=phase,
            grid=self.grid,
            cost=self.cost,
            seed=self.seed,
            packs_per_step=self.packs_per_step,
        )

    # -- where it is read from ---------------------------------------------------------------------

    def shard_cache(self) -> ShardCache | None:
        if self.cache_folder is None:
            return None
        return ShardCache(self.cache_folder, int(self.cache_gb * 1e9))

    def check_cache(self, index: Index) -> None:
        """Raise ValueError where the cache cannot hold what is shuffled together."""
        needed_gb = window_bytes(index, samples=SHUFFLE_SAMPLES) / 1e9
        if self.cache_folder and not self.latents and needed_gb > self.cache_gb:
            raise ValueError(
                f"data.shard_cache_gb = {self.cache_gb:g} and the shards that are shuffled "
                f"together take {needed_gb:.3g}, which would be fetched again and again: give "
                f"{2 * needed_gb:.3g}, which holds the next ones too"
            )

    def latents_folder(self) -> str:
        given = self.latents not in (None, "auto")
        return str(self.latents) if given else storage.join(self.data, "latents")

    def open_latents(self, index: Index) -> Latents:
        """What the run reads in place of videos. Raises ValueError where it is another's."""
        assert self.trainer is not None
        module: Any = self.trainer.lightning_module
        identities = {"vae": module.vae.identity(), "text": module.text.identity()}
        wanted = wanted_folders(index, phases=self.phases, grid=self.grid, **identities)
        return open_latents(
            self.latents_folder(), index=index, wanted=wanted, cache=self.shard_cache()
        )

    # -- loaders -----------------------------------------------------------------------------------

    def train_dataloader(self) -> DataLoader:
        trainer = self.trainer
        assert trainer is not None
        self.set_accumulation(trainer)
        if trainer.limit_train_batches != 1.0:
            raise ValueError(
                f"trainer.limit_train_batches = {trainer.limit_train_batches}, expected 1.0: the "
                "plan has no end, and trainer.max_steps says how far a run goes"
            )
        if self.cursor.step != trainer.global_step:  # written by another data module
            if not self.new_phase:
                raise ValueError(
                    "this checkpoint holds no place in a plan, which StreamData has none of: "
                    "set data.new_phase to true to begin a plan with these weights"
                )
            self.cursor = Cursor(step=trainer.global_step, begun=trainer.global_step)
        self.sampler = PlanSampler(
            self.schedule,
            self.reader,
            self.cursor,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
        )
        return self.loader(self.sampler)

    def set_accumulation(self, trainer: Trainer) -> None:
        """So many packs one after another on each device as make a step. Raises ValueError where
        that does not come out even.
        """
        turns, rest = divmod(self.packs_per_step, trainer.world_size)
        if rest or not turns or trainer.accumulate_grad_batches not in (1, turns):
            raise ValueError(
                f"data.packs_per_step = {self.packs_per_step} over {trainer.world_size} devices "
                f"with trainer.accumulate_grad_batches = {trainer.accumulate_grad_batches}, "
                "expected a multiple of the devices, and no accumulate_grad_batches: it follows "
                "from the two"
            )
        trainer.accumulate_grad_batches = turns

    def val_dataloader(self) -> DataLoader:
        trainer = self.trainer
        assert trainer is not None
        packs = list(islice(self.val_plan.packs(0), self.val_packs))
        # all devices take as many, or those that have none would be waited for: some come again
        # and count for nothing
        again = [(packs[i % len(packs)], 0) for i in range(-len(packs) % trainer.world_size)]
        tickets = [
            PackTicket(-1, 0, pack, counts, "validate")
            for pack, counts in [*((pack, 1) for pack in packs), *again]
        ]
        return self.loader(tickets[trainer.global_rank :: trainer.world_size])

    def transfer_batch_to_device(
        self, batch: ClipBatch, device: torch.device, dataloader_idx: int
    ) -> ClipBatch:
        return batch.to(device)

    def loader(self, tickets: PlanSampler | list[PackTicket]) -> DataLoader:
        return AheadLoader(
            self.dataset,
            sampler=tickets,
            batch_size=None,
            collate_fn=unchanged,
            num_workers=self.num_workers,
            prefetch_factor=4 if self.num_workers else None,
        )

    def fixed_batch(self) -> ClipBatch:
        """The first pack of the plan with noise of its own: equal at every moment of every run."""
        pack = next(self.schedule.plans[0].steps(0))[0]
        return self.dataset[PackTicket(0, 0, pack, 0, "fixed")]

    # -- samples that cannot be read ---------------------------------------------------------------

    def note_failures(self, batch: ClipBatch) -> None:
        """Record what could not be read. Raises RuntimeError where it is too much of the data."""
        for clip in batch.clips:
            if clip.error and clip.uid not in self.failed:
                self.failed[clip.uid] = clip.error
                print(f"{clip.error}; its tokens are in no loss", file=sys.stderr, flush=True)
        if len(self.failed) > self.max_failed:
            raise RuntimeError(
                f"{len(self.failed)} samples could not be read, more than data.max_failed_pct = "
                f"{self.max_failed_pct} allows, the last one: {[*self.failed.values()][-1]}"
            )

    def all_failed(self) -> dict[str, str]:
        """What could not be read, on all devices."""
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return self.failed
        found: list[Any] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(found, self.failed)
        return {uid: error for failed in found for uid, error in sorted(failed.items())}

    # -- resume ------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        assert self.trainer is not None
        step = self.trainer.global_step
        cursor = self.sampler.trail.at(step) if self.sampler else self.cursor
        return {
            "fingerprint": self.fingerprint,
            "cursor": dataclasses.asdict(cursor),
            "history": self.history,
            "failed": self.all_failed(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        if self.trainer is None or self.trainer.state.fn != TrainerFn.FITTING:
            return
        before, cursor = state_dict["fingerprint"], Cursor(**state_dict["cursor"])
        changed = [name for name, value in self.fingerprint.items() if before.get(name) != value]
        self.history, self.failed = state_dict["history"], dict(state_dict["failed"])
        if changed and not self.new_phase:
            raise ValueError(
                f"this checkpoint was made with another {' and another '.join(changed)}, so that "
                "going on from it would be another run: give the old data and settings, set "
                "data.new_phase to true to begin a new phase with these weights, or start anew "
                "without --ckpt_path"
            )
        if changed:
            self.history = [*self.history, {"ended": cursor.step, "fingerprint": before}]
            self.failed = {}
        if set(changed) - {LEARNING}:
            cursor = Cursor(step=cursor.step, begun=cursor.step, epoch=cursor.epoch + 1)
        self.cursor = cursor
