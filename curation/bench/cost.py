"""What the one pass costs, beside bare decoding and beside the usual way, on the same files.

`make bench` measures a corpus that it makes (`corpus.py`); `make bench FOOTAGE=…` measures that
footage. Figures are CPU seconds, not time by the clock, and ratios of them (`clock.py`).
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2

from curation import storage
from curation.bench import corpus
from curation.bench.clock import Paired, bare_decode, cpu_s_of, paired, require_ffmpeg
from curation.bench.fast import cut_f1, drifts, thumbs_psnr_db
from curation.bench.long import measure_long
from curation.bench.naive import CUTS, naive
from curation.bench.passes import curate, cut_all, laps, listed
from curation.stage import Tables
from curation.stages.inventory import identify
from curation.stages.scan import Scan
from curation.stages.split import Split

CORPUS = Path("demo/bench")
ROUNDS = 3
PASS_GOAL, DENSE_GOAL, FAST_GOAL = 1.15, 1.40, 0.95
NAIVE_GOAL, NAIVE_COPY_GOAL = 8.0, 3.0
Figure = tuple[str, str, str]
"""What, the goal, what was measured."""


@dataclass(frozen=True)
class Cost:
    """One file's figures."""

    name: str
    kind: str
    """Codec and height."""
    frames: int
    decoded_frames: int
    copied: int
    clips: int
    exact: Paired
    """The whole pass."""
    fast: Paired
    parts_s: dict[str, float]
    naive_s: dict[str, dict[str, float]]
    """CPU seconds by step of the usual way, by how it cuts; empty where its tools fail."""
    exact_tables: Tables
    fast_tables: Tables


def bench(footage: str | None, *, folder: Path = CORPUS, rounds: int = ROUNDS) -> None:
    """Print the tables, the figures last. Without footage: of the corpus, which also holds what the
    figures on long files and on memory need.
    """
    require_ffmpeg()
    if footage is None:
        print(f"making or finding the corpus in {folder}: a few minutes the first time", flush=True)
        uris = [str(path) for path in corpus.make_corpus(folder)]
    else:
        uris = unlike([source.uri for source in storage.list_sources(footage)])
    cv2.setNumThreads(1)
    costs = [cost for uri in uris if (cost := measure(uri, rounds=rounds))]
    if not costs:
        raise ValueError(f"FOOTAGE={footage!r} holds no video that can be decoded")
    show_files(costs)
    show_parts(costs)
    show_fast(costs)
    show_naive(costs)
    figures = [*cost_figures(costs)]
    if footage is None:
        figures += measure_long(folder)
    print(f"\n{'figure':<58}{'goal':>12}{'measured':>14}")
    for what, goal, measured in figures:
        print(f"{what:<58}{goal:>12}{measured:>14}")


def unlike(uris: list[str]) -> list[str]:
    """The first of the files with the same bytes."""
    first: dict[str | None, str] = {}
    for uri in uris:
        first.setdefault(identify(uri)[0], uri)
    return sorted(first.values())


def measure(uri: str, *, rounds: int) -> Cost | None:
    """The costs of one file, or None where it is not a video that can be decoded."""
    exact = curate(uri, knobs=Scan())  # not timed: models are loaded once per worker
    fast = curate(uri, knobs=Scan(profile="fast"))
    video = exact["videos"].to_pylist()[0]
    if video["error"] or video["reject"] or video["is_image"]:
        return None
    stream, routes = video["stream_index"], cut_all(uri, exact)
    with storage.local_copy(uri) as copy:
        path = str(copy)
        ratios = paired(
            lambda: bare_decode(path, stream=stream),
            {
                "exact": lambda: cut_all(path, curate(path, knobs=Scan())),
                "fast": lambda: cut_all(path, curate(path, knobs=Scan(profile="fast"))),
            },
            rounds=rounds,
        )
        parts_s = {"inventory": cpu_s_of(lambda: listed(path))} | laps(path)
        parts_s["split"] = cpu_s_of(lambda: Split().run(exact))
        parts_s["cutting"] = cpu_s_of(lambda: cut_all(path, exact))
        usual = naive(path, stream=stream)
    return Cost(
        name=uri.rpartition("/")[2],
        kind=f"{video['codec']} {min(video['width'], video['height'])}p",
        frames=video["num_frames"],
        decoded_frames=video["decoded_frames"],
        copied=routes["copy"],
        clips=sum(routes.values()),
        exact=ratios["exact"],
        fast=ratios["fast"],
        parts_s=parts_s,
        naive_s=usual,
        exact_tables=exact,
        fast_tables=fast,
    )


def ratio(costs: Iterable[Cost], of: Callable[[Cost], Paired]) -> float:
    """Of several files: sum of each file's unit times its ratio, over the sum of the units."""
    pairs = [of(cost) for cost in costs]
    return sum(p.unit_s * p.ratio for p in pairs) / sum(p.unit_s for p in pairs)


def by_kind(costs: list[Cost]) -> dict[str, list[Cost]]:
    kinds: dict[str, list[Cost]] = defaultdict(list)
    for cost in costs:
        kinds[cost.kind].append(cost)
    return dict(sorted(kinds.items()))


def show_files(costs: list[Cost]) -> None:
    print("\nCPU seconds of inventory, scan, split and stream-copy cutting / of bare decoding")
    heads = ("frames", "decoded", "copied", "decode s", "pass", "fast")
    print(f"{'file':<36}{'kind':<16}" + "".join(f"{head:>10}" for head in heads))
    rows = [(cost.name[-34:], cost.kind, [cost]) for cost in costs]
    kinds = by_kind(costs)
    rows += [("", f"all {kind}", found) for kind, found in kinds.items() if len(kinds) > 1]
    rows.append(("all", "", costs))
    for name, kind, found in rows:
        frames = sum(c.frames for c in found)
        cells = (
            f"{frames}",
            f"{sum(c.decoded_frames for c in found) / frames:.3f}",
            f"{sum(c.copied for c in found)}/{sum(c.clips for c in found)}",
            f"{sum(c.exact.unit_s for c in found):.2f}",
            f"{ratio(found, _exact):.3f}",
            f"{ratio(found, _fast):.3f}",
        )
        print(f"{name:<36}{kind:<16}" + "".join(f"{cell:>10}" for cell in cells))


def show_parts(costs: list[Cost]) -> None:
    print("\nwhere it goes: microseconds of CPU per frame, and share of bare decoding")
    kinds = by_kind(costs)
    print(f"{'part':<20}" + "".join(f"{kind:>16}" for kind in kinds))
    parts = list(dict.fromkeys(part for cost in costs for part in cost.parts_s))
    for part in (*parts, "sum"):
        cells = []
        for found in kinds.values():
            spent_s = sum(
                sum(c.parts_s.values()) if part == "sum" else c.parts_s[part] for c in found
            )
            us = 1e6 * spent_s / sum(c.frames for c in found)
            cells.append(f"{us:.1f} {spent_s / sum(c.exact.unit_s for c in found):6.3f}")
        print(f"{part:<20}" + "".join(f"{cell:>16}" for cell in cells))


def show_fast(costs: list[Cost]) -> None:
    print("\nfast against exact: cuts (F1 at ±1 frame), thumbnails (PSNR), columns of the clips")
    for kind, found in by_kind(costs).items():
        tables = [c.exact_tables for c in found], [c.fast_tables for c in found]
        f1, cuts = cut_f1(*tables)
        psnr = thumbs_psnr_db(*tables)
        worst, median = (min(psnr), statistics.median(psnr)) if psnr else (math.nan, math.nan)
        print(f"{kind:<16} cuts {f1:.3f} of {cuts}; PSNR {median:.1f} dB, worst {worst:.1f}")
    heads = ("clips", "mean", "mean change", "largest")
    print(f"{'column':<36}" + "".join(f"{head:>14}" for head in heads))
    for drift in drifts([c.exact_tables for c in costs], [c.fast_tables for c in costs]):
        cells = (
            f"{drift.clips}",
            *(f"{value:.4g}" for value in (drift.mean, drift.mean_change, drift.max_change)),
        )
        print(f"{drift.column:<36}" + "".join(f"{cell:>14}" for cell in cells))


def show_naive(costs: list[Cost]) -> None:
    print("\nthe usual way / bare decoding, and / ours")
    steps = list(dict.fromkeys(s for c in costs for spent in c.naive_s.values() for s in spent))
    heads = "".join(f"{step:>10}" for step in (*steps, "all", "/ ours"))
    print(f"{'kind':<16}{'clips are':<12}{heads}")
    kinds = by_kind(costs)
    rows = [*kinds.items(), *([("all", costs)] if len(kinds) > 1 else [])]
    for kind, found in rows:
        for cut in CUTS:
            done = [(c, spent) for c in found if (spent := c.naive_s.get(cut))]
            if not done:
                continue
            unit_s = sum(c.exact.unit_s for c, _ in done)
            cells = [sum(spent.get(step, 0) for _, spent in done) / unit_s for step in steps]
            cells += [sum(cells), naive_ratio(found, cut)]
            print(f"{kind:<16}{CUTS[cut]:<12}" + "".join(f"{cell:>10.2f}" for cell in cells))


def naive_ratio(costs: list[Cost], cut: str) -> float:
    """CPU seconds of the usual way / of ours, over the files on which its tools work."""
    done = [(cost, spent) for cost in costs if (spent := cost.naive_s.get(cut))]
    ours = sum(cost.exact.unit_s * cost.exact.ratio for cost, _ in done)
    return sum(sum(spent.values()) for _, spent in done) / ours if ours else math.nan


def cost_figures(costs: list[Cost]) -> list[Figure]:
    found = []
    for kind, of_kind in by_kind(costs).items():
        dense = int(kind.split()[1].rstrip("p")) < 480
        goal = DENSE_GOAL if dense else PASS_GOAL
        found.append((f"pass / decode, {kind}", f"<= {goal}", f"{ratio(of_kind, _exact):.3f}"))
    for kind, of_kind in by_kind(costs).items():
        found.append((f"fast / decode, {kind}", f"<= {FAST_GOAL}", f"{ratio(of_kind, _fast):.3f}"))
    for cut, goal in (("encode", NAIVE_GOAL), ("copy", NAIVE_COPY_GOAL)):
        what = f"usual way / ours, clips {CUTS[cut]}"
        found.append((what, f">= {goal:g}", f"{naive_ratio(costs, cut):.2f}"))
    return found


def _exact(cost: Cost) -> Paired:
    return cost.exact


def _fast(cost: Cost) -> Paired:
    return cost.fast
