"""What each target takes of the kept clips: on the page, and printed by `targets`.

Reads the table that the stage `targets` writes. Where filter has not run, every clip counts that
nothing has turned away yet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from curation import dataset
from curation.audit.charts import bar
from curation.audit.ledger import Ledger, ask
from curation.markup import Child, Html, duration, element, table


@dataclass(frozen=True)
class Group:
    """Clips of one bucket, or rejected for one reason."""

    name: str
    clips: int
    hours: float
    detail: str = ""
    """What those rejected have and what it takes."""


@dataclass(frozen=True)
class Share:
    """What one target takes and rejects of the kept clips."""

    target: str
    clips: int
    hours: float
    of_clips: int
    buckets: Sequence[Group]
    """The largest first."""
    rejects: Sequence[Group]
    """The most frequent first."""


def shares(tables: Mapping[str, pa.Table]) -> list[Share]:
    """Of the tables clips, targets and, where it exists, filter; in the order of the targets."""
    kept = "JOIN (SELECT clip_id FROM filter WHERE keep) USING (clip_id)"
    question = f"""
        WITH numbered AS (
            SELECT *, row_number() OVER () AS place FROM targets),
        order_of AS (SELECT target, min(place) AS first FROM numbered GROUP BY target),
        judged AS (
            SELECT targets.*, (end_s - start_s) / 3600 AS hours, width, height, fps
            FROM targets JOIN (SELECT DISTINCT ON (clip_id) * FROM clips
                               WHERE reject IS NULL AND error IS NULL) USING (clip_id)
            {kept if "filter" in tables else ""})
        SELECT target, judged.bucket, judged.reject, count(*) AS clips, sum(hours) AS hours,
            min(num_frames_at_target) AS fewest, max(num_frames_at_target) AS most,
            any_value(target_fps) AS target_fps, any_value(frames_needed) AS frames_needed,
            min(fps) AS slowest, max(fps) AS fastest, min(crop_pct) AS least_crop,
            arg_max(width || 'x' || height, width::BIGINT * height) AS largest
        FROM judged JOIN order_of USING (target) GROUP BY target, bucket, judged.reject, first
        ORDER BY first, clips DESC, bucket, judged.reject
        """
    given = {name: tables[name] for name in ("clips", "targets", "filter") if name in tables}
    rows = ask(question, given).to_pylist()
    found = []
    for target in dict.fromkeys(row["target"] for row in rows):
        mine = [row for row in rows if row["target"] == target]
        fitting = [row for row in mine if row["reject"] is None]
        buckets = [Group(row["bucket"], row["clips"], row["hours"]) for row in fitting]
        rejects = [
            Group(row["reject"], row["clips"], row["hours"], why(row))
            for row in mine
            if row["reject"] is not None
        ]
        found.append(
            Share(
                target,
                sum(group.clips for group in buckets),
                sum(group.hours for group in buckets),
                sum(row["clips"] for row in mine),
                sorted(buckets, key=lambda group: (-group.clips, group.name)),
                rejects,
            )
        )
    return found


def why(row: Mapping[str, float | int | str]) -> str:
    """What the clips rejected for one reason have, and what the target needs."""
    fps = f"{row['target_fps']:g} fps"
    if row["reject"] == "too_short":
        has = _span(row["fewest"], row["most"], "frame")
        return f"{has} at {fps}, needs {row['frames_needed']}"
    if row["reject"] == "too_slow":
        return f"{_span(row['slowest'], row['fastest'], 'frame')} a second, needs {fps}"
    if row["reject"] == "too_small":
        return f"at most {row['largest']} pixels"
    if row["reject"] == "aspect":
        return f"its nearest shape would crop {row['least_crop']:.0f} % or more"
    return ""


def _span(low: float | int | str, high: float | int | str, noun: str) -> str:
    if f"{low:.4g}" == f"{high:.4g}":
        return f"{low:.4g} {noun}" + ("" if low == 1 else "s")
    return f"{low:.4g} to {high:.4g} {noun}s"


def tell(data: str) -> None:
    """Print every target's share: one line each, its buckets and reasons below."""
    columns = {
        "clips": ["clip_id", "start_s", "end_s", "width", "height", "fps", "reject", "error"],
        "targets": None,
        "filter": ["clip_id", "keep"],
    }
    loaded = {name: dataset.load(data, name, columns=wanted) for name, wanted in columns.items()}
    for share in shares({name: rows for name, rows in loaded.items() if rows is not None}):
        taken = f"{share.clips} of {share.of_clips} clips, {duration(share.hours)}"
        print(f"{share.target:<20} {taken}")
        for group in share.buckets:
            print(f"    {group.name:<16} {group.clips:>7}  {duration(group.hours)}")
        for group in share.rejects:
            print(f"    {group.name:<16} {group.clips:>7}  {group.detail}".rstrip())


def section(ledger: Ledger) -> list[Html]:
    """A line per target, and below it the buckets and the reasons."""
    names = ("clips", "targets", "filter")
    found = shares({name: ledger.tables[name] for name in names if name in ledger.present})
    rows: list[Sequence[Child]] = [
        [
            share.target,
            bar(share.clips, share.clips, share.of_clips),
            f"{share.clips:,} of {share.of_clips:,}",
            duration(share.hours),
            ", ".join(f"{group.name} {group.clips:,}" for group in share.buckets[:3])
            + (f" and {len(share.buckets) - 3} more" if len(share.buckets) > 3 else ""),
        ]
        for share in found
    ]
    reasons: list[Sequence[Child]] = [
        [
            share.target,
            element("code", group.name),
            f"{group.clips:,}",
            duration(group.hours),
            group.detail,
        ]
        for share in found
        for group in share.rejects
    ]
    which = "kept clips" if "filter" in ledger.present else "clips that nothing has turned away yet"
    intro = f"How many of the {which} each model would take: counted on decoded frames at its rate,"
    intro += " nothing enlarged or slowed down. The table targets has every clip."
    head = ["Target", "", "Takes", "Footage", "Buckets"]
    parts = [
        element("p", intro),
        element("div", table(head, rows, caption="Clips per target"), class_="barred worded"),
    ]
    if reasons:
        head = ["Target", "Rejects as", "Clips", "Footage", "They have"]
        parts.append(element("h3", "What each would reject, and why"))
        told = table(head, reasons, caption="Rejected clips per target")
        parts.append(element("div", told, class_="worded"))
    return parts
