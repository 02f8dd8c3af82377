"""The benchmarks, and what else is run by hand, by the command line's names for them."""

from collections.abc import Callable
from typing import Any


def cost(args: Any) -> bool:
    from curation.bench.cost import bench

    bench(args.footage)
    return True


def cuts(args: Any) -> bool:
    from curation.bench.cuts import bench_cuts

    bench_cuts(args.footage, args.truth)
    return True


def dedup(args: Any) -> bool:
    from curation.bench.dedup import bench_dedup

    bench_dedup(args.footage, truth=args.truth, num=args.num, workers=args.workers)
    return True


def triage(args: Any) -> bool:
    from curation.bench.triage import bench

    bench(args.look, args.triage, args.scan, args.filter.rules, footage=args.footage)
    return True


def cutting(args: Any) -> bool:
    from curation.bench.cutting import bench

    _require(args, "footage")
    bench(args.footage)
    return True


def exact(args: Any) -> bool:
    from curation.bench.exact import exact

    return exact(args.footage)


def faults(args: Any) -> bool:
    from curation.bench.faults import faults

    _require(args, "footage")
    return faults(args.footage, each=args.each, workers=args.workers)


def train_cuts(args: Any) -> bool:
    from curation.meters.cuts.training.train import train_cuts

    _require(args, "footage")
    train_cuts(args.footage, *([args.output] if args.output else []))
    return True


def _require(args: Any, option: str) -> None:
    if not getattr(args, option):
        raise ValueError(f"--{option} is missing (make: {option.upper()}=…); expected a folder")


BENCHES: dict[str, Callable[[Any], bool]] = {
    "bench": cost,
    "bench-cuts": cuts,
    "bench-dedup": dedup,
    "bench-triage": triage,
    "bench-cutting": cutting,
    "bench-exact": exact,
    "faults": faults,
    "train-cuts": train_cuts,
}
