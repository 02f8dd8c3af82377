"""What shard takes in and does again: verdicts for every clip, sources that came back."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from curation import dataset, storage
from curation.clip import CLIPS, VIDEOS
from curation.stage import Abort
from curation.stages import sharding
from curation.stages.samples import samples_of
from curation.stages.shard import SHARD, Shard


def write(data: str, table: str, rows: list[dict], schema: pa.Schema) -> None:
    full = [dict.fromkeys(schema.names) | row for row in rows]
    storage.write_table(
        dataset.unit_url(data, table, "u"), pa.Table.from_pylist(full, schema=schema)
    )


def test_a_clip_without_a_verdict_stops_the_run_instead_of_vanishing(tmp_path: Path) -> None:
    data = str(tmp_path)
    clips = [{"clip_id": c, "video_id": "v", "start_frame": i} for i, c in enumerate("ab")]
    write(data, "clips", clips, CLIPS)
    write(data, "videos", [{"video_id": "v", "uri": "v.mp4"}], VIDEOS)
    verdicts = pa.schema({"clip_id": pa.string(), "keep": pa.bool_()})
    write(data, "filter", [{"clip_id": "a", "keep": True}], verdicts)
    with pytest.raises(Abort, match="1 of 2 clips have no verdict; run filter first"):
        sharding._kept_clips(data)
    write(data, "filter", [{"clip_id": c, "keep": c == "b"} for c in "ab"], verdicts)
    assert [(clip["clip_id"], clip["position"]) for clip in sharding._kept_clips(data)] == [
        ("b", 1)
    ]


def test_a_sample_tells_numbers_of_its_own_clip_and_no_others(tmp_path: Path) -> None:
    data, key = str(tmp_path), {"clip_id": "a"}
    clips = pa.schema([*CLIPS, pa.field("luma_mean_pct", pa.float32()), ("phash", pa.binary())])
    measured = [key | {"video_id": "v", "num_frames": 9, "luma_mean_pct": 40.0, "phash": b"x"}]
    write(data, "clips", [*measured, {"clip_id": "b", "luma_mean_pct": 50.0}], clips)
    for table, told in {
        "aesthetics": {"aesthetic": 5.5, "blind": None, "is_still": True, "note": "why"},
        "embed": {"embedding": [0.5, 0.5], "embedding_mean_norm": 0.75},
        "dedup": {"sample_weight": 0.5},  # other clips decide it
        "keyframes": {"position": 3},
    }.items():
        rows = pa.Table.from_pylist([key | told])
        storage.write_table(dataset.unit_url(data, table, "u"), rows)
    targets = pa.table({"clip_id": ["a", "a"], "target_fps": [16.0, 24.0]})  # a row per target
    storage.write_table(dataset.unit_url(data, "targets", "u"), targets)
    pictures = pa.table({"video_id": ["v"], "frame": [1]})
    storage.write_table(dataset.unit_url(data, "thumbs", "u"), pictures)
    words = {"caption": "A boat.", "caption_source": "vlm"}
    captions = pa.Table.from_pylist([key | words | {"num_words": 2}])
    storage.write_table(dataset.unit_url(data, "captions", "u"), captions)
    row = dict.fromkeys(SHARD.names) | key | {"bucket": "48p", "media": "mp4"}
    (sample,) = samples_of(Shard(), [row, row | {"clip_id": "b", "error": "e"}], data=data).values()
    told = json.loads(sample.json)
    assert told["scores"] == {
        "luma_mean_pct": 40.0, "aesthetic": 5.5, "is_still": True, "embedding_mean_norm": 0.75,
    }  # fmt: skip
    assert (told["clip_id"], told["video_id"], told["num_frames"]) == ("a", "v", 9)
    assert told["captions"] == {"dense": "A boat."} and sample.txt == b"A boat."
