"""The demo's judgement, on rows small enough to judge by hand."""

import json

import pyarrow as pa
import pytest

from curation import storage
from curation.demo.report import (
    Check,
    Found,
    check_caption,
    check_cuts,
    check_dissolve,
    check_file_fate,
    check_files,
    check_no_others,
    clip_fate,
    compare,
    gradual_gaps,
    hard_cuts,
    overlapping,
    report,
)


def clip(
    start: int, end: int, *, into: str = "cut", out: str = "cut", file: str = "f.mp4", **more
) -> dict:
    row = {
        "clip_id": f"{file}:{start}",
        "uri": f"/some/where/{file}",
        "start_frame": start,
        "end_frame": end,
    }
    return (
        row | {"transition_in": into, "transition_out": out, "reject": None, "error": None} | more
    )


def video(file: str, *, reject: str | None = None, error: str | None = None) -> dict:
    return {"uri": f"/some/where/{file}", "reject": reject, "error": error}


# a film of 100 frames: a cut at 30, a dissolve over 60-70, a black shot from 90 on
CLIPS = [
    clip(0, 30, into="edge"),
    clip(30, 60, out="gradual"),
    clip(70, 90, into="gradual"),
    clip(90, 100, out="edge"),
]
TRUTH = {
    "files": ["f.mp4", "g.mp4"],
    "cuts": {"f.mp4": [30, 90]},
    "dissolves": [{"file": "f.mp4", "frame_range": [60, 70]}],
    "expected": [
        {"file": "f.mp4", "frame_range": [0, 30], "expected": "kept", "caption": "A cat."},
        {
            "file": "f.mp4",
            "frame_range": [90, 100],
            "expected": "reject:black",
            "caption": "Black.",
        },
        {"file": "g.mp4", "frame_range": None, "expected": "error"},
    ],
}


def finished_run() -> Found:
    return Found(
        videos=[video("f.mp4"), video("g.mp4", error="not_media: no known container")],
        clips=CLIPS,
        filter=[
            {"clip_id": "f.mp4:0", "keep": True, "reject": None, "failed": []},
            {"clip_id": "f.mp4:30", "keep": True, "reject": None, "failed": []},
            {"clip_id": "f.mp4:70", "keep": False, "reject": "still", "failed": ["still"]},
            {
                "clip_id": "f.mp4:90",
                "keep": False,
                "reject": "too_short",
                "failed": ["too_short", "black"],
            },
        ],
        captions=[
            {
                "clip_id": "f.mp4:0",
                "caption": "A cat.",
                "caption_source": "sidecar",
                "caption_error": None,
            }
        ],
        shard=[{"clip_id": "f.mp4:0", "reject": None, "error": None}],
        index=[{"key": "f.mp4:0"}],
    )


def test_a_run_that_found_everything_meets_every_expectation():
    checks = compare(TRUTH, finished_run())
    # files; 2 cuts, dissolve, no others; 2 fates of clips and 1 of a file; 1 caption
    assert [c.group for c in checks] == ["files", "cuts", "cuts", "transitions", "transitions"] + [
        "fate",
        "caption",
        "fate",
        "fate",
    ]
    assert all(c.ok for c in checks)


def test_cuts_and_gaps_are_read_from_the_clips():
    assert hard_cuts(CLIPS) == [30, 90]
    assert gradual_gaps(CLIPS) == [(60, 70)]
    # a film that fades in and out: frames before the first and after the last clip
    assert gradual_gaps([clip(12, 50, into="gradual", out="gradual")]) == [(50, 50), (0, 12)]


def test_a_cut_may_be_one_frame_off_but_not_two():
    rows = [clip(0, 31, into="edge"), clip(31, 92), clip(92, 100, out="edge")]
    assert [(c.expected, c.found, c.ok) for c in check_cuts("f.mp4", cuts=[30, 90], rows=rows)] == [
        ("30", "31", True),
        ("90", "not found", False),
    ]


def test_a_dissolve_is_described_as_it_was_found():
    def found(*rows: dict) -> str:
        return check_dissolve("f.mp4", true=(60, 70), rows=list(rows)).found

    assert found(*CLIPS) == "gradual 60-70: 10 of its 10 frames belong to no clip"
    late = (clip(0, 64, out="gradual"), clip(70, 100, into="gradual"))
    assert found(*late) == "gradual 64-70: 6 of its 10 frames belong to no clip"
    assert found(clip(0, 66), clip(66, 100)) == "taken for a hard cut at 66"
    assert found(clip(0, 100, into="edge", out="edge")) == "not found: its frames lie inside a clip"


def test_a_transition_where_there_is_none_is_a_false_claim():
    def others(*rows: dict) -> Check:
        return check_no_others("f.mp4", cuts=[30, 90], dissolves=[[60, 70]], rows=list(rows))

    assert others(*CLIPS).ok
    false = others(
        clip(0, 20, into="edge"), clip(20, 40, out="gradual"), clip(44, 100, into="gradual")
    )
    assert (false.found, false.ok) == ("cut 20, cut 100, gradual 40-44", False)


def test_files_must_each_have_one_row():
    rows = [video("a.mp4"), video("b.mp4", reject="duplicate_file"), video("c.mp4", error="x: y")]
    good = check_files(["a.mp4", "b.mp4", "c.mp4"], rows)
    assert good.ok
    assert good.found == "3 rows: 1 usable, 1 rejected, 1 failed (100 % of the files accounted for)"
    assert not check_files(["a.mp4", "b.mp4"], rows).ok
    assert not check_files(["a.mp4", "b.mp4", "c.mp4", "d.mp4"], rows).ok
    assert not check_files(["a.mp4", "b.mp4", "c.mp4"], [*rows, rows[0]]).ok


def test_the_clips_of_a_shot_share_half_of_the_shorter():
    rows = [clip(0, 30), clip(30, 60), clip(60, 64)]
    assert [r["start_frame"] for r in overlapping(rows, (28, 62))] == [30, 60]
    assert [r["start_frame"] for r in overlapping([clip(0, 100)], (20, 40))] == [0]


@pytest.mark.parametrize(
    ("row", "verdict", "cut", "shipped", "fate"),
    [
        (clip(0, 9), {"keep": True}, None, {"f.mp4:0"}, "kept"),
        (clip(0, 9), {"keep": True}, None, set(), "kept, but in no shard"),
        (
            clip(0, 9),
            {"keep": True},
            {"error": None, "reject": "no_bucket"},
            set(),
            "kept, but shard reject:no_bucket",
        ),
        (clip(0, 9), {"keep": False, "reject": "black"}, None, set(), "reject:black"),
        (
            clip(0, 9, error="deadline: 60 s"),
            {"keep": False, "reject": None},
            None,
            set(),
            "error:deadline",
        ),
        (clip(0, 9), None, None, set(), "no verdict"),
    ],
)
def test_the_fate_of_a_clip(row, verdict, cut, shipped, fate):
    assert clip_fate(row, verdict, cut, shipped) == fate


def test_any_reason_code_satisfies_error_but_a_usable_file_does_not():
    wanted = {"file": "g.mp4", "expected": "error"}
    assert check_file_fate(wanted, [video("g.mp4", error="not_media: no")]).ok
    assert not check_file_fate(wanted, [video("g.mp4")]).ok
    assert not check_file_fate(wanted, []).ok
    named = {"file": "g.mp4", "expected": "error:not_media"}
    assert check_file_fate(named, [video("g.mp4", error="not_media: no")]).ok
    assert not check_file_fate(named, [video("g.mp4", error="not_media_at_all: no")]).ok


def test_a_sidecar_caption_must_be_the_shots_own():
    wanted = {"file": "f.mp4", "frame_range": [0, 30], "caption": "A cat."}

    def ok(caption: str | None, source: str | None) -> bool:
        row = {
            "clip_id": "f.mp4:0",
            "caption": caption,
            "caption_source": source,
            "caption_error": "e: f",
        }
        return check_caption(wanted, [CLIPS[0]], [row]).ok

    assert ok("A cat.", "sidecar")
    assert not ok("A dog.", "sidecar")
    assert ok("A dog.", "vlm")
    assert not ok(None, None)
    assert not check_caption(wanted, [CLIPS[0]], []).ok


def test_report_reads_the_tables_and_says_how_many_are_met(tmp_path, capsys):
    found = finished_run()
    for name in ("videos", "clips", "filter", "captions", "shard"):
        table = pa.Table.from_pylist(getattr(found, name))
        storage.write_table(str(tmp_path / "tables" / name / "unit.parquet"), table)
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps(TRUTH))
    # without shards the kept clip is in none
    assert not report(str(tmp_path), truth=truth)
    assert "demo: 8 of 9 expectations met" in capsys.readouterr().out
    storage.write_table(
        str(tmp_path / "shards" / "index.parquet"), pa.Table.from_pylist(found.index)
    )
    assert report(str(tmp_path), truth=truth)
    out = capsys.readouterr().out
    assert "demo: 9 of 9 expectations met" in out and "MISSED" not in out


def test_a_missing_truth_is_said(tmp_path):
    with pytest.raises(ValueError, match="demo-footage"):
        report(str(tmp_path), truth=tmp_path / "none.json")


def test_most_frames_of_a_dissolve_must_belong_to_no_clip():
    def ok(*rows: dict) -> bool:
        return check_dissolve("f.mp4", true=(60, 70), rows=list(rows)).ok

    assert ok(*CLIPS)
    assert ok(clip(0, 64, out="gradual"), clip(70, 100, into="gradual"))  # 6 of 10
    assert not ok(clip(0, 66, out="gradual"), clip(70, 100, into="gradual"))  # 4 of 10
    assert not ok(clip(0, 66), clip(66, 100))
