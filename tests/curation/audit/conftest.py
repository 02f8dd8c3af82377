"""A small dataset written out by hand, so that every number on the page is known.

Five files: a film of 36 s, its copy, a hostile one of 18 s, two broken ones. Seven clips of 9 or
6 s, of which two are kept and one reaches the shards.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest

from curation import storage
from curation.audit.ledger import Rule, read_rules
from curation.clip import CLIPS, INDEX, KEYFRAMES, VIDEOS

HOSTILE_NAME = """b/<script>own('name')</script><img src=x onerror="own('image')">.mp4"""
HOSTILE_CAPTION = """</p></article><script>own('caption')</script> {{body}} "quoted" & so on"""
HOSTILE_NOTE = """no weights' onmouseover='own("note")"""

RULES = [
    {"name": "too_dark", "column": "luma_mean_pct", "min": 10.0, "max": None, "if_null": "reject"},
    {"name": "still", "column": "motion_width_pct_per_s", "min": 1.0, "max": 80, "if_null": "keep"},
]


def rows_table(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """A table of the schema's columns; what a row does not name is null."""
    return pa.Table.from_pylist(
        [{name: row.get(name) for name in schema.names} for row in rows], schema=schema
    )


def video(uri: str, video_id: str, duration_s: float | None = None, **more: Any) -> dict[str, Any]:
    return {"uri": uri, "video_id": video_id, "duration_s": duration_s, **more}


def clip(
    name: str, video_id: str, uri: str, start_s: int, end_s: int, **more: Any
) -> dict[str, Any]:
    frames = {"start_frame": start_s * 10, "end_frame": end_s * 10}
    shape = {"num_frames": (end_s - start_s) * 10, "fps": 10.0, "width": 64, "height": 36}
    place = {"clip_id": name, "video_id": video_id, "uri": uri, "start_s": start_s, "end_s": end_s}
    return place | frames | shape | more


@pytest.fixture
def tables() -> dict[str, pa.Table | None]:
    """What every stage would have written."""
    film, hostile = "a/film.mp4", HOSTILE_NAME
    videos = [
        video(film, "v1", 36.0),
        video("a/film copy.mp4", "v1", 36.0, reject="duplicate_file"),
        video(hostile, "v2", 18.0),
        video("b/broken.mp4", "v3", error="no_container: nothing that a demuxer knows"),
        video("b/crash.mp4", "v4", error="decoder_crashed: its worker died: twice"),
    ]
    measured = [("luma_mean_pct", pa.float32()), ("motion_width_pct_per_s", pa.float32())]
    values = {
        "c1": (50.0, 10.0),
        "c2": (5.0, 0.5),
        "c3": (4.0, 20.0),
        "c4": (60.0, 15.0),
        "c5": (None, 5.0),
        "c6": (70.0, 0.25),
        "c7": (55.0, 12.0),
    }
    clips = [clip(f"c{i + 1}", "v1", film, 9 * i, 9 * i + 9) for i in range(4)]
    clips += [clip(f"c{i + 5}", "v2", hostile, 6 * i, 6 * i + 6) for i in range(3)]
    clips[6]["error"] = "decoder_crashed: on a frame"
    for row in clips:
        row |= dict(zip(dict(measured), values[row["clip_id"]], strict=True))
    failed = {"c2": ["too_dark", "still"], "c3": ["too_dark"], "c5": ["too_dark"], "c6": ["still"]}
    filtered = [
        {"clip_id": c, "keep": c in ("c1", "c4"), "reject": failed.get(c, [None])[0]}
        | {"failed": failed.get(c, [])}
        for c in values
    ]
    captions = [
        {"clip_id": "c1", "caption": HOSTILE_CAPTION, "caption_source": "sidecar"},
        {"clip_id": "c4", "caption_error": "empty_answer: the server sent no text"},
    ]
    captions = [
        {"caption": None, "caption_source": None, "caption_error": None} | row for row in captions
    ]
    shard = [
        {"clip_id": "c1", "route": "copy", "reject": None},
        {"clip_id": "c4", "route": None, "reject": "no_bucket"},
    ]
    aesthetics = [
        {"clip_id": c, "aesthetic_laion_mlp": None, "aesthetic_note": HOSTILE_NOTE} for c in values
    ]
    sample = {"key": "c1", "bucket": "256p_16x9_033f", "shard": "256p_16x9_033f-000000.tar"}
    sample |= {"num_frames": 90, "duration_s": 9.0, "size_media": 2_500_000}
    return {
        "videos": rows_table(videos, VIDEOS),
        "clips": rows_table(clips, pa.schema([*CLIPS, *(pa.field(*m) for m in measured)])),
        "aesthetics": rows_table(
            aesthetics,
            pa.schema(
                [
                    ("clip_id", pa.string()),
                    ("aesthetic_laion_mlp", pa.float32()),
                    ("aesthetic_note", pa.string()),
                ]
            ),
        ),
        "filter": pa.Table.from_pylist(filtered),
        "captions": pa.Table.from_pylist(captions),
        "shard": pa.Table.from_pylist(shard),
        "samples": rows_table([sample], INDEX),
    }


HOSTILE_TEXT = """SALE</p><script>own('text')</script>\nEXIT"""


@pytest.fixture
def rich(tables: dict[str, pa.Table | None]) -> dict[str, pa.Table | None]:
    """The same with what the later stages add: words, text in the picture, copies, targets; c6 was
    turned away by a first look.
    """
    clips = tables["clips"]
    assert clips is not None
    ids = clips["clip_id"].to_pylist()
    cameras = ["pan", "static", "pan", None, "handheld", "static", "pan"]
    clips = clips.append_column("camera_motion", pa.array(cameras, pa.string()))
    clips = clips.append_column("is_soft", pa.array([True] + [False] * 6))
    clips = clips.append_column("frozen_pct", pa.array([10.0 * i for i in range(7)], pa.float32()))
    clips = clips.append_column("first_luma", pa.array([b"hash"] * 7, pa.binary()))
    rejects = pa.array([None] * 5 + ["triage_black", None], pa.string())
    clips = clips.set_column(clips.column_names.index("reject"), "reject", rejects)
    filtered = tables["filter"]
    assert filtered is not None
    reasons = filtered["reject"].to_pylist()
    reasons[5] = "triage_black"
    filtered = filtered.set_column(2, "reject", pa.array(reasons, pa.string()))
    text = [
        {"clip_id": c, "text": HOSTILE_TEXT if c == "c1" else None}
        | {"text_area_pct": 4.5 * (c < "c3")}
        for c in ids
    ]
    dedup = [
        {"clip_id": c, "file_copies": 1, "dup_of": "c1" if c in ("c1", "c2") else None}
        | {"dup_rank": {"c1": 0, "c2": 1}.get(c), "sem_of": "c4" if c in ("c3", "c4") else None}
        for c in ids
    ]
    shape = {"target_fps": 16.0, "frames_needed": 81, "crop_pct": 0.0}
    targets = [
        {"clip_id": c, "target": "model", "num_frames_at_target": 90 if c == "c1" else 60}
        | {"bucket": "64x32_081f" if c == "c1" else None}
        | {"reject": None if c == "c1" else "too_short"}
        | shape
        for c in ids
    ]
    added = {"text": text, "dedup": dedup, "targets": targets}
    made = {name: pa.Table.from_pylist(rows) for name, rows in added.items()}
    return tables | {"clips": clips, "filter": filtered} | made


@pytest.fixture
def keyframes() -> pa.Table:
    """Five frames for each of the clips c1 and c5."""
    rows = []
    for name in ("c1", "c5"):
        for place in range(5):
            picture = np.full((36, 64, 3), 40 * place, np.uint8)
            jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
            time = {"position": place / 4, "frame": 10 * place, "time_s": place * 1.0}
            rows.append({"clip_id": name, "jpeg": jpeg} | time)
    return rows_table(rows, KEYFRAMES)


def _write(data: str, tables: dict[str, pa.Table | None], keyframes: pa.Table) -> None:
    """The tables and the runs' records, laid out as the stages lay them out."""
    for name, table in (tables | {"keyframes": keyframes}).items():
        if table is not None and name != "samples":
            storage.write_table(storage.join(data, "tables", name, "unit.parquet"), table)
    if (samples := tables["samples"]) is not None:
        storage.write_table(storage.join(data, "shards", "index.parquet"), samples)
    counts = {"rows": 7, "kept": 2, "rejected": 4, "failed": 1, "units": 1, "units_done_before": 0}
    record = {"stage": "filter", "status": "complete", "config": {"rules": RULES}, "counts": counts}
    record |= {"seconds": {"wall": 0.25}, "decoded_frames": 330, "source_frames": 300}
    storage.commit(storage.join(data, "runs", "filter.json"), json.dumps(record).encode())


@pytest.fixture
def dataset(tmp_path: Path, tables: dict[str, pa.Table | None], keyframes: pa.Table) -> str:
    data = str(tmp_path / "my data")
    _write(data, tables, keyframes)
    return data


@pytest.fixture
def write_dataset() -> Callable[[str, dict[str, pa.Table | None], pa.Table], None]:
    return _write


@pytest.fixture
def rules() -> list[Rule]:
    return read_rules({"rules": RULES})
