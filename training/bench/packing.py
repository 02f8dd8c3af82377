"""How full packs are, how long a sample waits and how even the devices are: our plan beside the
ways that other trainers fill a step, on the same samples in the same order.

Padding: batches of 8, filled up to their longest sample. Bucketing: batches of samples of one
length, as many as a pack holds (Open-Sora, Zheng et al. 2024). Greedy: in order, a new pack where a
sample does not fit (NaViT as vit-pytorch has it). First-fit decreasing: of every 256 samples, the
longest first into the first pack with room (NVIDIA DFM, NeMo).
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from training.curriculum import Phase, View
from training.index import Index, load_index
from training.models.cost import Cost
from training.models.patches import Grid
from training.plan import Plan, make_plan, pack_rows

PADDED_SAMPLES = 8
BUFFER_SAMPLES = 256
DEVICES = 8
Tokens = list[int]
Packs = list[tuple[list[int], int]]
"""(samples by their place in the order, tokens that the pack takes on the device)."""


@dataclass(frozen=True)
class Figures:
    """What a way of packing gives."""

    name: str
    filled: float
    """real tokens over tokens that the device works on"""
    waited: int
    """samples that came after one and were packed before it, at most"""
    balance: float
    """mean over largest cost of 8 devices, averaged over steps"""


def compare(plan: Plan, *, epoch: int = 0) -> list[Figures]:
    """All ways on one epoch of a plan; ours last."""
    rows = [row for row, _ in plan.order(epoch)]
    tokens = [tokens for _, tokens in plan.order(epoch)]
    costs = [plan.cost_of((row,), epoch) for row in rows]
    budget = plan.phase.budget_tokens
    ways: dict[str, Callable[[Tokens, int], Packs]] = {
        f"padding, batches of {PADDED_SAMPLES}": padded,
        "buckets of one length": bucketed,
        "greedy, in order": greedy,
        f"first fit, {BUFFER_SAMPLES} at a time": first_fit,
        "our pool, dealt in turn": ours,
    }
    found = [
        figures(name, way(tokens, budget), tokens=tokens, costs=costs) for name, way in ways.items()
    ]
    place = {row: number for number, row in enumerate(rows)}
    dealt = [([place[row] for row in pack], budget) for step in plan.steps(epoch) for pack in step]
    last = figures("our plan", dealt, tokens=tokens, costs=costs)
    # a window of packs is dealt at once: how long a sample waits is a matter of packing
    return [*found, Figures(last.name, found[-1].filled, found[-1].waited, last.balance)]


def figures(name: str, packs: Packs, *, tokens: Tokens, costs: list[float]) -> Figures:
    """The tail of the last few packs, which any way leaves half empty, counts for its share."""
    filled = sum(tokens[i] for pack, _ in packs for i in pack) / sum(size for _, size in packs)
    newest = waited = 0
    for pack, _ in packs:
        newest = max(newest, *pack)
        waited = max(waited, newest - min(pack))
    work = [sum(costs[i] for i in pack) for pack, _ in packs]
    steps = [work[i : i + DEVICES] for i in range(0, len(work) - DEVICES + 1, DEVICES)]
    balance = float(np.mean([np.mean(step) / max(step) for step in steps])) if steps else 1.0
    return Figures(name, filled, waited, balance)


# -- other ways ------------------------------------------------------------------------------------


def padded(tokens: Tokens, budget: int) -> Packs:
    runs = [
        list(range(start, min(start + PADDED_SAMPLES, len(tokens))))
        for start in range(0, len(tokens), PADDED_SAMPLES)
    ]
    return [(run, len(run) * max(tokens[i] for i in run)) for run in runs]


def bucketed(tokens: Tokens, budget: int) -> Packs:
    buckets: dict[int, list[int]] = defaultdict(list)
    packs: Packs = []
    for number, length in enumerate(tokens):
        bucket = buckets[length]
        bucket.append(number)
        if (len(bucket) + 1) * length > budget:
            packs.append((buckets.pop(length), budget))
    return packs + [(bucket, budget) for bucket in buckets.values()]


def greedy(tokens: Tokens, budget: int) -> Packs:
    packs: Packs = []
    pack: list[int] = []
    for number, length in enumerate(tokens):
        if sum(tokens[i] for i in pack) + length > budget:
            packs.append((pack, budget))
            pack = []
        pack.append(number)
    return [*packs, (pack, budget)]


def first_fit(tokens: Tokens, budget: int) -> Packs:
    packs: Packs = []
    for start in range(0, len(tokens), BUFFER_SAMPLES):
        numbers = range(start, min(start + BUFFER_SAMPLES, len(tokens)))
        bins: list[tuple[list[int], int]] = []
        for number in sorted(numbers, key=lambda i: tokens[i], reverse=True):
            for place, (pack, free) in enumerate(bins):
                if tokens[number] <= free:
                    pack.append(number)
                    bins[place] = (pack, free - tokens[number])
                    break
            else:
                bins.append(([number], budget - tokens[number]))
        packs += [(pack, budget) for pack, _ in bins]
    return packs


def ours(tokens: Tokens, budget: int) -> Packs:
    return [(list(pack), budget) for pack in pack_rows(iter(enumerate(tokens)), budget)]


# -- a corpus --------------------------------------------------------------------------------------

SHAPES = ((1080, 1920), (720, 1280), (1920, 1080), (480, 640), (1080, 1080), (720, 960), (640, 360))


def made_up(num: int, *, seed: int = 0) -> Iterator[tuple[int, float | None, int, int]]:
    """(frames, fps, height, width) of clips as a crawl has them: 15 % images, else lengths around
    5 s at 24 fps, at most 20 s, of seven shapes.
    """
    random = np.random.default_rng(seed)
    for _ in range(num):
        height, width = SHAPES[random.integers(len(SHAPES))]
        if random.random() < 0.15:
            yield 1, None, height, width
        else:
            seconds = min(20.0, float(np.exp(random.normal(np.log(5.0), 0.7))))
            yield max(17, round(24 * seconds)), 24.0, height, width


def corpus(num: int) -> Index:
    """An index of made-up clips, 1000 to a shard."""
    shapes = list(made_up(num))
    names = ("num_frames", "fps", "height", "width")
    columns = {name: [shape[i] for shape in shapes] for i, name in enumerate(names)}
    shards = [f"{number // 1000:06d}.tar" for number in range(num)]
    keys = [f"{number:08d}" for number in range(num)]
    table = pa.table({"key": keys, "shard": shards, "offset_media": range(num), **columns})
    return Index(data="made up", table=table)


def run(
    data: str | None = None,
    *,
    num: int = 100_000,
    view: View = View(area_px=256 * 256, max_frames=129),  # noqa: B008 - frozen
    grid: tuple[int, int, int, int, int] = (4, 8, 1, 2, 2),
    times_longest: float = 4.0,
    width: int = 512,
) -> None:
    """Print how full packs are and how even devices, beside other ways.

    Args:
        data: a dataset with shards; null: made-up clips.
        num: of made-up clips.
        view: how much of a clip is looked at.
        grid: frames and pixels of a latent point, then latent points of a token along time, height
            and width.
        times_longest: tokens of a pack over those of the longest sample.
        width: of the transformer, which says how much attention weighs in the cost.
    """
    index = load_index(data) if data else corpus(num)
    frames, pixels, *patch = grid
    cost = Cost(width, 12, mlp_ratio=4.0, token_width=64, attention="full", causal=True)

    def planned(budget_tokens: int) -> Plan:
        return make_plan(
            index,
            rows=np.arange(len(index)),
            phase=Phase(view=view, budget_tokens=budget_tokens),
            grid=Grid(frames, pixels, (patch[0], patch[1], patch[2])),
            cost=cost,
            seed=0,
            packs_per_step=DEVICES,
        )

    longest = int(planned(1 << 40).tokens.max())
    plan = planned(round(times_longest * longest))
    started = time.perf_counter()
    steps = sum(1 for _ in plan.steps(0))
    seconds = time.perf_counter() - started
    print(f"{len(index):,} samples of {data or 'a made-up corpus'}: {view}")
    print(report(compare(plan), budget=plan.phase.budget_tokens, longest=longest))
    print(
        f"planned {steps:,} steps in {seconds:.2f} s, {1e6 * seconds / len(index):.1f} us a sample"
    )


def report(found: Iterable[Figures], *, budget: int, longest: int) -> str:
    lines = [
        f"packs of {budget:,} tokens, {budget / longest:.1f} x the longest sample",
        f"{'':26}{'filled':>8}{'waited':>9}{'balance of ' + str(DEVICES):>15}",
    ]
    lines += [f"{it.name:26}{it.filled:8.4f}{it.waited:9,}{it.balance:15.3f}" for it in found]
    return "\n".join(lines)
