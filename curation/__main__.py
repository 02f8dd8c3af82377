"""python -m curation STAGE [STAGE …] --config YAML --data DIR [--footage DIR]: the only place that
parses.

The YAML has one section per stage; every knob is also a flag (--split.max_s 10).
"""

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace, set_parsing_settings

from curation import dataset, pipeline, storage
from curation.bench.commands import BENCHES
from curation.stage import Abort, Stage
from curation.stages import dedup as comparing
from curation.stages import filter as judging
from curation.stages import inventory, look, scan, sharding, split, triage, verdict
from curation.stages import targets as targeting
from curation.stages.aesthetics import Aesthetics
from curation.stages.dedup import Dedup
from curation.stages.embed import Embed
from curation.stages.filter import Filter
from curation.stages.inventory import Inventory
from curation.stages.look import Look
from curation.stages.scan import Scan
from curation.stages.shard import Shard
from curation.stages.split import Split
from curation.stages.targets import Targets
from curation.stages.text import Text
from curation.stages.triage import Triage

STEPS_OF_SPLIT: dict[str, type[Stage]] = {
    "inventory": Inventory,
    "look": Look,
    "triage": Triage,
    "scan": Scan,
}
STAGES: dict[str, type[Stage]] = {
    "split": Split,
    "aesthetics": Aesthetics,
    "embed": Embed,
    "text": Text,
    "dedup": Dedup,
    "filter": Filter,
    "targets": Targets,
    "shard": Shard,
}
COMMANDS = [*STAGES, "audit", *BENCHES, "demo-footage", "demo-report", "demo-picture"]


def parser() -> ArgumentParser:
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(prog="python -m curation", description=__doc__, exit_on_error=False)
    parser.add_argument("stages", nargs="+", help=f"one or more of: {', '.join(COMMANDS)}")
    parser.add_argument("--config", action="config", help="YAML with a section per stage")
    parser.add_argument("--data", type=str, help="folder or s3://… of the dataset")
    parser.add_argument(
        "--footage", type=str, help="folder, glob or s3://… of the raw files; for split"
    )
    parser.add_argument("--workers", type=int, help="processes at a time; default: one per core")
    parser.add_argument("--rebuild", type=bool, default=False, help="shard: start the shards over")
    parser.add_argument(
        "--each", type=int, default=10, help="faults: variants of a file per kind of damage"
    )
    parser.add_argument(
        "--num", type=int, default=1_000_000, help="bench-dedup: clips that are made up"
    )
    parser.add_argument(
        "--truth", type=str, help="JSON of the footage's true cuts; demo: where they are written"
    )
    parser.add_argument("--samples", type=str, help="demo-picture: a sampled video")
    parser.add_argument(
        "--output", type=str, help="demo-picture: the picture; train-cuts: the weights"
    )
    for name, kind in {**STEPS_OF_SPLIT, **STAGES}.items():
        parser.add_class_arguments(kind, name)
    return parser


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    names = parser()
    try:
        _check_files(argv)
        # first, since the parser's word for a wrong stage name is about types
        unknown = [a for a in _leading(argv) if a not in COMMANDS]
        if unknown:
            raise ValueError(
                f"{unknown[0]!r} is not a stage; expected one or more of {', '.join(COMMANDS)}"
            )
        args = names.parse_args(argv)
        given = names.instantiate(args)
    except (ArgumentError, ValueError) as error:
        print(f"curation: {_sentence(error)}", file=sys.stderr)
        return 2
    try:
        return _run(given)
    except KeyboardInterrupt:
        print("curation: stopped; the same command continues from here", file=sys.stderr)
        return 130
    except (Abort, ValueError, PermissionError) as error:
        print(f"curation: {_sentence(error)}", file=sys.stderr)
        return 1


def _leading(argv: list[str]) -> list[str]:
    options = next((i for i, word in enumerate(argv) if word.startswith("-")), len(argv))
    return argv[:options]


def _check_files(argv: list[str]) -> None:
    """Raise ValueError for a --config that is no YAML with a section per stage."""
    for option, path in itertools.pairwise(argv):
        if option != "--config":
            continue
        if not Path(path).is_file():
            raise ValueError(
                f"{path!r} is not there; expected a YAML such as configs/curation/default.yaml "
                f"(make: CONFIG=, OVERLAY=, TARGETS=)"
            )
        try:
            sections = yaml.safe_load(Path(path).read_text())
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"{path!r} cannot be read as YAML: {error}") from None
        if not isinstance(sections, dict | None):
            raise ValueError(f"{path!r} is no YAML with a section per stage, such as `filter:`")


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())


def _run(args: Namespace) -> int:
    _require(args, "data", unless={*BENCHES, "demo-footage"})
    if args.workers is not None and args.workers < 1:
        raise ValueError(f"{args.workers = }, expected at least 1 (make: WORKERS=)")
    if "split" in args.stages:
        _require(args, "footage")
        if storage.lies_inside(args.data, args.footage):
            raise ValueError(
                f"DATA={args.data!r} lies inside FOOTAGE={args.footage!r}, "
                f"which would then hold its own shards; choose a folder outside"
            )
    if "filter" in args.stages:
        judging.check_rules(args.filter, data=args.data)  # before hours of decoding
    stages = [getattr(args, name) for name in args.stages if name in STAGES]
    if stages:
        # the steps that split begins with write the tables that it reads
        pipeline.check(stages, data=args.data, given=frozenset({"segments", "thumbs"}))
        storage.require_writable(args.data)  # last, since it makes the folder
    for name in args.stages:
        ok = COMMAND[name](args)
        if not ok:
            return 1
    return 0


def _require(
    args: Namespace, option: str, *, unless: set[str] | frozenset[str] = frozenset()
) -> None:
    if set(args.stages) - unless and not getattr(args, option):
        raise ValueError(
            f"--{option} is missing (make: {option.upper()}=…); expected a folder or s3://…"
        )


def _split(args: Namespace) -> bool:
    """Inventory, triage where it is enabled, scan and split: footage -> clips."""
    listed = inventory.units(args.inventory, footage=args.footage)
    pipeline.run(args.inventory, listed, data=args.data, workers=args.workers)
    sources = dataset.require(args.data, "sources")
    verdicts = _triage(args, sources) if args.triage.enabled else {}
    scanned = scan.units(args.scan, sources=sources, verdicts=verdicts)
    written = pipeline.run(args.scan, scanned, data=args.data, workers=args.workers)["units"]
    units = split.units(args.split, scanned, written, data=args.data, verdicts=verdicts)
    pipeline.run(args.split, units, data=args.data, workers=args.workers)
    videos = dataset.require(args.data, "videos")
    if videos["error"].null_count == 0:
        print("            not one file could be read; `make audit` says why")
    decoded, frames = (
        sum(n or 0 for n in videos[c].to_pylist()) for c in ("decoded_frames", "num_frames")
    )
    if frames:
        dataset.note(args.data, "split", decoded_frames=decoded, source_frames=frames)
        share = f"{decoded}/{frames} = {decoded / frames:.3f}"
        print(f"            decoded frames / source frames = {share}")
    return True


def _triage(args: Namespace, sources: pa.Table) -> dict[str, verdict.Verdict]:
    looked = look.units(args.look, sources=sources)
    names = pipeline.run(args.look, looked, data=args.data, workers=args.workers)["units"]
    pipeline.run(args.triage, triage.units(args.triage, data=args.data), data=args.data)
    return verdict.verdicts(args.data, looked, names)


def _per_video(name: str) -> Callable[[Namespace], bool]:
    def run(args: Namespace) -> bool:
        stage = getattr(args, name)
        units = pipeline.units_per_video(stage, data=args.data)
        pipeline.run(stage, units, data=args.data, workers=args.workers)
        return True

    return run


def _dedup(args: Namespace) -> bool:
    pipeline.run(args.dedup, comparing.units(args.dedup, data=args.data), data=args.data)
    return True


def _filter(args: Namespace) -> bool:
    if not args.filter.rules:
        print("filter      has no rules, so that every clip is kept: is CONFIG the right one?")
    pipeline.run(args.filter, judging.units(args.filter, data=args.data), data=args.data)
    return True


def _targets(args: Namespace) -> bool:
    from curation.audit.targets import tell

    pipeline.run(args.targets, targeting.units(args.targets, data=args.data), data=args.data)
    tell(args.data)
    return True


def _shard(args: Namespace) -> bool:
    record = sharding.run(args.shard, data=args.data, workers=args.workers, rebuild=args.rebuild)
    return record["status"] == "complete"


def _audit(args: Namespace) -> bool:
    from curation.audit.page import write_page

    print(f"audit       {write_page(args.data)}")
    return True


def _demo_footage(args: Namespace) -> bool:
    from curation.demo.film import make_footage

    _require(args, "footage")
    _require(args, "truth")
    make_footage(Path(args.footage), truth=Path(args.truth))
    return True


def _demo_report(args: Namespace) -> bool:
    from curation.demo.report import report

    _require(args, "truth")
    return report(args.data, Path(args.truth))


def _demo_picture(args: Namespace) -> bool:
    from curation.demo.picture import draw_story

    _require(args, "output")
    draw_story(args.data, Path(args.samples) if args.samples else None, Path(args.output))
    return True


COMMAND: dict[str, Callable[[Any], bool]] = {
    "split": _split,
    "aesthetics": _per_video("aesthetics"),
    "embed": _per_video("embed"),
    "text": _per_video("text"),
    "dedup": _dedup,
    "filter": _filter,
    "targets": _targets,
    "shard": _shard,
    "audit": _audit,
    **BENCHES,
    "demo-footage": _demo_footage,
    "demo-report": _demo_report,
    "demo-picture": _demo_picture,
}

if __name__ == "__main__":
    sys.exit(main())
