"""The benchmarks by the name under which the command line knows them."""

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


def exact(args: Any) -> bool:
    from curation.bench.exact import exact

    return exact(args.footage)


def faults(args: Any) -> bool:
    from curation.bench.faults import faults

    if not args.footage:
        raise ValueError("--footage is missing (make: FOOTAGE=…); expected a folder of good files")
    return faults(args.footage, each=args.each, workers=args.workers)


BENCHES: dict[str, Callable[[Any], bool]] = {
    "bench": cost,
    "bench-cuts": cuts,
    "bench-dedup": dedup,
    "bench-triage": triage,
    "bench-exact": exact,
    "faults": faults,
}
