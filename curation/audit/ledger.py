"""The tables of a dataset joined: one row per source file and one per clip, each with its fate.

Any table may be missing, because the page can be asked for at any moment: its columns are then
null, and `Ledger.present` says which tables there were. Everything here works on tables in memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from curation.clip import CLIPS, DERIVED, INDEX, VIDEOS, derive
from curation.markup import number

COLUMNS = {
    "videos": VIDEOS,
    "clips": CLIPS,
    "aesthetics": pa.schema([("clip_id", pa.string()), ("aesthetic_note", pa.string())]),
    "embed": pa.schema([("clip_id", pa.string()), ("embed_note", pa.string())]),
    "text": pa.schema(
        [("clip_id", pa.string()), ("text", pa.string()), ("text_note", pa.string())]
    ),
    "dedup": pa.schema(
        [("clip_id", pa.string()), ("dup_of", pa.string()), ("sem_of", pa.string())]
    ),
    "filter": pa.schema(
        [
            ("clip_id", pa.string()),
            ("keep", pa.bool_()),
            ("reject", pa.string()),
            ("failed", pa.list_(pa.string())),
        ]
    ),
    "captions": pa.schema(
        [
            ("clip_id", pa.string()),
            ("caption", pa.string()),
            ("caption_source", pa.string()),
            ("caption_model", pa.string()),
            ("caption_error", pa.string()),
        ]
    ),
    "verify": pa.schema(
        [
            ("clip_id", pa.string()),
            ("caption_language", pa.string()),
            ("caption_camera_conflict", pa.string()),
            ("verify_note", pa.string()),
        ]
    ),
    "vqa": pa.schema([("clip_id", pa.string()), ("vqa_note", pa.string())]),
    "shard": pa.schema(
        [
            ("clip_id", pa.string()),
            ("route", pa.string()),
            ("frames_encoded", pa.int64()),
            ("reject", pa.string()),
            ("error", pa.string()),
        ]
    ),
    "samples": INDEX,
    "targets": pa.schema([("clip_id", pa.string()), ("target", pa.string())]),
}
"""The tables, with the columns that are asked for by name; `samples` is shards/index.parquet."""

MEASURING = ("clips", "aesthetics", "embed", "text", "dedup", "captions", "verify", "vqa")
"""Tables whose numeric columns are measurements of a clip."""

NOTES = {
    "aesthetics": "aesthetic_note",
    "embed": "embed_note",
    "text": "text_note",
    "verify": "verify_note",
    "vqa": "vqa_note",
}
"""Where a table says why its columns are null."""

PLACES = {"start_frame", "end_frame", "start_s", "end_s", "phash_start_look", "cluster"}
PLACES |= {"caption_attempts", "prompt_tokens", "answer_tokens"}
PLACES |= {"vqa_prompt_tokens", "vqa_answer_tokens"}
"""Numbers that say where a clip lies or what it cost, not what it is like."""

NAMES = {"clip_id", "video_id", "uri", "reject", "error"}
"""Words that name a clip or its fate, not what it is like."""

MAX_WORDS = 24
"""A column of more different words than this is prose."""


@dataclass(frozen=True)
class Rule:
    """One line of the filter's configuration: what is kept lies between minimum and maximum, or
    among the allowed words and not among the denied ones."""

    name: str
    column: str
    minimum: float | None
    maximum: float | None
    null: str
    allowed: Sequence[str] | None = None
    denied: Sequence[str] | None = None


@dataclass(frozen=True)
class Ledger:
    """Files and clips with their fate, and the tables they were joined from."""

    files: pa.Table
    """The columns of videos, and verdict (kept, rejected, failed), reason, hours, num_clips,
    same_as."""

    clips: pa.Table
    """The columns of clips and of the measuring tables, and verdict (kept, rejected, failed,
    undecided), reason, hours, rules_failed, in_shards, shard_reject, shard_error, and of the clip
    that it is a copy of keeper, keeper_uri, keeper_start_s, keeper_end_s, keeper_by (dup | sem)."""

    tables: Mapping[str, pa.Table]
    present: frozenset[str]
    rules: Sequence[Rule]

    measures: Sequence[str]
    """Numeric columns of `clips`; those under a rule come first, in the order of the rules."""

    ruled: Sequence[str]
    """The measures that some rule looks at."""

    owners: Mapping[str, str]
    """Measure -> the table that it comes from."""

    words: Sequence[str]
    """Columns of `clips` that hold one of a few words, or yes and no."""


def ask(question: str, tables: Mapping[str, pa.Table]) -> pa.Table:
    """Answer one SQL question about tables in memory; it can name nothing else."""
    # one thread: sums of floats then always add up in the same order, to the same last bit
    with duckdb.connect(config={"threads": 1, "enable_external_access": False}) as connection:
        for name, table in tables.items():
            connection.register(name, table)
        return connection.sql(question).to_arrow_table()


def read_rules(config: Mapping[str, Any]) -> list[Rule]:
    """The rules in the merged configuration of a filter run; none where it holds none."""
    return [
        Rule(
            name=str(rule.get("name") or rule["column"]),
            column=str(rule["column"]),
            minimum=rule.get("min"),
            maximum=rule.get("max"),
            null=str(rule.get("if_null", "")),
            allowed=rule.get("allowed"),
            denied=rule.get("denied"),
        )
        for rule in config.get("rules") or []
    ]


def keeps(rule: Rule) -> str:
    """What a rule keeps, in words."""
    low, high = rule.minimum, rule.maximum
    if rule.allowed is not None or rule.denied is not None:
        span = ", ".join(rule.allowed) if rule.allowed is not None else "any word"
        span += f" but {', '.join(rule.denied)}" if rule.denied else ""
    elif low is None and high is None:
        span = "any value"
    elif high is None:
        span = f"{number(low)} or more"
    else:
        span = f"{number(high)} or less" if low is None else f"{number(low)} to {number(high)}"
    nulls = {"keep": ", nulls kept", "reject": ", nulls rejected"}.get(rule.null, "")
    return f"keeps {span}{nulls}"


def join_tables(given: Mapping[str, pa.Table | None], *, rules: Sequence[Rule] = ()) -> Ledger:
    """Join the tables that exist into one row per file and one row per clip."""
    tables = {name: _with_columns(given.get(name), schema) for name, schema in COLUMNS.items()}
    for quantity in DERIVED:
        tables["clips"] = tables["clips"].append_column(quantity, derive(quantity, tables["clips"]))
    owners = _numeric_columns(tables)
    ruled = [c for c in dict.fromkeys(rule.column for rule in rules) if c in owners]
    words = _word_columns(tables["clips"])
    return Ledger(
        files=_files(tables),
        clips=_clips(tables, owners),
        tables=tables,
        present=frozenset(name for name, table in given.items() if table is not None),
        rules=tuple(rules),
        measures=[*ruled, *(column for column in owners if column not in ruled)],
        ruled=ruled,
        owners=owners,
        words=words,
    )


def _files(tables: Mapping[str, pa.Table]) -> pa.Table:
    question = f"""
        SELECT videos.*, coalesce(duration_s, 0) / 3600 AS hours,
            coalesce(num_clips, 0) AS num_clips,
            CASE WHEN error IS NOT NULL THEN 'failed' WHEN reject IS NOT NULL THEN 'rejected'
                 ELSE 'kept' END AS verdict,
            coalesce({reason_code("error")}, reject) AS reason,
            CASE WHEN reject IS NOT NULL THEN originals.uri END AS same_as
        FROM videos
        LEFT JOIN (SELECT video_id, count(*) AS num_clips FROM clips GROUP BY ALL) counts
            USING (video_id)
        LEFT JOIN (SELECT video_id, min(uri) AS uri FROM videos
                   WHERE reject IS NULL AND error IS NULL GROUP BY ALL) originals USING (video_id)
        ORDER BY videos.uri
        """
    return ask(question, tables)


def _clips(tables: Mapping[str, pa.Table], owners: Mapping[str, str]) -> pa.Table:
    # a second row for the same clip is an error that the checks report; it must not multiply clips
    joins = [
        f"LEFT JOIN (SELECT DISTINCT ON (clip_id) * FROM {name}) AS {name}_ USING (clip_id)"
        for name in (*MEASURING[1:], "filter", "shard")
    ]
    measures = [f"{owner}_.{_quoted(c)}" for c, owner in owners.items() if owner != "clips"]
    texts = [f"captions_.{c}" for c in COLUMNS["captions"].names if c != "clip_id"]
    texts += ["verify_.caption_language", "verify_.caption_camera_conflict"]
    texts += [f"{table}_.{note}" for table, note in NOTES.items()]
    keepers = {"dup": "dedup_.dup_of", "sem": "dedup_.sem_of"}
    is_copy = {kind: f"nullif({of}, clips.clip_id)" for kind, of in keepers.items()}
    question = f"""
        SELECT clips.*, {", ".join([*measures, *texts])}, text_.text,
            keeper_.clip_id AS keeper, keeper_.uri AS keeper_uri,
            keeper_.start_s AS keeper_start_s, keeper_.end_s AS keeper_end_s,
            CASE WHEN {is_copy["dup"]} IS NOT NULL THEN 'dup' ELSE 'sem' END AS keeper_by,
            coalesce(clips.end_s - clips.start_s, 0) / 3600 AS hours,
            CASE WHEN clips.error IS NOT NULL THEN 'failed'
                 WHEN filter_.keep THEN 'kept'
                 WHEN NOT filter_.keep OR clips.reject IS NOT NULL THEN 'rejected'
                 ELSE 'undecided' END AS verdict,
            CASE WHEN clips.error IS NOT NULL THEN {reason_code("clips.error")}
                 WHEN filter_.keep THEN NULL
                 WHEN NOT filter_.keep OR clips.reject IS NOT NULL
                 THEN coalesce(filter_.reject, clips.reject, 'no_reason_given') END AS reason,
            coalesce(filter_.failed, []) AS rules_failed,
            samples_.clip_id IS NOT NULL AS in_shards,
            CASE WHEN filter_.keep THEN shard_.reject END AS shard_reject,
            CASE WHEN filter_.keep THEN shard_.error END AS shard_error
        FROM clips {" ".join(joins)}
        LEFT JOIN (SELECT DISTINCT key AS clip_id FROM samples) AS samples_ USING (clip_id)
        LEFT JOIN (SELECT DISTINCT ON (clip_id) * FROM clips) AS keeper_
            ON keeper_.clip_id = coalesce({is_copy["dup"]}, {is_copy["sem"]})
        ORDER BY clips.uri, clips.start_frame, clips.clip_id
        """
    return ask(question, tables)


def reason_code(error: str) -> str:
    """SQL for the code of an error column, whose text is "reason_code: what happened"."""
    return f"split_part({error}, ':', 1)"


def _quoted(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _with_columns(table: pa.Table | None, schema: pa.Schema) -> pa.Table:
    """The table with every column of the schema; those it lacks, and untyped ones, become null."""
    filled: Any = schema.empty_table() if table is None else table
    for field in schema:
        place = filled.schema.get_field_index(field.name)
        if place < 0:
            filled = filled.append_column(field, pa.nulls(len(filled), field.type))
        elif pa.types.is_null(filled.schema.field(place).type):
            filled = filled.set_column(place, field, filled.column(place).cast(field.type))
    return filled


def _numeric_columns(tables: Mapping[str, pa.Table]) -> dict[str, str]:
    """Column name -> table that measures it, in the tables' order; the first owner wins."""
    owners: dict[str, str] = {}
    for name in MEASURING:
        for field in tables[name].schema:
            is_number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
            if is_number and field.name not in PLACES:
                owners.setdefault(field.name, name)
    return owners


def _word_columns(clips: pa.Table) -> list[str]:
    """Columns of words, few enough to be counted one by one, and of yes and no."""
    found = []
    for field in clips.schema:
        is_word = pa.types.is_string(field.type) and field.name not in NAMES
        if pa.types.is_boolean(field.type) or (
            is_word and pc.count_distinct(clips[field.name]).as_py() <= MAX_WORDS
        ):
            found.append(field.name)
    return found
