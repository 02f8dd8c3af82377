"""The audit page: what was kept, what was dropped and why, in one HTML file that opens from disk.

It reads whatever tables exist, asks nothing of the network, and holds no time of writing: the same
tables give the same bytes.
"""

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import pyarrow as pa

from curation import dataset, keyframes, page, storage
from curation.audit import gallery, measurements, sections, statistics, targets
from curation.audit.ledger import COLUMNS, Ledger, join_tables, read_rules
from curation.markup import Html, element

STAGES = ("inventory", "look", "triage", "scan", "split", "aesthetics", "embed", "text", "dedup")
STAGES += ("filter", "targets", "caption", "rewrite", "verify", "vqa", "shard", "pack")

MAX_CLIPS = 200
"""Clips in the gallery: as many as one looks through, on a page that still opens at once."""

Record = Mapping[str, Any]


def write_page(data: str) -> str:
    """Write $DATA/audit/index.html from the tables that exist, and return its url."""
    records = read_records(data)
    tables = {name: _load(data, name) for name in COLUMNS if name != "samples"}
    index = storage.join(data, "shards", "index.parquet")
    tables["samples"] = storage.read_table(index) if storage.exists(index) else None
    if not records and all(found is None for found in tables.values()):
        raise ValueError(
            f"DATA={data!r} holds no tables; expected the folder of a dataset: run split first"
        )
    config = next((r.get("config", {}) for r in records if r["stage"] == "filter"), {})
    ledger = join_tables(tables, rules=read_rules(config))
    drawn = statistics.gallery(ledger, limit=MAX_CLIPS)
    keepers = [clip["keeper"] for clip in drawn if clip["keeper"]]
    shown = dict.fromkeys([*(clip["clip_id"] for clip in drawn), *keepers])
    frames = keyframes.read_frames(data, list(shown))
    name = storage.filesystem(data)[1].rstrip("/").rsplit("/", 1)[-1]
    text = render(name, ledger, records=records, drawn=drawn, frames=frames)
    url = storage.join(data, "audit", "index.html")
    storage.commit(url, text.encode())
    return url


def _load(data: str, table: str) -> pa.Table | None:
    """A table without its hashes, embeddings and the like, of which the page shows nothing."""
    files = dataset.table_files(data, table)
    if not files:
        return None
    schema = dataset.metadata(files[0]).schema.to_arrow_schema()
    shown = [field.name for field in schema if not _is_heavy(field.type)]
    shown += [name for name in COLUMNS[table].names if name in schema.names and name not in shown]
    return dataset.load(data, table, columns=shown)


def _is_heavy(kind: pa.DataType) -> bool:
    return pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def read_records(data: str) -> list[Record]:
    """The record of each stage's last run, in the order of the pipeline."""
    urls = storage.list_files(storage.join(data, "runs"), ".json")
    records = [json.loads(storage.read_bytes(url)) for url in urls]
    places = {stage: place for place, stage in enumerate(STAGES)}
    return sorted(records, key=lambda r: (places.get(r["stage"], len(STAGES)), r["stage"]))


def render(
    name: str,
    ledger: Ledger,
    *,
    records: Sequence[Record],
    drawn: Sequence[Record],
    frames: Mapping[str, Sequence[Record]],
) -> str:
    """The page as text."""
    steps, checks = statistics.funnel(ledger), statistics.conservation(ledger)
    missing = {
        "videos": "Nothing to show yet: make split reads the footage.",
        "clips": "There are no clips yet: make split finds them.",
        "captions": "There are no captions yet: make caption writes them.",
        "samples": "There are no shards yet: make shard writes them.",
        "targets": "No model has been asked yet: make targets counts what each would take.",
    }

    def unless_absent(table: str, content: Sequence[Html]) -> Sequence[Html]:
        return content if table in ledger.present else [sections.sentence(missing[table])]

    ran = sections.runs(records) if records else [sections.sentence("No stage has been run yet.")]
    contents = {
        "Funnel": unless_absent("videos", sections.funnel(steps, checks)),
        "Measurements": unless_absent("clips", measurements.section(ledger)),
        "Captions": unless_absent("captions", sections.captions(ledger)),
        "Targets": unless_absent(
            "targets", targets.section(ledger) if "targets" in ledger.present else []
        ),
        "Buckets": unless_absent("samples", sections.buckets(ledger)),
        "Problems": unless_absent("videos", sections.problems(ledger)),
        "Clips": unless_absent("clips", gallery.section(ledger, drawn, frames)),
        "Runs": ran,
    }
    links = [element("li", element("a", title, href=f"#{title.lower()}")) for title in contents]
    body = [
        sections.header(name, steps, checks),
        element("nav", element("ul", links), aria_label="Sections"),
        element(
            "main",
            [
                element("section", element("h2", title), content, id=title.lower())
                for title, content in contents.items()
            ],
        ),
        element(
            "footer", "Every number here can be asked of the Parquet files in tables and shards."
        ),
    ]
    template = resources.files("curation.audit").joinpath("page.html").read_text("utf-8")
    return page.fill(template, title=f"{name}: audit", body=body)
