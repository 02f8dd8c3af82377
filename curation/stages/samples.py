"""What stands beside a sample's media in its shard: lineage, proof, every score, the caption."""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation import dataset, storage
from curation.stages.pack import Sample
from curation.stages.shard import Shard

LINEAGE = (
    "clip_id",
    "video_id",
    "start_frame",
    "end_frame",
    "start_s",
    "end_s",
    "num_frames",
    "fps",
)
CAPTION = ("caption", "caption_source")
VARIANTS = {
    "short": "caption_short",
    "dense": "caption_dense",
    "rewritten": "caption_rewritten",
    "original": "caption_original",
}
"""Name of a caption variant in a sample -> its column of the table captions or rewrites."""
VARIANT_OF = {"vlm": "dense", "sidecar": "original"}
"""The variant that a source's primary caption is where no column holds it: a vlm asked without a
schema answers one dense paragraph."""
FIELDS = "caption_fields"
PROOF = ("proof", "frames_counted", "first_frame_difference", "last_frame_difference")
WITHOUT_SCORES = ("keyframes", "targets", "filter", "shard", "media", "dedup")
"""Tables with a clip_id that describe a clip by several rows, or judge or hold it. What `dedup`
says is decided by the other clips: in a sample it would have every shard rewritten for new ones.
"""


def samples_of(stage: Shard, rows: list[dict[str, Any]], *, data: str) -> dict[str, Sample]:
    """The samples of the rows that were cut: lineage, scores and captions as they stand in the
    tables now.
    """
    cut_rows = {
        row["clip_id"]: row for row in rows if row["reject"] is None and row["error"] is None
    }
    columns = _columns_of(set(cut_rows), data=data)
    captions, rewrites = columns.pop("captions", {}), columns.pop("rewrites", {})
    made_by = {
        "split": (dataset.manifest_of(data, "clips") or {}).get("config_hash"),
        "shard": stage.cut_config_hash(),
    }
    samples = {}
    for key, row in cut_rows.items():
        clip = columns["clips"][key]
        caption = captions.get(key, {})
        text = caption.get("caption") or ""
        scores = {
            name: value
            for _, rows_of in sorted(columns.items())
            for name, value in rows_of.get(key, {}).items()
            if name not in (*LINEAGE, "width", "height")
            and isinstance(value, int | float)
            and value == value
        }
        described = {name: clip[name] for name in LINEAGE} | {
            "width": row["width"],
            "height": row["height"],
            "bucket": row["bucket"],
            "first_frame": row["first_frame"],
            "route": row["route"],
            "route_reason": row["route_reason"],
            "frames_encoded": row["frames_encoded"],
            "proof": {name: row[name] for name in PROOF},
            "caption_source": caption.get("caption_source"),
            "captions": variants_of(caption | rewrites.get(key, {})),
            FIELDS: json.loads(caption.get(FIELDS) or "{}"),
            "scores": scores,
            "config_hash": made_by,
        }
        content = json.dumps(described, sort_keys=True, ensure_ascii=False, allow_nan=False)
        samples[key] = Sample(
            key, row["bucket"], row["media"], content.encode(), text.encode(), row
        )
    return samples


def variants_of(row: Mapping[str, Any]) -> dict[str, str]:
    """Name -> text of every caption that a clip has, from its row of captions and of rewrites; the
    primary one is among them.
    """
    found = {name: row[column] for name, column in VARIANTS.items() if row.get(column)}
    text: str | None = row.get("caption")
    source: str | None = row.get("caption_source")
    if text and source and text not in found.values():
        name = VARIANT_OF.get(source, source)
        found[source if name in found else name] = text
    return found


def _columns_of(keys: set[str], *, data: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Table -> clip_id -> its numbers, lineage and captions, for every table that describes clips.

    Pictures, embeddings and hashes are left where they lie: only what a sample tells is read.
    """
    folder = storage.join(data, "tables")
    tables = {url.split("/")[-2] for url in storage.list_files(folder, ".parquet")}
    wanted = pa.array(sorted(keys), pa.string())
    found = {}
    for table in sorted(tables - {*WITHOUT_SCORES}):
        files = dataset.fewest_files(data, table, dataset.table_files(data, table))
        names = sorted({name for file in files for name in _told(file)})
        if "clip_id" in names:
            rows = storage.read_tables(files, columns=names)
            rows = rows.filter(pc.is_in(rows["clip_id"], wanted))
            found[table] = {row["clip_id"]: row for row in rows.to_pylist()}
    return found


def _told(file: str) -> list[str]:
    """Columns of a Parquet file that a sample may tell."""
    return [
        field.name
        for field in dataset.metadata(file).schema.to_arrow_schema()
        if field.name in (*LINEAGE, *CAPTION, *VARIANTS.values(), FIELDS)
        or pa.types.is_boolean(field.type)
        or pa.types.is_floating(field.type)
        or (pa.types.is_integer(field.type) and not field.name.endswith("_tokens"))  # costs
    ]
