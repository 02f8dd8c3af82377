"""Which samples go into which pack of which step: a pure function of (index, seed, epoch), so that
resuming needs no more than a cursor and no worker or rank has a state of its own.

Packs have a budget of tokens and no padding (NaViT, Dehghani et al. 2023). Each pack begins with
the sample that has waited longest and is filled with the largest ones that still fit, out of a pool
of the next few hundred: a rolling best fit that lets nobody starve.
"""

import bisect
import functools
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from curation.clip import frames_at_rate
from training.index import Index
from training.models.patches import Grid
from training.randomness import seed_of

VERSION = 1
"""Raised when the same settings would give another plan: a checkpoint of another version is not
continued.
"""

POOL_SAMPLES = 256
"""Samples to choose the best fit from; at 32k tokens a pool of this size fills packs to 0.998."""


@dataclass(frozen=True)
class View:
    """How much of a clip is looked at."""

    area_px: int = 256 * 256
    """pixels of a frame after resizing; the clip's own aspect is kept, small clips are not
    enlarged
    """
    max_frames: int = 129
    """frames of a sample at most"""
    fps: float | None = None
    """frames per second; null: the clip's own. A slower clip gives the frames it has"""
    window: Literal["random", "first"] = "random"
    """which part of a longer clip: another one every epoch, or always its beginning"""


class Shape(NamedTuple):
    """A sample as the network sees it."""

    frames: int
    height_px: int
    width_px: int
    tokens: int


class PackTicket(NamedTuple):
    """One pack of the plan: what a reader needs to make it, and nothing that depends on rank or
    worker.
    """

    epoch: int
    rows: tuple[int, ...]
    step_tokens: int
    """tokens of all packs of the global step: what its loss is divided by"""
    purpose: Literal["train", "validate", "fixed"] = "train"
    """keeps the random streams of training and evaluation apart"""


@functools.lru_cache(maxsize=1 << 16)
def sample_shape(
    num_frames: int, fps: float | None, height_px: int, width_px: int, *, grid: Grid, view: View
) -> Shape:
    frames = (
        num_frames if view.fps is None else frames_at_rate(num_frames, fps=fps, bucket_fps=view.fps)
    )
    frames = grid.fit_frames(min(frames, view.max_frames))
    height_px, width_px = grid.fit_size(height_px, width_px, area_px=view.area_px)
    time, rows, columns = grid.counts(frames, height_px, width_px)
    return Shape(frames, height_px, width_px, time * rows * columns)


@dataclass(frozen=True)
class Plan:
    """The order of work for one dataset."""

    tokens: tuple[int, ...]
    """tokens of every sample of the index"""
    rows: tuple[int, ...]
    """the samples that take part, as row numbers of the index"""
    seed: int
    budget_tokens: int
    packs_per_step: int

    def steps(self, epoch: int) -> Iterator[list[PackTicket]]:
        """Global steps of one epoch, each of `packs_per_step` packs.

        Every sample comes once; where the last step is short of packs, the epoch's first ones come
        again."""
        order = np.random.default_rng(seed_of("order", self.seed, epoch)).permutation(self.rows)
        packs = pack_rows(order.tolist(), tokens=self.tokens, budget_tokens=self.budget_tokens)
        first: list[tuple[int, ...]] = []
        step: list[tuple[int, ...]] = []
        for pack in packs:
            if len(first) < self.packs_per_step:
                first.append(pack)
            step.append(pack)
            if len(step) == self.packs_per_step:
                yield self.tickets(step, epoch)
                step = []
        if step:
            missing = self.packs_per_step - len(step)
            yield self.tickets(step + [first[i % len(first)] for i in range(missing)], epoch)

    def tickets(self, step: list[tuple[int, ...]], epoch: int) -> list[PackTicket]:
        total = sum(self.tokens[row] for pack in step for row in pack)
        return [PackTicket(epoch, pack, total) for pack in step]


def make_plan(
    index: Index,
    *,
    rows: Iterable[int],
    grid: Grid,
    view: View,
    seed: int,
    budget_tokens: int,
    packs_per_step: int,
) -> Plan:
    """The plan of a dataset; refuses a sample that no pack can hold."""
    columns = (index.table[name].to_pylist() for name in ("num_frames", "fps", "height", "width"))
    tokens = tuple(
        sample_shape(*shape, grid=grid, view=view).tokens for shape in zip(*columns, strict=True)
    )
    longest = int(np.argmax(tokens))
    if tokens[longest] > budget_tokens:
        raise ValueError(
            f"sample {index.row(longest)['key']} has {tokens[longest]} tokens and a pack holds "
            f"{budget_tokens}: "
            "raise data.budget_tokens or lower data.view.area_px or data.view.max_frames"
        )
    return Plan(tokens, tuple(rows), seed, budget_tokens, packs_per_step)


def pack_rows(
    order: list[int],
    *,
    tokens: tuple[int, ...],
    budget_tokens: int,
    pool_samples: int = POOL_SAMPLES,
) -> Iterator[tuple[int, ...]]:
    """Packs of rows: oldest first, then best fit out of the pool."""
    waiting = iter(enumerate(order))
    by_age: deque[tuple[int, int]] = deque()
    by_size: list[tuple[int, int]] = []
    taken: set[int] = set()

    def fill_pool() -> None:
        while len(by_size) < pool_samples and (entry := next(waiting, None)) is not None:
            by_age.append(entry)
            bisect.insort(by_size, (tokens[entry[1]], entry[0]))

    fill_pool()
    while by_size:
        while by_age[0][0] in taken:
            taken.remove(by_age.popleft()[0])
        age, row = by_age.popleft()
        by_size.pop(bisect.bisect_left(by_size, (tokens[row], age)))
        pack, free = [row], budget_tokens - tokens[row]
        fill_pool()
        while (place := bisect.bisect_right(by_size, (free, len(order))) - 1) >= 0:
            size, age = by_size.pop(place)
            taken.add(age)
            pack.append(order[age])
            free -= size
            fill_pool()
        yield tuple(pack)
