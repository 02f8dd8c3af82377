"""The worst clips of a dataset and the totals of all, out of its tables.

A dataset may hold more text than memory: of all clips only numbers and names are read, and texts
only of those that are shown.
"""

import heapq
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from captioning.review.severity import VERIFIED, Check, bad_checks, order
from curation import dataset, storage

Row = dict[str, Any]

CAPTIONS = ("clip_id", "caption_source", "caption_model", "caption_error", "error")
CLIPS = ("clip_id", "uri", "start_s", "end_s", "num_frames", "width", "height", "camera_motion")
TEXTS = {
    "caption_dense": "captions",
    "caption_short": "captions",
    "caption_fields": "captions",
    "caption_rewritten": "rewrites",
    "caption_original": "captions",
}
"""Column of a caption variant -> its table."""


@dataclass(frozen=True)
class Totals:
    """Counts over all clips of the captions table."""

    clips: int
    verified: int
    sources: Mapping[tuple[str | None, str | None], int]
    """(caption_source, caption_model) -> clips."""
    failures: Mapping[str, tuple[int, int]]
    """Reason code -> clips that met it, and those among them that are without a caption; the most
    frequent first."""
    variants: Mapping[str, int]
    """Column of TEXTS -> clips that have it."""
    checks: Sequence[tuple[Check, int, int]]
    """Check, clips that it was made of, clips of which it is bad."""
    bad: int
    """Clips with a caption of which some check is bad."""


def joined(data: str) -> pa.Table:
    """One row per row of captions: what is told of it but the texts, of its clip, of its checks."""
    captions = dataset.load(data, "captions", columns=list(CAPTIONS))
    clips = dataset.load(data, "clips", columns=list(CLIPS))
    if captions is None or clips is None:
        raise ValueError(
            f"DATA={data!r} holds no captions; expected a dataset with the table captions: "
            f"run `make caption DATA={data}` first"
        )
    found = once(captions).join(once(clips), "clip_id")
    vqa = dataset.load(data, "vqa")
    if vqa is not None:
        asked = [name for name in vqa.column_names if name.startswith("caption_yes_")]
        found = found.join(once(vqa.select(["clip_id", *asked])), "clip_id")
    verify = dataset.load(data, "verify")
    if verify is None:
        return found
    if "error" in verify.column_names:
        verify = verify.rename_columns({"error": "verify_error"})
    new = [name for name in verify.column_names if name not in found.column_names]
    verify = once(verify.select(["clip_id", *new]))
    captioned = pc.is_in(verify["clip_id"], value_set=_captioned(found))
    verify = verify.append_column(
        VERIFIED, pc.if_else(captioned, True, pa.scalar(None, pa.bool_()))
    )
    return found.join(verify, "clip_id")


def _captioned(table: pa.Table) -> pa.ChunkedArray:
    """The ids of clips with a caption."""
    if "caption_source" not in table.column_names:
        return table["clip_id"].slice(0, 0)
    return table.filter(pc.is_valid(table["caption_source"]))["clip_id"]


def once(table: pa.Table) -> pa.Table:
    """The first row of each clip (a second one is the audit's to report), in columns of numbers and
    words; one without a type holds nothing.
    """
    table = table.select(
        [
            field.name
            for field in table.schema
            if not (pa.types.is_nested(field.type) or pa.types.is_null(field.type))
        ]
    )
    ids = table["clip_id"].combine_chunks()
    if pc.count_distinct(ids).as_py() == len(ids):
        return table
    first = dict(reversed([(clip_id, i) for i, clip_id in enumerate(ids.to_pylist())]))
    return table.take(sorted(first.values()))


def variants(data: str) -> dict[str, int]:
    """Column of TEXTS -> clips that have it. One column is read at a time: texts are large."""
    found = {}
    for column, table in TEXTS.items():
        rows = dataset.load(data, table, columns=["clip_id", column])
        is_there = rows is not None and column in rows.column_names
        found[column] = len(rows) - rows[column].null_count if rows is not None and is_there else 0
    return found


def rank(
    table: pa.Table, among: list[Check], *, count: int, variants: Mapping[str, int]
) -> tuple[list[tuple[Row, list[Check]]], Totals]:
    """The `count` worst clips with their bad checks, the worst first, and the totals of all."""
    sources: Counter[tuple[str | None, str | None]] = Counter()
    met: Counter[str] = Counter()
    fatal: Counter[str] = Counter()
    made: Counter[str] = Counter()
    bad_of: Counter[str] = Counter()
    verified = spoilt = 0

    def judged() -> Iterator[tuple[Row, list[Check]]]:
        nonlocal verified, spoilt
        for batch in table.to_batches(max_chunksize=10_000):
            for row in batch.to_pylist():
                bad = bad_checks(row, among)
                sources[row.get("caption_source"), row.get("caption_model")] += 1
                codes = reason_codes(row)
                met.update(codes)
                fatal.update(codes if row.get("caption_source") is None else ())
                made.update(check.name for check in among if check.applies(row))
                bad_of.update(check.name for check in bad)
                verified += bool(row.get(VERIFIED))
                spoilt += bool(bad) and row.get("caption_source") is not None
                yield row, bad

    worst = heapq.nsmallest(count, judged(), key=lambda one: order(*one))
    totals = Totals(
        clips=table.num_rows,
        verified=verified,
        sources=sources,
        failures={
            code: (n, fatal[code])
            for code, n in sorted(met.items(), key=lambda item: (-item[1], item[0]))
        },
        variants=variants,
        checks=[(check, made[check.name], bad_of[check.name]) for check in among],
        bad=spoilt,
    )
    return worst, totals


def reason_codes(row: Row) -> set[str]:
    """Codes of what went wrong with a clip: "reason_code: why", several with "; " between them."""
    told = [row.get("caption_error"), row.get("error")]
    parts = (part for error in told if error for part in error.split("; "))
    return {part.split(":")[0].strip() for part in parts}


def texts_of(data: str, clip_ids: Sequence[str]) -> dict[str, Row]:
    """clip_id -> the primary caption and every variant, of these clips alone."""
    wanted = pa.array(clip_ids, pa.string())
    found: dict[str, Row] = {clip_id: {} for clip_id in clip_ids}
    for table in ("captions", "rewrites"):
        columns = ["clip_id", *(column for column, of in TEXTS.items() if of == table)]
        columns += ["caption", "caption_attempts"] if table == "captions" else ["rewrite_error"]
        for file in dataset.fewest_files(data, table, dataset.table_files(data, table)):
            rows = storage.read_table(file, columns=columns)
            rows = rows.filter(pc.is_in(rows["clip_id"], value_set=wanted))
            for row in rows.to_pylist():
                found[row["clip_id"]] |= row
    for row in found.values():
        row["caption_fields"] = json.loads(row.get("caption_fields") or "{}")
    return found
