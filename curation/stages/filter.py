"""Turns columns into a verdict: the only place where a measurement becomes a decision.

Every rule is a range, or a list of words, on one column of any clip table, and stands in YAML.
Judging is table work over the columns that the rules name and opens no video, so other thresholds
are tried in a second. It runs twice: before captioning, when rules on captions are left out because
there are none yet, and before shards are cut, over everything. `eligible` means the same in both
runs: it never counts rules on captions.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation import dataset, pipeline, storage
from curation.clip import DERIVED, derive
from curation.stage import Abort, Stage, Tables, Unit

FILTER = pa.schema(
    {
        "clip_id": pa.string(),
        "keep": pa.bool_(),
        "reject": pa.string(),  # the clip's own reject or error code, else the first failing rule
        "eligible": pa.bool_(),  # passes every rule that needs no caption: what captioning works on
        "failed": pa.list_(pa.string()),  # every failing rule, in the order of the rules
    }
)

OF_CAPTIONS: dict[str, tuple[str, ...]] = {
    "captions": (
        *("caption", "caption_source", "caption_model", "caption_short", "caption_dense"),
        *("caption_fields", "caption_original", "caption_error", "caption_chars"),
        *("caption_attempts", "prompt_tokens", "answer_tokens"),
    ),
    "rewrites": (
        *("caption_rewritten", "rewrite_error", "rewrite_model"),
        *("rewrite_prompt_tokens", "rewrite_answer_tokens"),
    ),
    "verify": (
        *("caption_words", "caption_short_words", "caption_stock_phrases", "caption_opinions"),
        *("caption_mentions_medium", "caption_uncertain", "caption_repetition"),
        *("caption_language", "caption_language_probability", "caption_camera_conflict"),
        *("caption_clip_similarity", "caption_clip_model", "verify_note"),
    ),
    "vqa": (
        *("caption_yes_subject", "caption_yes_action", "caption_yes_setting", "caption_yes_light"),
        *("caption_yes_style", "caption_yes_text_on_screen", "caption_yes_min", "caption_yes_mean"),
        *("vqa_model", "vqa_note", "vqa_prompt_tokens", "vqa_answer_tokens"),
    ),
}
"""Table -> columns that captioning writes, which may be named in a rule before they exist."""

UNJUDGED = ("keyframes", "targets", "filter", "shard", "media")
"""Clip tables that no rule sees: several rows per clip, or written from the verdict."""


@dataclass(frozen=True)
class Rule:
    """A clip passes while min <= column <= max, or while the word in the column is allowed and not
    denied; a bound that is not given does not bind.
    """

    name: str
    """What `reject` says of a clip that fails."""
    column: str
    """A column of any clip table, numeric where a bound is given, words where a list is; or
    duration_s, short_side_px or aspect, which follow from columns of clips.
    """
    min: float | None = None
    """Smallest value that passes, in the column's unit."""
    max: float | None = None
    """Largest value that passes, in the column's unit."""
    allowed: list[str] | None = None
    """The only words that pass."""
    denied: list[str] | None = None
    """Words that do not pass."""
    if_null: Literal["keep", "reject"] = "keep"
    """What to do where nothing was measured (null or NaN)."""

    def __post_init__(self) -> None:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(
                f"rule {self.name!r}: min = {self.min} is above max = {self.max}, so that no clip "
                f"could pass; swap them or drop one"
            )
        if self.has_bound and self.has_words:
            raise ValueError(
                f"rule {self.name!r} has bounds and words; a column holds numbers or words, "
                f"so make two rules of it"
            )
        if not self.has_bound and not self.has_words and self.if_null == "keep":
            raise ValueError(
                f"rule {self.name!r} rejects nothing; "
                f"give it min, max, allowed, denied or if_null: reject, or remove it"
            )

    @property
    def has_bound(self) -> bool:
        return self.min is not None or self.max is not None

    @property
    def has_words(self) -> bool:
        return self.allowed is not None or self.denied is not None


@dataclass(frozen=True)
class Filter(Stage):
    """Judges every clip by rules on measured columns."""

    rules: list[Rule] = field(default_factory=list)
    """In the order in which a clip's first failing rule is named as its reason."""

    name: ClassVar[str] = "filter"
    reads: ClassVar[dict[str, list[str]]] = {"clips": ["clip_id", "reject", "error"]}
    writes: ClassVar[dict[str, pa.Schema]] = {"filter": FILTER}
    unit: ClassVar = "dataset"

    def __post_init__(self) -> None:
        names = [rule.name for rule in self.rules]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(
                f"rules must have names of their own, but {twice} occur twice; rename one of each"
            )

    def run(self, tables: Tables) -> Tables:
        clips = join(tables)
        for quantity in {rule.column for rule in self.rules} - set(clips.column_names):
            if quantity in DERIVED:
                clips = clips.append_column(quantity, derive(quantity, clips))
        rules = [rule for rule in self.rules if rule.column in clips.column_names]
        written = [tables[table].column_names for table in OF_CAPTIONS if table in tables]
        return {"filter": judge(clips, rules, needs_caption=set().union(*written))}

    def failed(self, tables: Tables, *, error: str) -> Tables:
        raise Abort(error)  # better no verdict than one that no rule has given


# -- judging ---------------------------------------------------------------------------------------


def judge(
    clips: pa.Table, rules: Sequence[Rule], *, needs_caption: Collection[str] = ()
) -> pa.Table:
    """The verdict of the rules on clips that have clip_id, reject, error and every rule's column.

    needs_caption: columns that only a captioned clip has; rules on them don't count for `eligible`.
    """
    own = pc.coalesce(
        _plain(clips["reject"]), pc.replace_substring_regex(_plain(clips["error"]), "(?s):.*", "")
    )
    sound = own.is_null().to_numpy(zero_copy_only=False)
    fails = np.zeros((clips.num_rows, len(rules)), dtype=bool)
    for i, rule in enumerate(rules):
        fails[:, i] = outside(_plain(clips[rule.column]), rule)
    early = np.array([rule.column not in needs_caption for rule in rules], dtype=bool)
    eligible = sound & ~fails[:, early].any(axis=1)
    fails[:, ~early] &= eligible[:, None]  # what was never captioned cannot lack a caption
    counts = fails.sum(axis=1)
    starts = np.concatenate([[0], np.cumsum(counts)])
    which = np.nonzero(fails)[1]  # row by row, rules in order
    first = np.zeros(clips.num_rows, dtype=np.int64)
    first[counts > 0] = which[starts[:-1][counts > 0]]
    names = pa.array([rule.name for rule in rules], pa.string())
    return pa.table(
        {
            "clip_id": clips["clip_id"],
            "keep": sound & (counts == 0),
            "reject": pc.coalesce(own, names.take(pa.array(first, mask=counts == 0))),
            "eligible": eligible,
            "failed": pa.ListArray.from_arrays(
                pa.array(starts, pa.int32()), names.take(pa.array(which))
            ),
        },
        schema=FILTER,
    )


def outside(values: pa.Array, rule: Rule) -> np.ndarray:
    """Which values fail the rule."""
    absent = values.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)
    fails = absent if rule.if_null == "reject" else np.zeros(len(values), dtype=bool)
    if rule.has_words:
        present = ~absent
        if rule.allowed is not None:
            fails = fails | (present & ~_is_one_of(values, rule.allowed))
        if rule.denied is not None:
            fails = fails | (present & _is_one_of(values, rule.denied))
    if not rule.has_bound:
        return fails
    # in the column's own precision, or a float32 0.1 would be above a bound of 0.1
    kind = pa.float32() if values.type == pa.float32() else pa.float64()
    numbers = values.cast(kind, safe=False)
    for bound, beyond in ((rule.min, pc.less), (rule.max, pc.greater)):
        if bound is not None:
            past = beyond(numbers, pa.scalar(bound, kind)).fill_null(False)
            fails = fails | past.to_numpy(zero_copy_only=False)
    return fails


def _is_one_of(values: pa.Array, words: Sequence[str]) -> np.ndarray:
    return pc.is_in(values, pa.array(words, pa.string())).to_numpy(zero_copy_only=False)


def join(tables: Mapping[str, pa.Table]) -> pa.Table:
    """The clips with the other tables' columns beside them, null where a table lacks the clip."""
    clips = tables["clips"]
    for name in sorted(set(tables) - {"clips"}):
        other = tables[name]
        where = pc.index_in(clips["clip_id"], value_set=other["clip_id"])
        for column in other.column_names:
            if column not in clips.column_names:
                clips = clips.append_column(column, _plain(other[column]).take(where))
    return clips


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """One array; a column in which nothing was ever seen counts as one of nulls."""
    array = column.combine_chunks()
    return array.cast(pa.string()) if pa.types.is_null(array.type) else array


# -- finding the columns ---------------------------------------------------------------------------


def units(stage: Filter, *, data: str) -> list[Unit]:
    """The whole dataset as one unit that reads the rules' columns from wherever they lie by now."""
    reads, later = place(stage.rules, tables=_tables_of_clips(data), expected=expected_columns())
    if later:
        print(f"filter: left out until their columns exist: {', '.join(later)}", flush=True)
    for sentence in stale(reads, data=data):
        print(f"filter: {sentence}", flush=True)
    return pipeline.unit_of_dataset(stage, data=data, reads=reads)


def stale(reads: Mapping[str, list[str]], *, data: str) -> list[str]:
    """A sentence for every side table that lacks clips: its columns are null there, not measured.

    Captions are left out: only eligible clips have one, and a rule on them rejects what has none.
    What else captioning writes has a row for each of them.
    """
    sentences = []
    for table in sorted(set(reads) - {"clips", "captions"}):
        every = _ids(data, "captions" if table in OF_CAPTIONS else "clips")
        held = pc.is_in(every, value_set=_ids(data, table))
        lacking = len(every) - (pc.sum(held).as_py() or 0)
        if lacking:
            columns = ", ".join(column for column in reads[table] if column != "clip_id")
            stage = (dataset.manifest_of(data, table) or {}).get("stage", table)
            sentences.append(
                f"{lacking} of {len(every)} clips are not in the table {table}, so that {columns} "
                f"counts as not measured there; run {stage} and filter again"
            )
    return sentences


def _ids(data: str, table: str) -> pa.ChunkedArray:
    found = dataset.load(data, table, columns=["clip_id"])
    return pa.chunked_array([], pa.string()) if found is None else found["clip_id"]


def check_rules(stage: Filter, *, data: str) -> None:
    """Raise ValueError for a rule on a column that no stage writes."""
    place(stage.rules, tables=_tables_of_clips(data), expected=expected_columns())


def place(
    rules: Sequence[Rule], *, tables: Mapping[str, pa.Schema], expected: Mapping[str, str]
) -> tuple[dict[str, list[str]], list[str]]:
    """Which columns to read of which table, and which rules wait for a column to be written.

    tables: the clip tables on disk. expected: column -> table, of all that some stage writes.
    """
    owners: dict[str, list[str]] = {}
    for table in sorted(tables, key=lambda name: (name != "clips", name)):
        for column in tables[table].names:
            owners.setdefault(column, []).append(table)
    reads = {table: list(columns) for table, columns in Filter.reads.items()}
    later = []
    for rule in rules:
        holders = owners.get(rule.column)
        if holders is None and rule.column in DERIVED:
            _check_type(rule, pa.float64())
            reads["clips"] += [c for c in DERIVED[rule.column] if c not in reads["clips"]]
            continue
        if holders is None:
            if rule.column not in expected:
                raise ValueError(_unknown(rule, known=[*owners, *expected, *DERIVED]))
            later.append(f"{rule.name} ({rule.column}, of {expected[rule.column]})")
            continue
        if len(holders) > 1 and holders[0] != "clips":
            raise ValueError(
                f"rule {rule.name!r}: several tables have a column {rule.column!r}: {holders}"
            )
        _check_type(rule, tables[holders[0]].field(rule.column).type)
        columns = reads.setdefault(holders[0], ["clip_id"])
        if rule.column not in columns:
            columns.append(rule.column)
    return reads, later


def _unknown(rule: Rule, *, known: Sequence[str]) -> str:
    names = sorted(set(known))
    near = ", ".join(difflib.get_close_matches(rule.column, names, n=3, cutoff=0.4) or names)
    return f"rule {rule.name!r}: no stage writes a column {rule.column!r}; the nearest are {near}"


def _check_type(rule: Rule, kind: pa.DataType) -> None:
    if pa.types.is_null(kind):
        return
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    if rule.has_bound and not numeric:
        raise ValueError(
            f"rule {rule.name!r}: min and max need a number, but {rule.column!r} is of type "
            f"{kind}; only allowed, denied and if_null can be used with it"
        )
    if rule.has_words and not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise ValueError(
            f"rule {rule.name!r}: allowed and denied need words, but {rule.column!r} is of type "
            f"{kind}; use min and max"
        )


def expected_columns() -> dict[str, str]:
    """Column -> table, of every clip table that some stage says it writes."""
    from curation import stages

    columns = {column: table for table, names in OF_CAPTIONS.items() for column in names}
    for module in pkgutil.iter_modules(stages.__path__):
        for kind in vars(importlib.import_module(f"{stages.__name__}.{module.name}")).values():
            if isinstance(kind, type) and issubclass(kind, Stage) and kind is not Stage:
                for table, schema in getattr(kind, "writes", {}).items():
                    if "clip_id" in schema.names and table not in UNJUDGED:
                        columns |= {c: table for c in schema.names if c not in columns}
    return columns


def _tables_of_clips(data: str) -> dict[str, pa.Schema]:
    """The schemas of the tables on disk that have a row per clip."""
    found: dict[str, pa.Schema] = {}
    root = storage.join(data, "tables")
    for file in storage.list_files(root, ".parquet"):
        table = file.split("/")[-2]
        if table in found or table in UNJUDGED:
            continue
        with storage.local_copy(file) as path:
            found[table] = pq.read_schema(path)
    return {table: schema for table, schema in found.items() if "clip_id" in schema.names}
