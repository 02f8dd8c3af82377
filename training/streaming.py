"""The alternative to a plan: shards streamed one after another by plain `webdataset`.

Shards are shuffled and split over devices and workers, samples go through a shuffle buffer, and a
pack ends where the next sample does not fit. In a YAML:

    data:
      class_path: training.streaming.StreamData
      init_args: {data: demo/data, shuffle_samples: 1000, …}

Knobs are those of VideoData, and validation and the fixed batch read by offset as there. What a
stream cannot do: go on where it stopped (a resumed run draws its samples anew), give devices packs
of alike cost, fill packs to 0.99 (0.8 to 0.9 in order), see the same samples on another number of
devices or workers, put away what it has not planned (phases, latents), or record what a damaged
shard held: it says so and goes on.

A device knows neither what the others drew nor what its next pack will be. So the loss is divided
by the tokens that a step might hold, budget_tokens x packs_per_step, and not by those that it
predicts: every token weighs the same on every device, in every pack and in every step, and the loss
is lower than with a plan by the share of the budget that was left empty or given.
"""

import random
import sys
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from curation import storage
from training.ahead import AheadLoader
from training.data import VideoData
from training.index import Part
from training.pack import Clip, ClipBatch
from training.plan import Plan
from training.randomness import rng, seed_of
from training.reader import ClipReader
from training.tickets import unchanged

EPOCHS_AT_MOST = 1_000_000
"""Of one stream; the next one, after a resume, counts on from a multiple of it."""


class StreamData(VideoData):
    """Packs of clips from shards that are streamed by webdataset, without a plan."""

    def __init__(self, data: str, *, shuffle_samples: int = 1000, **knobs: Any):
        """
        Args:
            data: folder or s3:// URL of the dataset, with `shards/index.parquet` in it.
            shuffle_samples: samples in the shuffle buffer of each reading process, with their
                media as they lie in the shard.
            knobs: those of VideoData.
        """
        super().__init__(data, **knobs)
        if len(self.phases) > 1 or self.latents:
            raise ValueError(
                "training.streaming.StreamData reads shards as they come, expected no data.phases "
                "and no data.latents: they need the plan of training.data.VideoData"
            )
        self.shuffle_samples = shuffle_samples

    def train_dataloader(self) -> DataLoader:
        trainer = self.trainer
        assert trainer is not None
        self.set_accumulation(trainer)
        names = self.reader.index.table["shard"].unique().to_pylist()
        if trainer.is_global_zero:
            print(
                "streaming: a resumed run draws its samples anew, packs are filled in order, and "
                "devices may wait for each other; training.data.VideoData does better",
                flush=True,
            )
        plan = self.schedule.plans[0]
        stream = Stream(
            [storage.join(self.data, "shards", name) for name in names],
            reader=self.reader,
            plan=plan,
            shuffle_samples=self.shuffle_samples,
            place=(trainer.global_rank, trainer.world_size),
            begun=trainer.global_step,
            step_targets=plan.phase.budget_tokens * self.packs_per_step,
        )
        return AheadLoader(
            stream,
            batch_size=None,
            collate_fn=unchanged,
            num_workers=self.num_workers,
            prefetch_factor=4 if self.num_workers else None,
        )

    def state_dict(self) -> dict[str, Any]:
        return {"failed": self.all_failed()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.failed = dict(state_dict["failed"])


class Stream(IterableDataset):
    """The packs of one device, without end."""

    def __init__(
        self,
        urls: list[str],
        *,
        reader: ClipReader,
        plan: Plan,
        shuffle_samples: int,
        place: tuple[int, int],
        begun: int,
        step_targets: int,
    ):
        """
        Args:
            place: rank of the device, and how many there are.
            begun: the optimizer step at which the stream begins.
        """
        if len(urls) < place[1]:
            raise ValueError(
                f"{len(urls)} shards for {place[1]} devices, expected one each or more: write "
                "smaller ones (shard.samples_per_shard), or read them by the plan of VideoData"
            )
        self.urls, self.reader, self.plan, self.place = urls, reader, plan, place
        self.shuffle_samples, self.begun, self.step_targets = shuffle_samples, begun, step_targets
        keys = reader.index.table["key"]
        rows = np.sort(np.concatenate(plan.shards))
        self.rows = dict(zip(keys.take(rows).to_pylist(), rows.tolist(), strict=True))

    def __iter__(self) -> Iterator[ClipBatch]:
        budget, clips, free = self.plan.phase.budget_tokens, [], self.plan.phase.budget_tokens
        for clip, tokens in self.clips():
            if tokens > free:
                yield ClipBatch(clips, self.step_targets, budget)
                clips, free = [], budget
            clips.append(clip)
            free -= tokens

    def clips(self) -> Iterator[tuple[Clip, int]]:
        """(clip, its tokens), epoch after epoch."""
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        rank, world = self.place
        for epoch in count(self.begun * EPOCHS_AT_MOST):
            turn = rng("stream", self.reader.seed, epoch).permutation(len(self.urls))
            own = [self.urls[i] for i in turn[rank::world][number::workers]]
            if not own:  # more workers than shards
                return
            seed = seed_of("buffer", self.reader.seed, epoch, rank, number)
            for sample in streamed(own, shuffle_samples=self.shuffle_samples, seed=seed):
                row = self.rows.get(sample["__key__"])
                if row is not None:  # not kept for validation, nor left out by the phase
                    yield self.clip(sample, row=row, epoch=epoch)

    def clip(self, sample: dict[str, Any], *, row: int, epoch: int) -> tuple[Clip, int]:
        view, media = self.plan.view_of(row, epoch), self.reader.index.row(row)["media"]
        members: dict[Part, bytes] = {
            "media": sample[media],
            "json": sample["json"],
            "txt": sample["txt"],
        }
        clip = self.reader.read(row, view=view, epoch=epoch, purpose="train", members=members)
        tokens = self.plan.tokens if view == self.plan.phase.view else self.plan.image_tokens
        return clip, int(tokens[row])


def streamed(urls: list[str], *, shuffle_samples: int, seed: int) -> Iterable[dict[str, Any]]:
    """Samples of some shards as webdataset gives them: `__key__`, and bytes by extension."""
    import webdataset as wds
    from webdataset.filters import pipelinefilter
    from webdataset.tariterators import group_by_keys, tar_file_expander

    stages = [
        wds.SimpleShardList(urls),  # pyright: ignore[reportAttributeAccessIssue]
        opened,
        pipelinefilter(tar_file_expander)(handler=told),
        pipelinefilter(group_by_keys)(),
    ]
    if shuffle_samples > 1:
        rng = random.Random(seed)
        stages.append(wds.shuffle(shuffle_samples, initial=shuffle_samples, rng=rng))  # pyright: ignore[reportAttributeAccessIssue]
    return wds.DataPipeline(*stages)  # pyright: ignore[reportAttributeAccessIssue]


def opened(shards: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """webdataset's opener knows no s3:// without a command of its own for it."""
    for shard in shards:
        fs, path = storage.filesystem(shard["url"])
        try:
            stream = fs.open(path, "rb")
        except OSError as error:
            told(error)
            continue
        with stream:
            yield shard | {"stream": stream}


def told(error: Exception) -> bool:
    """Say what a shard lacks and go on with the next one; what it held is in no record."""
    print(f"streaming: {error}; the stream goes on behind it", file=sys.stderr, flush=True)
    return True
