"""How fast samples are read: ours by offset, in the order of a plan, beside plain `webdataset` on
the same shards, one after the other in the same run.

webdataset is given its quickest way, shard after shard without any shuffling; ours jumps between
shards as a shuffled plan does. Both hand over lists of 16 samples: their bytes, or frames decoded
by the same decoder to the same planned size, so that what differs is the reading. The clock starts
when the first list has come, since both start the same worker processes.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from curation import storage
from training.curriculum import Phase, View
from training.index import Index, load_index
from training.models.cost import Cost
from training.models.patches import Grid
from training.plan import Plan, make_plan
from training.reader import decode, frame_indices, shape_of
from training.tickets import unchanged

LIST_SAMPLES = 16
Sample = dict[str, bytes]
Take = Callable[[int, Sample], Any]
"""(row of the index, its media, json and txt) -> what is handed over."""


@dataclass(frozen=True)
class Figures:
    """Medians over the rounds."""

    name: str
    ours: float
    """samples per second"""
    theirs: float
    ratio: float
    """ours over theirs, of the same round"""


class Planned(Dataset):
    """Rows to samples, read by offset."""

    def __init__(self, index: Index, take: Take):
        self.index, self.take = index, take

    def __getitem__(self, rows: tuple[int, ...]) -> list[Any]:
        return [self.take(number, self.sample(number)) for number in rows]

    def sample(self, number: int) -> Sample:
        row = self.index.row(number)
        return {part: self.index.read(row, part) for part in ("media", "json", "txt")}


class Streamed(IterableDataset):
    """The same out of webdataset, without end."""

    def __init__(self, index: Index, take: Take):
        names = index.table["shard"].unique().to_pylist()
        self.urls = [storage.join(index.data, "shards", name) for name in names]
        keys = index.table["key"].to_pylist()
        self.rows = {key: number for number, key in enumerate(keys)}
        self.media, self.take = index.table["media"].to_pylist(), take

    def __iter__(self) -> Iterator[list[Any]]:
        import webdataset as wds

        dataset = wds.WebDataset(self.urls, shardshuffle=False)  # pyright: ignore[reportAttributeAccessIssue]
        samples = iter(dataset.repeat())
        while some := [*itertools.islice(samples, LIST_SAMPLES)]:
            yield [self.taken(sample) for sample in some]

    def taken(self, sample: dict[str, Any]) -> Any:
        number = self.rows[sample["__key__"]]
        found = {"media": sample[self.media[number]], "json": sample["json"], "txt": sample["txt"]}
        return self.take(number, found)


def as_bytes(number: int, sample: Sample) -> int:
    """Read and counted: what would be sent from a worker is not the reading."""
    return sum(len(content) for content in sample.values())


def as_frames(number: int, sample: Sample, *, index: Index, grid: Grid, view: View) -> torch.Tensor:
    row = index.row(number)
    shape = shape_of(row, grid=grid, view=view)
    indices = frame_indices(row, frames=shape.frames, view=view, rng_key=str(number))
    size = (shape.height_px, shape.width_px)
    return torch.from_numpy(decode(sample["media"], row=row, indices=indices, size=size))


def in_planned_order(plan: Plan) -> Iterator[tuple[int, ...]]:
    """Lists of rows, epoch after epoch."""
    rows = (row for epoch in itertools.count() for row, _ in plan.order(epoch))
    while some := tuple(itertools.islice(rows, LIST_SAMPLES)):
        yield some


def samples_per_s(dataset: Any, order: Iterator | None, *, workers: int, lists: int) -> float:
    knobs: dict[str, Any] = {} if order is None else {"sampler": order}
    loader = DataLoader(
        dataset, batch_size=None, collate_fn=unchanged, num_workers=workers, **knobs
    )
    batches = iter(loader)
    next(batches)
    started = time.perf_counter()
    got = sum(len(batch) for batch in itertools.islice(batches, lists))
    return got / (time.perf_counter() - started)


def compare(
    index: Index, plan: Plan, take: Take, name: str, *, workers: int, samples: int, rounds: int
) -> Figures:
    lists = max(2, samples // LIST_SAMPLES)
    pairs = []
    for number in range(rounds):
        ours = partial(
            samples_per_s,
            Planned(index, take),
            in_planned_order(plan),
            workers=workers,
            lists=lists,
        )
        theirs = partial(samples_per_s, Streamed(index, take), None, workers=workers, lists=lists)
        if number % 2:  # whoever comes second finds a warmer machine
            second, first = theirs(), ours()
        else:
            first, second = ours(), theirs()
        pairs.append((first, second))
    median = statistics.median
    return Figures(
        f"{name}, {workers} workers",
        median(one for one, _ in pairs),
        median(other for _, other in pairs),
        median(one / other for one, other in pairs),
    )


def run(
    data: str = "demo/data",
    *,
    samples: int = 2000,
    decoded: int = 64,
    rounds: int = 5,
    workers: tuple[int, ...] = (0, 2),
    view: View = View(area_px=256 * 256, max_frames=17),  # noqa: B008 - frozen
) -> None:
    """Print samples per second, ours and webdataset's, and their ratio.

    Args:
        data: a dataset with shards.
        samples: samples of each round, of which only the bytes are read.
        decoded: samples of each round that are decoded.
        rounds: rounds, of which the median counts.
        workers: numbers of reading processes.
        view: what is decoded of a sample.
    """
    index, grid = load_index(data), Grid(4, 8, (1, 2, 2))
    cost = Cost(512, 12, mlp_ratio=4.0, token_width=64, attention="full", causal=True)
    phase = Phase(view=view, budget_tokens=1 << 40)
    knobs: dict[str, Any] = {"grid": grid, "cost": cost, "seed": 0, "packs_per_step": 1}
    plan = make_plan(index, rows=np.arange(len(index)), phase=phase, **knobs)
    media = int(index.column("size_media").mean())
    print(f"{len(index):,} samples of {data}, {media / 1e3:,.0f} kB of media each")
    print(f"{'samples/s':24}{'ours':>10}{'webdataset':>12}{'ratio':>8}", flush=True)
    frames = partial(as_frames, index=index, grid=grid, view=view)
    for name, take, num in (("read", as_bytes, samples), ("decoded", frames, decoded)):
        for count in workers:
            found = compare(index, plan, take, name, workers=count, samples=num, rounds=rounds)
            print(
                f"{found.name:24}{found.ours:10,.0f}{found.theirs:12,.0f}{found.ratio:8.2f}",
                flush=True,
            )
