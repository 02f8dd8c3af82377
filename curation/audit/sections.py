"""The sections of the audit page: each takes the joined tables and gives HTML."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from curation.audit import statistics
from curation.audit.charts import bar
from curation.audit.ledger import Ledger
from curation.audit.statistics import Check, Problem, Step
from curation.markup import (
    Child,
    Html,
    clock,
    duration,
    element,
    isolated,
    size,
    table,
)

MANY = 25
"""Places named per problem; a longer list is closed at first."""

ROUTES = {
    "copy": "copied",
    "smart": "copied, edges re-encoded",
    "encode": "re-encoded",
    "bytes": "the file's own bytes",
}


def sentence(*words: Child) -> Html:
    """A sentence in place of a section that has nothing to show."""
    return element("p", words, class_="absent")


def header(name: str, steps: Sequence[Step], checks: Sequence[Check]) -> Html:
    """The dataset in four numbers, and whether the sums come out."""
    stands = {step.label: step for step in steps if not step.is_loss}
    tiles = [
        element(
            "div",
            element("dt", title),
            element("dd", f"{stands[label].count:,}"),
            element("dd", duration(stands[label].hours), class_="more"),
        )
        for title, label in (
            ("Files", statistics.FOUND),
            ("Clips found", statistics.CLIPS_FOUND),
            ("Clips kept", statistics.KEPT),
            ("Samples in shards", statistics.IN_SHARDS),
        )
    ]
    broken = sum(check.holds is False for check in checks)
    if broken:
        state = f"{broken} of {len(checks)} sums do not come out: see the funnel."
    elif all(check.holds for check in checks):
        state = "Every file, clip and sample is accounted for."
    else:
        state = "Nothing is missing so far; some stages have yet to run."
    return element(
        "header",
        element("p", "Dailies: what was kept, what was dropped, and why", class_="over"),
        element("h1", isolated(name)),
        element("dl", tiles, class_="tiles"),
        element("p", state, class_="verdict bad" if broken else "verdict good"),
    )


def funnel(steps: Sequence[Step], checks: Sequence[Check]) -> list[Html]:
    """What stands after each step, what each reason took, and the sums that must come out."""
    whole = {unit: max(s.count for s in steps if s.unit == unit) for unit in ("files", "clips")}
    left = 0
    rows: list[list[Child]] = []
    for step in steps:
        before, left = left, left - step.count if step.is_loss else step.count
        minus = "\N{MINUS SIGN}" if step.is_loss and step.count else ""
        kind = "loss" if step.is_loss else "stand"
        kind += " opens" if step.label == statistics.CLIPS_FOUND else ""
        reach = ("" if n is None else f"{n:,}" for n in (step.failing, step.failing_alone))
        rows.append(
            [
                element("span", step.label, class_=kind),
                bar(before, left, whole[step.unit], is_loss=step.is_loss),
                f"{minus}{step.count:,}",
                duration(step.hours) if step.hours or not step.is_loss else "",
                *(reach if step.is_measured else ("not measured", "")),
            ]
        )
    intro = "A clip is counted once, under the first reason that turned it away. The last two "
    intro += "columns count every clip that fails a rule, and those that fail no other one: "
    intro += "what would come back without the rule."
    head = ["Step", "", "Count", "Footage", "Fail the rule", "Fail only it"]
    return [
        element("p", intro),
        element("div", table(head, rows, caption="Funnel"), class_="barred funnel"),
        element("h3", "What went in equals what came out"),
        element("ul", [_check(check) for check in checks], class_="checks"),
    ]


def _check(check: Check) -> Html:
    states = {True: "accounted for", False: "does not come out", None: "open"}
    return element(
        "li",
        element("b", check.name),
        element("span", check.text),
        element("span", states[check.holds], class_="state"),
        class_={True: "good", False: "bad", None: None}[check.holds],
    )


def captions(ledger: Ledger) -> list[Html]:
    """Clips per source of their caption."""
    rows = [
        [row["source"] or "no caption", row["model"], f"{row['clips']:,}", _mean(row["mean_chars"])]
        for row in statistics.caption_sources(ledger)
    ]
    head = ["Source", "Model", "Clips", "Mean characters"]
    return [table(head, rows, caption="Captions by source")]


def _mean(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def buckets(ledger: Ledger) -> list[Html]:
    """What lies in the shards, by bucket."""
    found = statistics.buckets(ledger)
    most = max((row["samples"] for row in found), default=0)
    rows = [
        [
            row["bucket"],
            bar(row["samples"], row["samples"], most),
            f"{row['samples']:,}",
            duration(row["hours"]),
            f"{row['frames']:,}",
            size(row["num_bytes"]),
            f"{row['shards']:,}",
            f"{row['copied']:,} / {row['smart']:,} / {row['encoded']:,}",
        ]
        for row in found
    ]
    head = ["Bucket", "", "Samples", "Footage", "Frames", "Media", "Shards"]
    head.append("Copied / edges encoded / encoded")
    ways = statistics.routes(ledger)
    return [
        element("div", table(head, rows, caption="Samples per bucket"), class_="barred"),
        element("h3", "How the samples were cut"),
        _routes(ways),
    ]


def _routes(ways: Sequence[Mapping[str, Any]]) -> Html:
    """Samples and re-encoded frames per route."""
    frames = sum(way["frames"] for way in ways)
    encoded = sum(way["frames_encoded"] for way in ways)
    rows = [
        [
            ROUTES.get(way["route"], way["route"]),
            f"{way['samples']:,}",
            duration(way["hours"]),
            f"{way['frames']:,}",
            f"{way['frames_encoded']:,}",
        ]
        for way in ways
    ]
    share = f"{100 * encoded / frames:.1f} % of all" if frames else ""
    rows.append(["Together", "", "", f"{frames:,}", f"{encoded:,} ({share})"])
    head = ["Route", "Samples", "Footage", "Frames", "Frames re-encoded"]
    return table(head, rows, caption="Samples per route")


def problems(ledger: Ledger) -> list[Html]:
    """What failed and which files were turned away, by reason, with the places named."""
    found = statistics.problems(ledger, examples=MANY)
    parts: list[Html] = []
    for is_error, title in ((True, "Failed"), (False, "Files turned away")):
        some = [_problem(problem) for problem in found if problem.is_error == is_error]
        parts += [element("h3", title), *(some or [element("p", "None.")])]
    return parts


def _problem(problem: Problem) -> Html:
    lines = []
    for row in problem.examples:
        where: list[Child] = [element("b", isolated(row["uri"]))]
        if row["start_s"] is not None:
            where.append(f" {clock(row['start_s'])} to {clock(row['end_s'])}")
        if row["detail"]:
            where += [": ", isolated(row["detail"])]
        lines.append(element("li", where))
    more = problem.count - len(lines)
    title = [element("code", problem.reason), f": {problem.count:,} in {problem.stage}"]
    return element(
        "details",
        element("summary", title),
        element("ul", lines),
        element("p", f"{more:,} more are in the tables.", class_="small") if more else None,
        class_="problem",
        open=problem.count <= MANY,
    )


def runs(records: Iterable[Mapping[str, Any]]) -> list[Html]:
    """The last run of every stage: rows, seconds, frames decoded, and its configuration."""
    rows: list[list[Child]] = []
    configs = []
    for record in records:
        counts, seconds = record.get("counts", {}), record.get("seconds", {})
        decoded, source = record.get("decoded_frames"), record.get("source_frames")
        units = ("units", "units_done_before")
        rows.append(
            [
                record["stage"],
                record.get("status"),
                *(
                    _count(counts.get(key))
                    for key in ("rows", "kept", "rejected", "failed", *units)
                ),
                ", ".join(f"{value:,.1f} {key}" for key, value in seconds.items()),
                f"{decoded / source:.3f}" if decoded is not None and source else "",
                element("code", (record.get("commit") or "")[:10]),
            ]
        )
        config = json.dumps(record.get("config", {}), indent=2, sort_keys=True, ensure_ascii=False)
        summary = element("summary", f"Configuration of {record['stage']}")
        configs.append(element("details", summary, element("pre", config)))
    counted = ["Rows", "Kept", "Rejected", "Failed", "Units", "Done before"]
    head = ["Stage", "Status", *counted, "Seconds", "Decoded / source", "Commit"]
    return [table(head, rows, caption="Last run of each stage"), *configs]


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
