"""What shard takes in and does again: verdicts for every clip, sources that came back."""

from pathlib import Path

import pyarrow as pa
import pytest

from curation import dataset, storage
from curation.clip import CLIPS, VIDEOS
from curation.stage import Abort
from curation.stages import sharding


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
