"""The captions that a sample tells, by variant, from tables of every age."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation import dataset, storage
from curation.clip import CLIPS
from curation.stages.samples import samples_of, variants_of
from curation.stages.shard import SHARD, Shard

DENSE = {"caption": "A brown dog runs.", "caption_dense": "A brown dog runs."}
FIELDS = {"subject": "a brown dog", "camera_motion": "static", "text_on_screen": ""}


def write(data: str, table: str, rows: list[dict[str, Any]]) -> None:
    storage.write_table(dataset.unit_url(data, table, "u"), pa.Table.from_pylist(rows))


def told(data: str, *keys: str) -> dict[str, tuple[dict[str, Any], str]]:
    """clip_id -> the .json and the .txt of its sample."""
    clips = [dict.fromkeys(CLIPS.names) | {"clip_id": key, "video_id": "v"} for key in keys]
    table = pa.Table.from_pylist(clips, schema=CLIPS)
    storage.write_table(dataset.unit_url(data, "clips", "u"), table)
    rows = [dict.fromkeys(SHARD.names) | {"clip_id": key, "media": "mp4"} for key in keys]
    samples = samples_of(Shard(), rows, data=data)
    return {key: (json.loads(sample.json), sample.txt.decode()) for key, sample in samples.items()}


def test_every_variant_stands_in_the_sample_by_its_name(tmp_path: Path) -> None:
    written = DENSE | {"clip_id": "a", "caption_source": "vlm", "caption_short": "A dog."}
    written |= {"caption_original": "MVI 0042", "caption_fields": json.dumps(FIELDS)}
    failed = dict.fromkeys(written) | {"clip_id": "b", "caption_original": "MVI 0043"}
    asked = {"caption_attempts": 3, "prompt_tokens": 900}
    write(str(tmp_path), "captions", [written | asked, failed | asked])
    short = {"caption_rewritten": "Dog, running.", "rewrite_error": None, "answer_tokens": 7}
    write(str(tmp_path), "rewrites", [{"clip_id": "a"} | short])
    checks = {"caption_words": 4, "caption_camera_conflict": "says pan", "caption_repetition": 0.25}
    write(str(tmp_path), "verify", [{"clip_id": "a"} | checks])
    samples = told(str(tmp_path), "a", "b")
    sample, text = samples["a"]
    assert text == "A brown dog runs." and sample["caption_source"] == "vlm"
    assert sample["captions"] == {
        "dense": "A brown dog runs.",
        "short": "A dog.",
        "rewritten": "Dog, running.",
        "original": "MVI 0042",
    }
    assert sample["caption_fields"] == FIELDS
    # what asking cost is none of the clip's qualities; what was checked is
    assert sample["scores"] == {"caption_words": 4, "caption_repetition": 0.25}
    sample, text = samples["b"]
    assert (text, sample["caption_source"], sample["caption_fields"]) == ("", None, {})
    assert sample["captions"] == {"original": "MVI 0043"}


def test_tables_of_before_the_variants_are_read(tmp_path: Path) -> None:
    rows = [("a", "From the label.", "sidecar"), ("b", "A clip of 64 by 36.", "measured")]
    rows += [("c", "A cat sits.", "vlm"), ("d", None, None)]
    names = ("clip_id", "caption", "caption_source")
    write(str(tmp_path), "captions", [dict(zip(names, row, strict=True)) for row in rows])
    samples = told(str(tmp_path), *"abcde")  # nobody captioned e
    assert {key: sample["captions"] for key, (sample, _) in samples.items()} == {
        "a": {"original": "From the label."},
        "b": {"measured": "A clip of 64 by 36."},
        "c": {"dense": "A cat sits."},
        "d": {},
        "e": {},
    }
    assert [text for _, text in samples.values()] == [row[1] or "" for row in rows] + [""]
    assert all(sample["caption_fields"] == {} for sample, _ in samples.values())


def test_a_dataset_without_captions_gives_samples_without(tmp_path: Path) -> None:
    sample, text = told(str(tmp_path), "a")["a"]
    assert (sample["captions"], sample["caption_source"], text) == ({}, None, "")


def test_the_primary_caption_is_always_among_the_variants() -> None:
    sidecar = {"caption": "A dog", "caption_source": "sidecar", "caption_original": "A dog"}
    assert variants_of(sidecar) == {"original": "A dog"}
    # a primary text that no column holds keeps its source's name where the variant's is taken
    other = DENSE | {"caption": "Another text.", "caption_source": "vlm"}
    assert variants_of(other) == {"dense": "A brown dog runs.", "vlm": "Another text."}
    measured = {"caption": "64 by 36", "caption_source": "measured", "caption_original": "label"}
    assert variants_of(measured) == {"measured": "64 by 36", "original": "label"}
