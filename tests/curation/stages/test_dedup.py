from collections.abc import Sequence

import pyarrow as pa
import pytest

from curation.stage import Abort
from curation.stages.dedup import DEDUP, Dedup


def tables(videos: Sequence[str | None], clips: list[tuple[str, str]]) -> dict[str, pa.Table]:
    return {
        "videos": pa.table({"video_id": pa.array(videos, pa.string())}),
        "clips": pa.table(
            {
                "clip_id": pa.array([clip for clip, _ in clips], pa.string()),
                "video_id": pa.array([video for _, video in clips], pa.string()),
            }
        ),
    }


def test_counts_the_files_with_the_same_bytes_and_keeps_the_order_of_the_clips():
    given = tables(["b", "a", "b", None, "b"], [("c3", "b"), ("c1", "a"), ("c2", "b")])
    written = Dedup().run(given)["dedup"]
    assert written.to_pydict() == {"clip_id": ["c3", "c1", "c2"], "file_copies": [3, 1, 3]}
    assert written.schema == DEDUP


def test_no_clips_give_no_rows():
    assert Dedup().run(tables(["a"], []))["dedup"].num_rows == 0


def test_a_failure_stops_the_run_instead_of_inventing_counts():
    with pytest.raises(Abort, match="stage_failed"):
        Dedup().failed(tables(["a"], [("c", "a")]), error="stage_failed: KeyError")
