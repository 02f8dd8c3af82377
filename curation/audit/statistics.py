"""What the audit page says about a dataset: funnel, conservation, buckets, problems, gallery.

Pure functions over the joined tables of ledger.py, most of them one SQL question, so that whoever
doubts a number can ask the same question of the same Parquet files.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import pyarrow as pa

from curation.audit.ledger import Ledger, Rule, ask, reason_code

FOUND, CLIPS_FOUND = "Files found", "Clips found"
KEPT, IN_SHARDS = "Kept by the filter", "In shards"


@dataclass(frozen=True)
class Step:
    """A line of the funnel: what stands at this point or, with `is_loss`, what went and why."""

    label: str
    unit: Literal["files", "clips"]
    count: int
    hours: float
    is_loss: bool = False
    failing: int | None = None
    """Clips that fail this rule, with those that an earlier rule had already turned away."""
    failing_alone: int | None = None
    """Clips that fail no other rule: what would come back if this rule were gone."""
    is_measured: bool = True
    """Whether any clip has a value in the rule's column."""


@dataclass(frozen=True)
class Check:
    """A sum that must come out; `holds` is None where a stage has yet to run."""

    name: str
    text: str
    holds: bool | None


@dataclass(frozen=True)
class Problem:
    """One reason why files or clips failed or files were turned away, and where it happened."""

    stage: str
    reason: str
    is_error: bool
    count: int
    examples: Sequence[Mapping[str, Any]]
    """uri, start_s, end_s, detail."""


def funnel(ledger: Ledger) -> list[Step]:
    """From files found to samples in shards, with every loss in the order in which it happens."""
    files, clips = ledger.files, ledger.clips
    turned_away = _losses(files, "verdict = 'rejected'", "reason")
    duplicates = [loss for loss in turned_away if loss["label"] == "duplicate_file"]
    unfit = [loss for loss in turned_away if loss["label"] != "duplicate_file"]
    steps = [Step(FOUND, "files", len(files), _hours(files))]
    steps += _after(steps[-1], _losses(files, "verdict = 'failed'", "reason"), "Readable")
    steps += _after(steps[-1], duplicates, "Not a duplicate")
    if unfit:
        steps += _after(steps[-1], unfit, "Fit for use")
    steps.append(Step(CLIPS_FOUND, "clips", len(clips), _hours(clips)))
    losses = _losses(clips, "verdict = 'failed'", "reason")
    losses += _rejections(ledger)
    losses += _losses(clips, "verdict = 'undecided'", "'no verdict yet'")
    steps += _after(steps[-1], losses, KEPT)
    losses = _losses(clips, "shard_reject IS NOT NULL", "shard_reject")
    losses += _losses(clips, "shard_error IS NOT NULL", reason_code("shard_error"))
    steps += _after(steps[-1], losses, "")[:-1]
    in_shards = "SELECT count(*) AS n, coalesce(sum(duration_s), 0) / 3600 AS hours FROM samples"
    samples = ask(in_shards, ledger.tables).to_pylist()[0]
    return [*steps, Step(IN_SHARDS, "clips", samples["n"], samples["hours"])]


def _rejections(ledger: Ledger) -> list[dict[str, Any]]:
    """Rejected clips: for split's own reasons, then for every rule in the order of its trial."""
    found = {
        loss["label"]: loss for loss in _losses(ledger.clips, "verdict = 'rejected'", "reason")
    }
    reach = """
        SELECT rule, count(*) AS failing, count(*) FILTER (len(rules_failed) = 1) AS failing_alone
        FROM (SELECT unnest(rules_failed) AS rule, rules_failed FROM rows) GROUP BY ALL
        """
    failing = {row.pop("rule"): row for row in ask(reach, {"rows": ledger.clips}).to_pylist()}
    rules = {rule.name: {"is_measured": _is_measured(rule, ledger.clips)} for rule in ledger.rules}
    none = {"count": 0, "hours": 0.0, "failing": 0, "failing_alone": 0}
    own = [loss for label, loss in found.items() if label not in rules]
    return own + [
        none | {"label": rule} | measured | found.get(rule, {}) | failing.get(rule, {})
        for rule, measured in rules.items()
    ]


def _is_measured(rule: Rule, clips: pa.Table) -> bool:
    if rule.column not in clips.column_names:
        return False
    return not len(clips) or clips[rule.column].null_count < len(clips)


def _losses(table: pa.Table, where: str, label: str) -> list[dict[str, Any]]:
    question = f"""
        SELECT {label} AS label, count(*) AS count, sum(hours) AS hours FROM rows
        WHERE {where} GROUP BY 1 ORDER BY 2 DESC, 1
        """
    return ask(question, {"rows": table}).to_pylist()


def _after(before: Step, losses: Sequence[Mapping[str, Any]], label: str) -> list[Step]:
    """The losses, and what stands after them."""
    count = before.count - sum(loss["count"] for loss in losses)
    hours = max(0.0, before.hours - sum(loss["hours"] for loss in losses))
    gone = [Step(unit=before.unit, is_loss=True, **loss) for loss in losses]
    return [*gone, Step(label, before.unit, count, hours)]


def _hours(table: pa.Table) -> float:
    return math.fsum(table["hours"].to_pylist())


def conservation(ledger: Ledger) -> list[Check]:
    """inputs = kept + rejected + failed for files, clips and samples; what breaks it is counted."""
    question = """
        SELECT (SELECT count(DISTINCT uri) FROM videos) AS files,
            (SELECT count(*) FROM files WHERE verdict = 'kept') AS files_kept,
            (SELECT count(*) FROM files WHERE verdict = 'rejected') AS files_rejected,
            (SELECT count(*) FROM files WHERE verdict = 'failed') AS files_failed,
            (SELECT count(DISTINCT clip_id) FROM clips) AS clips,
            (SELECT count(*) FROM ledger WHERE verdict = 'kept') AS clips_kept,
            (SELECT count(*) FROM ledger WHERE verdict = 'rejected') AS clips_rejected,
            (SELECT count(*) FROM ledger WHERE verdict = 'failed') AS clips_failed,
            (SELECT count(*) FROM ledger WHERE verdict = 'undecided') AS clips_undecided,
            (SELECT count(*) FROM clips ANTI JOIN videos USING (video_id)) AS clips_of_no_file,
            (SELECT count(*) FROM filter ANTI JOIN clips USING (clip_id)) AS verdicts_on_nothing,
            (SELECT count(*) - count(DISTINCT clip_id) FROM filter) AS second_verdicts,
            (SELECT count(*) FROM samples) AS samples,
            (SELECT count(shard_reject) FROM ledger) AS shard_rejected,
            (SELECT count(shard_error) FROM ledger) AS shard_failed,
            (SELECT count(*) FROM samples ANTI JOIN (SELECT clip_id AS key FROM ledger
             WHERE verdict = 'kept') USING (key)) AS samples_not_kept
        """
    tables = {**ledger.tables, "files": ledger.files, "ledger": ledger.clips}
    n = ask(question, tables).to_pylist()[0]
    strays_of_clips = {
        "without a verdict": n["clips_undecided"],
        "of a file that is not listed": n["clips_of_no_file"],
        "verdicts on clips that are not listed": n["verdicts_on_nothing"],
        "second verdicts": n["second_verdicts"],
    }
    files = [n["files_kept"], n["files_rejected"], n["files_failed"]]
    clips = [n["clips_kept"], n["clips_rejected"], n["clips_failed"]]
    samples = [n["samples"], n["shard_rejected"], n["shard_failed"]]
    not_kept = {"samples of clips that are not kept": n["samples_not_kept"]}
    has_run = ledger.present.issuperset
    return [
        _check("Files", n["files"], files, "kept", {}, has_run({"videos"})),
        _check("Clips", n["clips"], clips, "kept", strays_of_clips, has_run({"clips", "filter"})),
        _check("Kept clips", n["clips_kept"], samples, "in shards", not_kept, has_run({"samples"})),
    ]


def _check(
    name: str,
    whole: int,
    parts: Sequence[int],
    first: str,
    strays: Mapping[str, int],
    has_run: bool,
) -> Check:
    if not has_run:
        return Check(name, "cannot be told yet: a stage has still to run", None)
    strays = {text: count for text, count in strays.items() if count}
    holds = whole == sum(parts) and not strays
    sign = "=" if whole == sum(parts) else "\N{NOT EQUAL TO}"
    pieces = zip(parts, (first, "rejected", "failed"), strict=True)
    text = f"{whole:,} {sign} " + " + ".join(f"{count:,} {label}" for count, label in pieces)
    return Check(name, "; ".join([text, *(f"{n:,} {what}" for what, n in strays.items())]), holds)


def buckets(ledger: Ledger) -> list[dict[str, Any]]:
    """Samples, hours, frames, bytes and shards per bucket, and how its clips were cut."""
    question = """
        SELECT bucket, count(*) AS samples, sum(duration_s) / 3600 AS hours,
            sum(num_frames)::BIGINT AS frames, sum(size_media)::BIGINT AS num_bytes,
            count(DISTINCT samples.shard) AS shards,
            count(*) FILTER (route = 'copy') AS copied,
            count(*) FILTER (route = 'smart') AS smart,
            count(*) FILTER (route = 'encode') AS encoded
        FROM samples LEFT JOIN (SELECT DISTINCT ON (clip_id) clip_id AS key, route FROM shard)
            USING (key)
        GROUP BY bucket ORDER BY bucket
        """
    return ask(question, ledger.tables).to_pylist()


def routes(ledger: Ledger) -> list[dict[str, Any]]:
    """Samples, hours, frames and re-encoded frames per way in which clips were cut."""
    question = """
        SELECT coalesce(route, 'not recorded') AS route, count(*) AS samples,
            sum(duration_s) / 3600 AS hours, sum(num_frames)::BIGINT AS frames,
            coalesce(sum(frames_encoded), 0)::BIGINT AS frames_encoded
        FROM samples LEFT JOIN (SELECT DISTINCT ON (clip_id) clip_id AS key, route, frames_encoded
                                FROM shard) USING (key)
        GROUP BY 1 ORDER BY samples DESC, 1
        """
    return ask(question, ledger.tables).to_pylist()


def words(ledger: Ledger, column: str) -> list[dict[str, Any]]:
    """Clips per word and verdict, the most frequent word first; nulls are counted as null."""
    name = '"' + column.replace('"', '""') + '"'
    question = f"""
        SELECT coalesce({name}::VARCHAR, 'null') AS word, count(*) AS clips,
            count(*) FILTER (verdict = 'kept') AS kept,
            count(*) FILTER (verdict IN ('rejected', 'failed')) AS rejected,
            count(*) FILTER (verdict = 'undecided') AS undecided
        FROM clips GROUP BY 1 ORDER BY clips DESC, 1
        """
    return ask(question, {"clips": ledger.clips}).to_pylist()


def caption_sources(ledger: Ledger) -> list[dict[str, Any]]:
    """Captioned clips and mean length per source; a null source counts clips without a caption."""
    grouped = """
        SELECT caption_source AS source, caption_model AS model, count(*) AS clips,
            avg(length(caption)) AS mean_chars
        FROM captions GROUP BY ALL
        """
    question = f"FROM ({grouped}) ORDER BY source IS NULL, clips DESC, source, model"
    return ask(question, ledger.tables).to_pylist()


def problems(ledger: Ledger, *, examples: int = 25) -> list[Problem]:
    """What failed, and the files turned away, by stage and reason, with the first few named."""

    def rows(stage: str, column: str, table: str) -> str:
        place = "NULL, NULL" if table == "files" else "start_s, end_s"
        text = f"trim(substr({column}, nullif(instr({column}, ':'), 0) + 1))"
        return f"""
            SELECT '{stage}' AS stage, {reason_code(column)} AS reason, true AS is_error, uri,
                {place}, {text} AS detail FROM {table} WHERE {column} IS NOT NULL"""

    question = f"""
        WITH found(stage, reason, is_error, uri, start_s, end_s, detail) AS (
            {rows("split", "error", "files")}
            UNION ALL {rows("split", "error", "clips")}
            UNION ALL {rows("caption", "caption_error", "clips")}
            UNION ALL {rows("shard", "shard_error", "clips")}
            UNION ALL SELECT 'split', reject, false, uri, NULL, NULL, 'same bytes as ' || same_as
            FROM files WHERE verdict = 'rejected'
            UNION ALL SELECT 'split', 'read_with_damage', false, uri, NULL, NULL,
                decode_errors || ' packets refused, ' || corrupt_frames || ' frames damaged'
            FROM files WHERE verdict = 'kept' AND decode_errors + corrupt_frames > 0)
        SELECT *, count(*) OVER same AS count FROM found
        WINDOW same AS (PARTITION BY stage, reason, is_error),
            ordered AS (PARTITION BY stage, reason, is_error ORDER BY uri, start_s)
        QUALIFY row_number() OVER ordered <= {examples}
        ORDER BY is_error DESC, stage DESC, count DESC, reason, uri, start_s
        """
    found = ask(question, {"files": ledger.files, "clips": ledger.clips}).to_pylist()
    groups = groupby(found, key=lambda r: (r["stage"], r["reason"], r["is_error"], r["count"]))
    return [Problem(*key, examples=tuple(rows)) for key, rows in groups]


def gallery(ledger: Ledger, *, limit: int) -> list[dict[str, Any]]:
    """At most `limit` clips, in the order of the footage: half of them kept, the rest spread evenly
    over the reasons. Within a reason the smallest clip ids are taken: a hash, so a fair draw.

    Adds to the columns of the ledger `status`, `cause` and `alike`: how many clips share the two.
    """
    question = f"""
        WITH told AS (
            SELECT *, CASE WHEN shard_error IS NOT NULL THEN 'failed'
                           WHEN shard_reject IS NOT NULL THEN 'rejected' ELSE verdict END AS status,
                coalesce(reason, {reason_code("shard_error")}, shard_reject, '') AS cause
            FROM clips),
        ranked AS (
            SELECT *, count(*) OVER same AS alike,
                row_number() OVER (PARTITION BY status, cause ORDER BY clip_id) AS place,
                CASE WHEN status = 'kept' THEN greatest(1, (SELECT count(*) - 1 FROM
                    (SELECT DISTINCT status, cause FROM told))) ELSE 1 END AS share
            FROM told WINDOW same AS (PARTITION BY status, cause)),
        drawn AS (
            SELECT * FROM ranked
            QUALIFY row_number() OVER (ORDER BY ceil(place / share), status, cause, place)
                <= {limit})
        SELECT * EXCLUDE (place, share) FROM drawn ORDER BY uri, start_frame, clip_id
        """
    return ask(question, {"clips": ledger.clips}).to_pylist()
