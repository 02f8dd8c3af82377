"""Which clips are shown first, and totals over all of them."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from captioning.review.ranking import joined, once, rank, reason_codes, texts_of, variants
from captioning.review.severity import Limits, checks
from curation import storage

ALL = checks(Limits())
Write = Callable[..., str]


def test_the_worst_come_first_and_the_totals_are_of_all(write_data: Write) -> None:
    data = write_data()
    worst, totals = rank(joined(data), ALL, count=3, variants=variants(data))
    assert [(row["clip_id"], [check.name for check in bad]) for row, bad in worst] == [
        ("none", ["no_caption"]),
        ("bad", ["camera_conflict", "words", "opinions", "mentions_medium"]),
        ("evil", ["camera_conflict"]),
    ]
    assert (totals.clips, totals.verified, totals.bad) == (6, 5, 2)
    sources = {source: n for (source, _), n in totals.sources.items()}
    assert totals.sources["vlm", "some/model"] == 2
    assert (sources["sidecar"], sources["measured"], sources[None]) == (1, 1, 1)
    assert list(totals.failures.items()) == [
        ("sidecar_not_text", (1, 1)),
        ("vlm_runaway", (1, 0)),
        ("vlm_truncated", (1, 1)),
    ]
    assert totals.variants == {
        "caption_dense": 3,
        "caption_short": 3,
        "caption_fields": 3,
        "caption_rewritten": 1,
        "caption_original": 4,
    }
    counted = {check.name: (of, bad) for check, of, bad in totals.checks}
    assert counted["no_caption"] == (6, 1)
    assert counted["camera_conflict"] == (5, 2)
    assert counted["short_words"] == (3, 0)
    assert counted["opinions"] == (5, 1)


def test_without_checks_failures_come_first_and_nothing_is_counted(write_data: Write) -> None:
    data = write_data(checks=False, rewrites=False)
    worst, totals = rank(joined(data), ALL, count=9, variants=variants(data))
    names = [row["clip_id"] for row, _ in worst]
    assert names[0] == "none" and sorted(names) == sorted(joined(data)["clip_id"].to_pylist())
    assert (totals.verified, totals.bad, totals.variants["caption_rewritten"]) == (0, 0, 0)
    assert {check.name for check, of, _ in totals.checks if of} == {"no_caption"}


def test_a_table_of_before_the_variants_is_read(tmp_path: Path) -> None:
    data = str(tmp_path)
    old = {"clip_id": ["a", "b"], "caption": ["x", None], "caption_source": ["sidecar", None]}
    storage.write_table(storage.join(data, "tables", "captions", "u.parquet"), pa.table(old))
    clips = pa.table({"clip_id": ["a"], "uri": ["f.mp4"], "start_s": [0.0], "end_s": [1.0]})
    storage.write_table(storage.join(data, "tables", "clips", "u.parquet"), clips)
    worst, totals = rank(joined(data), ALL, count=9, variants=variants(data))
    assert [row["clip_id"] for row, _ in worst] == ["b", "a"]
    assert totals.sources == {("sidecar", None): 1, (None, None): 1}
    assert texts_of(data, ["a", "b"])["a"] == {
        "clip_id": "a",
        "caption": "x",
        "caption_fields": {},
    }


def test_columns_without_a_type_and_second_rows_are_left_out() -> None:
    rows = pa.table({"clip_id": ["a", "b", "a"], "n": [1, 2, 3], "none": [None] * 3})
    rows = rows.append_column("list", pa.array([[1]] * 3))
    assert once(rows).to_pylist() == [{"clip_id": "a", "n": 1}, {"clip_id": "b", "n": 2}]


def test_reason_codes_are_those_of_every_error() -> None:
    row = {"caption_error": "vlm_empty: nothing; vlm_empty: again", "error": "stage_failed: x: y"}
    assert reason_codes(row) == {"vlm_empty", "stage_failed"}
    assert reason_codes({"caption_error": None}) == set()


def test_only_what_is_shown_is_read(write_data: Write) -> None:
    found = texts_of(write_data(), ["good"])
    assert set(found) == {"good"}
    assert found["good"]["caption_rewritten"] == "Dog on a beach."
    assert found["good"]["caption_fields"]["subject"] == "a brown dog"


def test_a_dataset_without_captions_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no captions; expected .*: run `make caption DATA="):
        joined(str(tmp_path))


def test_what_a_model_was_asked_of_the_fields_is_told(write_data: Write) -> None:
    data = write_data()
    columns = {"caption_yes_light": [0.9, 0.1], "caption_yes_min": [0.8, 0.1], "error": [None] * 2}
    asked = pa.table({"clip_id": ["good", "bad"]} | columns)
    storage.write_table(f"{data}/tables/vqa/u.parquet", asked)
    found = {row["clip_id"]: row["caption_yes_min"] for row in joined(data).to_pylist()}
    assert (found["good"], found["bad"], found["plain"]) == (0.8, 0.1, None)
