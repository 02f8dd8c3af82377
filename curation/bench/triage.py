"""What triage saves and what it loses.

CPU seconds of the first look, and of the full pass over what it leaves, beside decoding everything
once (`clock.py`); the clips that are kept, beside those of the full pass without triage. On films
that are made for it (`films.py`) or on any folder.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.bench.clock import bare_decode, cpu_s_of, paired, require_ffmpeg
from curation.bench.films import make_films
from curation.bench.passes import listed
from curation.stage import Tables
from curation.stages import look, scan, split
from curation.stages.filter import Rule, judge
from curation.stages.look import Look
from curation.stages.scan import Scan
from curation.stages.split import Split
from curation.stages.text import Text
from curation.stages.triage import Triage
from curation.stages.verdict import Verdict

CORPUS = Path("demo/bench")
ROUNDS = 3
COST_GOAL, LOST_GOAL, SURVIVING_GOAL = 0.4, 0.02, 0.2
CASES = ("look", "rest", "full")


@dataclass(frozen=True)
class Found:
    """What was measured of one source."""

    unit_s: float
    ratios: dict[str, float]
    """Of CASES, to the unit."""
    num_frames: int
    kept: dict[str, dict[str, Any]]
    """clip_id -> the clip, of the full pass without triage."""
    lost: dict[str, tuple[int, str]]
    """clip_id -> of the kept clips of which triage has rejected something: how many frames, why."""
    num_others: int
    """Kept clips that lie in what triage has left, but with other edges: a long shot is divided
    into equal pieces, and where part of it is gone they are others."""


def bench(
    first: Look,
    triage: Triage,
    scanning: Scan,
    rules: list[Rule],
    *,
    footage: str | None = None,
    folder: Path = CORPUS,
    rounds: int = ROUNDS,
) -> None:
    """Print the costs and what was lost; rules: of filter, by which a clip counts as kept."""
    require_ffmpeg()
    sources = listed(footage or str(make_films(folder)))
    looked = [first.run({"rows": unit.rows}) for unit in look.units(first, sources=sources)]
    tables = {name: pa.concat_tables(t[name] for t in looked) for name in Look.writes}
    judged: dict[str, dict[str, Any]] = {}
    judging_s = cpu_s_of(
        lambda: judged.update((row["uri"], row) for row in triage.run(tables)["triage"].to_pylist())
    )
    print(f"{'file':<28}{'decode s':>9}{'look':>7}{'rest':>7}{'full':>7}{'left':>7}  rejected")
    found = []
    for row in sources.to_pylist():
        if row["uri"] not in judged:
            continue
        mine = pa.Table.from_pylist([row], schema=sources.schema)
        verdict = judged[row["uri"]]
        one = measure(first, scanning, rules, source=mine, verdict=verdict, rounds=rounds)
        found.append(one)
        print(_line(verdict, one), flush=True)
    _summary(found, judging_s=judging_s)


def measure(
    first: Look,
    scanning: Scan,
    rules: list[Rule],
    *,
    source: pa.Table,
    verdict: dict[str, Any],
    rounds: int,
) -> Found:
    uri = source["uri"][0].as_py()
    (unit,) = look.units(first, sources=source)
    made: dict[str, Tables] = {}

    def keeping(name: str, run: Callable[[], Tables]) -> Callable[[], None]:
        return lambda: made.update({name: run()})

    measured = paired(
        lambda: bare_decode(uri, stream=0),
        {
            "look": keeping("look", lambda: first.run({"rows": unit.rows})),
            "rest": keeping("rest", lambda: _pass(scanning, source, verdict)),
            "full": keeping("full", lambda: _pass(scanning, source, None)),
        },
        rounds=rounds,
    )
    kept = _kept(made["full"], rules)
    rest = set(made["rest"]["clips"]["clip_id"].to_pylist())
    lost = {name: _rejected(clip, verdict) for name, clip in kept.items()}
    return Found(
        unit_s=measured["full"].unit_s,
        ratios={name: measured[name].ratio for name in CASES},
        num_frames=sum(n or 0 for n in made["full"]["videos"]["num_frames"].to_pylist()),
        kept=kept,
        lost={name: (frames, why) for name, (frames, why) in lost.items() if frames},
        num_others=sum(name not in rest and not lost[name][0] for name in kept),
    )


def _pass(stage: Scan, source: pa.Table, verdict: dict[str, Any] | None) -> Tables:
    """Scan and split of one source, or of what triage has left of it."""
    uri = source["uri"][0].as_py()
    row = verdict if verdict and verdict["rejected_frames"] else None
    verdicts = {uri: Verdict(row, [])} if row else {}
    units = scan.units(stage, sources=source, verdicts=verdicts)
    scanned = [stage.run({"rows": unit.rows}) for unit in units if unit.rows is not None]
    tables = {name: pa.concat_tables(t[name] for t in scanned) for name in Scan.writes}
    tables["rows"] = pa.Table.from_pylist([{"uri": uri, "triage": row}], schema=split.UNIT_ROWS)
    tables["look_pictures"] = look.PICTURES.empty_table()
    return Split().run(tables)


def _kept(tables: Tables, rules: list[Rule]) -> dict[str, dict[str, Any]]:
    """The clips that filter keeps by the rules on columns of split and text."""
    read = Text().run({name: tables[name] for name in Text.reads})["text"].drop(["error"])
    clips = tables["clips"].join(read, "clip_id")
    known = [rule for rule in rules if rule.column in clips.column_names]
    keep = judge(clips, known)["keep"].to_pylist()
    return {c["clip_id"]: c for c, is_kept in zip(clips.to_pylist(), keep, strict=True) if is_kept}


def _rejected(clip: dict[str, Any], verdict: dict[str, Any]) -> tuple[int, str]:
    """How many of its frames triage has rejected, and why most of them."""
    frames: Counter[str] = Counter()
    for stretch in verdict["stretches"]:
        start = max(clip["start_frame"], stretch["start_frame"])
        end = min(clip["end_frame"], stretch["end_frame"])
        if stretch["reject"] and start < end:
            frames[stretch["reject"]] += end - start
    return (frames.total(), frames.most_common(1)[0][0]) if frames else (0, "")


# -- printing --------------------------------------------------------------------------------------


def _line(verdict: dict[str, Any], found: Found) -> str:
    left = 1 - verdict["rejected_frames"] / max(1, found.num_frames)
    reasons = sorted({s["reject"] for s in verdict["stretches"] if s["reject"]})
    words = ", ".join(reason.removeprefix("triage_") for reason in reasons)
    return (
        f"{Path(verdict['uri']).name:<28}{found.unit_s:>9.2f}"
        + "".join(f"{found.ratios[name]:>7.2f}" for name in CASES)
        + f"{left:>7.2f}  {verdict['untriaged'] or words}"
    )


def _summary(found: list[Found], *, judging_s: float) -> None:
    decode_s = sum(one.unit_s for one in found)
    share = {name: sum(one.unit_s * one.ratios[name] for one in found) / decode_s for name in CASES}
    judging = judging_s / decode_s
    kept = {name: clip for one in found for name, clip in one.kept.items()}
    lost = {name: loss for one in found for name, loss in one.lost.items()}
    copies = {name for name, (_, reason) in lost.items() if reason == "triage_duplicate"}
    wanted = [clip["num_frames"] for name, clip in kept.items() if name not in copies]
    missed = {name: frames for name, (frames, _) in lost.items() if name not in copies}
    num_lost = sum(frames > kept[name]["num_frames"] / 2 for name, frames in missed.items())
    total = judging + share["look"] + share["rest"]
    rows = [
        ("frames of kept clips", SURVIVING_GOAL, sum(wanted) / sum(o.num_frames for o in found)),
        ("look + triage + full pass on the rest / bare decode", COST_GOAL, total),
        ("  look", None, share["look"]),
        ("  triage", None, judging),
        ("full pass without triage / bare decode", None, share["full"]),
        (
            "kept clips of which triage rejected more than half",
            LOST_GOAL,
            num_lost / max(1, len(wanted)),
        ),
        (
            "frames of kept clips that triage rejected",
            None,
            sum(missed.values()) / max(1, sum(wanted)),
        ),
    ]
    print()
    for what, goal, value in rows:
        print(f"{what:<56}{f'<= {goal:.2f}' if goal else '':>8}{value:>8.3f}")
    others = sum(one.num_others for one in found)
    print(f"\n{len(wanted)} clips kept without triage; {others} of them divided otherwise with it")
    print(f"{len(copies)} more in copies, rejected by triage")
    for name, frames in missed.items():
        clip = kept[name]
        place = f"{clip['uri']} {clip['start_frame']}-{clip['end_frame']}"
        print(f"lost: {frames} frames of {place}, {lost[name][1]}")
