"""Which samples go into which pack of which step: a pure function of (index, seed, epoch, phase),
so that resuming needs no more than a cursor and no worker or rank has a state of its own.

Three things follow one another, each lazily. Order: whole shards are shuffled, and samples inside
a window of some shards, so that remote shards are read one after another. Packs: a budget of tokens
and no padding (NaViT, Dehghani et al. 2023); each begins with the sample that has waited longest
and is filled with the largest ones that still fit, out of a pool of the next few hundred: a rolling
best fit that lets nobody starve. Steps: out of a window of packs those that cost alike make a step,
so that devices that work side by side end together.
"""

import bisect
import functools
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from curation.clip import frames_at_rate
from training.curriculum import Phase, View, still
from training.index import Index
from training.models.cost import Cost
from training.models.patches import Grid, Patch
from training.randomness import rng, share_of

VERSION = 2
"""Raised when the same settings would give another plan: a checkpoint of another version is not
continued.
"""

POOL_SAMPLES = 256
"""Samples to choose the best fit from; at 32k tokens a pool of this size fills packs to 0.998."""
DEAL_PACKS = 64
"""Packs that steps of alike cost are made of."""
SHUFFLE_SAMPLES = 16384
"""Samples that are shuffled together: of as many shards as hold them."""

Rows = tuple[int, ...]
"""A pack: row numbers of the index."""


class Shape(NamedTuple):
    """A sample as the network sees it."""

    frames: int
    height_px: int
    width_px: int
    counts: Patch
    """tokens along time, height, width"""


@functools.lru_cache(maxsize=1 << 16)
def sample_shape(
    num_frames: int, fps: float | None, height_px: int, width_px: int, *, grid: Grid, view: View
) -> Shape:
    """How much of a clip of this shape is seen."""
    frames = (
        num_frames if view.fps is None else frames_at_rate(num_frames, fps=fps, bucket_fps=view.fps)
    )
    frames = grid.fit_frames(min(frames, view.max_frames))
    height_px, width_px = grid.fit_size(height_px, width_px, area_px=view.area_px)
    return Shape(frames, height_px, width_px, grid.counts(frames, height_px, width_px))


@dataclass(frozen=True)
class Plan:
    """The order of work of one phase over one dataset. A million samples take some tens of MB and
    a second to make; everything that follows is lazy.
    """

    phase: Phase
    seed: int
    packs_per_step: int
    shards: tuple[np.ndarray, ...]
    """row numbers of the index that take part, of each shard"""
    tokens: np.ndarray
    """tokens of every row of the index, seen as a clip"""
    image_tokens: np.ndarray
    """the same, seen as one frame"""
    cost: np.ndarray
    """operations of every row, seen as a clip"""
    image_cost: np.ndarray
    is_video: np.ndarray
    """bool: rows that can be seen as one frame or as several"""

    def steps(self, epoch: int) -> Iterator[list[Rows]]:
        """Global steps of one epoch, each of `packs_per_step` packs, the costliest first.

        Every sample comes once; where the last step is short of packs, the epoch's first ones come
        again.
        """
        packs = self.packs(epoch)
        steps_at_once = max(1, DEAL_PACKS // self.packs_per_step)
        first: list[Rows] = []
        for number, window in enumerate(runs_of(packs, steps_at_once * self.packs_per_step)):
            if len(first) < self.packs_per_step:
                first += window[: self.packs_per_step]
            missing = -len(window) % self.packs_per_step
            whole = [*window, *(first[i % len(first)] for i in range(missing))]
            costly_first = sorted(whole, key=lambda pack: self.cost_of(pack, epoch), reverse=True)
            steps = list(runs_of(costly_first, self.packs_per_step))
            for place in rng("deal", self.seed, epoch, number).permutation(len(steps)):
                yield steps[place]

    def packs(self, epoch: int) -> Iterator[Rows]:
        """All packs of an epoch, in the order of their oldest samples."""
        return pack_rows(self.order(epoch), self.phase.budget_tokens)

    def order(self, epoch: int) -> Iterator[tuple[int, int]]:
        """(row, tokens) of every sample, shard-locally shuffled."""
        turn = rng("shards", self.seed, epoch).permutation(len(self.shards))
        window: list[np.ndarray] = []
        for number, place in enumerate(turn):
            window.append(self.shards[place])
            if sum(map(len, window)) < SHUFFLE_SAMPLES and number < len(turn) - 1:
                continue
            rows = rng("window", self.seed, epoch, number).permutation(np.concatenate(window))
            for row in rows.tolist():
                shown = self.image_tokens if self.as_image(row, epoch) else self.tokens
                yield row, int(shown[row])
            window = []

    def as_image(self, row: int, epoch: int) -> bool:
        """Whether a video is seen as one of its frames in an epoch."""
        share = self.phase.image_share
        return bool(
            share and self.is_video[row] and share_of("image", self.seed, epoch, row) < share
        )

    def view_of(self, row: int, epoch: int) -> View:
        """How much is seen of a sample in an epoch."""
        return still(self.phase.view) if self.as_image(row, epoch) else self.phase.view

    def cost_of(self, pack: Rows, epoch: int) -> float:
        """Operations of a pack."""
        return sum(
            float((self.image_cost if self.as_image(row, epoch) else self.cost)[row])
            for row in pack
        )


def make_plan(
    index: Index,
    *,
    rows: np.ndarray,
    phase: Phase,
    grid: Grid,
    cost: Cost,
    seed: int,
    packs_per_step: int,
) -> Plan:
    """The plan of a phase over these rows of the index; refuses a sample that no pack can hold.

    Raises ValueError."""
    rows = rows[takes_part(index, phase)[rows]]
    if not len(rows):
        raise ValueError(
            f"a phase with only = {phase.only}, min_area_px = {phase.min_area_px} and min_frames = "
            f"{phase.min_frames} leaves none of {len(index)} samples: change data.phases"
        )
    shapes, shape_of = distinct_shapes(index)
    counts, image_counts = (
        [sample_shape(*shape, grid=grid, view=view).counts for shape in shapes]
        for view in (phase.view, still(phase.view))
    )
    tokens = np.array([math.prod(count) for count in counts])[shape_of]
    longest = rows[int(np.argmax(tokens[rows]))]
    if tokens[longest] > phase.budget_tokens:
        raise ValueError(
            f"sample {index.row(int(longest))['key']} has {tokens[longest]} tokens and a pack "
            f"holds {phase.budget_tokens}: "
            "raise data.budget_tokens or lower data.view.area_px or data.view.max_frames"
        )
    return Plan(
        phase=phase,
        seed=seed,
        packs_per_step=packs_per_step,
        shards=tuple(by_shard(index, rows)),
        tokens=tokens,
        image_tokens=np.array([math.prod(count) for count in image_counts])[shape_of],
        cost=np.array([cost.forward(count) for count in counts])[shape_of],
        image_cost=np.array([cost.forward(count) for count in image_counts])[shape_of],
        is_video=index.column("num_frames") > 1,
    )


def takes_part(index: Index, phase: Phase) -> np.ndarray:
    """bool per row of the index: what the phase looks at."""
    frames = index.column("num_frames")
    area = index.column("height").astype(np.int64) * index.column("width")
    kind = {"all": frames > 0, "images": frames == 1, "videos": frames > 1}[phase.only]
    return kind & (area >= phase.min_area_px) & ((frames == 1) | (frames >= phase.min_frames))


def by_shard(index: Index, rows: np.ndarray) -> list[np.ndarray]:
    """The rows of each shard."""
    shard = index.codes("shard")[rows]
    return np.split(rows, np.flatnonzero(np.diff(shard)) + 1)


def distinct_shapes(index: Index) -> tuple[list[tuple], np.ndarray]:
    """(shapes: frames, fps, height, width; which of them each row of the index has)."""
    names = ["num_frames", "fps", "height", "width"]
    codes = np.zeros(len(index), np.int64)
    for name in names:
        code = index.codes(name)
        codes = codes * (int(code.max()) + 1) + code
    _, first, shape_of = np.unique(codes, return_index=True, return_inverse=True)
    found = index.table.select(names).take(first).to_pylist()
    return [tuple(row.values()) for row in found], shape_of


def pack_rows(
    order: Iterator[tuple[int, int]], budget_tokens: int, *, pool_samples: int = POOL_SAMPLES
) -> Iterator[Rows]:
    """Packs of rows out of (row, tokens): oldest first, then best fit out of the pool."""
    waiting = iter(order)
    by_age: deque[tuple[int, int, int]] = deque()  # (tokens, age, row)
    by_size: list[tuple[int, int, int]] = []
    taken: set[int] = set()
    age = 0

    def fill_pool() -> None:
        nonlocal age
        while len(by_size) < pool_samples and (entry := next(waiting, None)) is not None:
            row, tokens = entry
            by_age.append((tokens, age, row))
            bisect.insort(by_size, (tokens, age, row))
            age += 1

    fill_pool()
    while by_size:
        while by_age[0][1] in taken:
            taken.remove(by_age.popleft()[1])
        oldest = by_age.popleft()
        by_size.pop(bisect.bisect_left(by_size, oldest))
        pack, free = [oldest[2]], budget_tokens - oldest[0]
        fill_pool()
        while (place := bisect.bisect_left(by_size, (free + 1,)) - 1) >= 0:
            tokens, number, row = by_size.pop(place)
            taken.add(number)
            pack.append(row)
            free -= tokens
            fill_pool()
        yield tuple(pack)


def deal(step: Sequence[Rows], *, rank: int, world_size: int) -> list[Rows]:
    """A device's packs of a step whose packs fall in cost: to and fro, so that no device always
    gets the costlier one. Any number of devices that divides the step deals out the same packs.
    """
    return [
        turn[rank] if number % 2 == 0 else turn[world_size - 1 - rank]
        for number, turn in enumerate(runs_of(step, world_size))
    ]


def runs_of(packs: Iterable[Rows], size: int) -> Iterator[list[Rows]]:
    """Packs in runs of so many; the last one may be shorter."""
    packs = iter(packs)
    while run := list(islice(packs, size)):
        yield run
