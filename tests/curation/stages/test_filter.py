import math
from pathlib import Path

import pyarrow as pa
import pytest
from jsonargparse import ArgumentParser

from curation import dataset, pipeline, storage
from curation.stages import filter as filter_stage
from curation.stages.filter import FILTER, Filter, Rule, judge, place

NAN = math.nan
PRESETS = sorted((Path(__file__).parents[3] / "configs/curation").glob("*.yaml"))


def clips(**columns: list) -> pa.Table:
    rows = len(next(iter(columns.values())))
    own = {
        "clip_id": pa.array([f"c{i}" for i in range(rows)], pa.string()),
        "reject": pa.array(columns.pop("reject", [None] * rows), pa.string()),
        "error": pa.array(columns.pop("error", [None] * rows), pa.string()),
    }
    return pa.table(own | columns)


def verdicts(table: pa.Table, rules: list[Rule], **keywords: list[str]) -> list[tuple]:
    judged = judge(table, rules, **keywords)
    assert judged.schema == FILTER
    assert judged["clip_id"].to_pylist() == table["clip_id"].to_pylist()
    names = ("keep", "reject", "eligible", "failed")
    return list(zip(*(judged[name].to_pylist() for name in names), strict=True))


PASSED = (True, None, True, [])


def test_bounds_belong_to_the_range():
    rules = [Rule("dark", "luma", min=10, max=90)]
    out = (False, "dark", False, ["dark"])
    found = verdicts(clips(luma=[9.9, 10.0, 50.0, 90.0, 90.1]), rules)
    assert found == [out, PASSED, PASSED, PASSED, out]


@pytest.mark.parametrize("kind", [pa.float32(), pa.float64()])
def test_a_stored_value_equal_to_the_bound_passes_in_any_precision(kind):
    values = pa.array([0.1], pa.float64()).cast(kind)
    assert verdicts(clips(x=values), [Rule("r", "x", min=0.1, max=0.1)]) == [PASSED]


def test_null_and_nan_are_both_not_measured():
    table = clips(score=[None, NAN, 5.0])
    out = (False, "ugly", False, ["ugly"])
    assert verdicts(table, [Rule("ugly", "score", min=4)]) == [PASSED, PASSED, PASSED]
    assert verdicts(table, [Rule("ugly", "score", min=4, if_null="reject")]) == [out, out, PASSED]
    assert verdicts(table, [Rule("ugly", "score", max=4, if_null="reject")]) == [out, out, out]


def test_a_column_of_nothing_but_nulls_can_be_judged():
    table = clips(score=[None, None])
    assert verdicts(table, [Rule("ugly", "score", min=4)]) == [PASSED, PASSED]


def test_the_first_failing_rule_names_the_reason_and_all_are_listed():
    table = clips(a=[0, 0, 9], b=[0, 9, 0])
    rules = [Rule("low_b", "b", min=5), Rule("low_a", "a", min=5)]
    assert [row[1::2] for row in verdicts(table, rules)] == [
        ("low_b", ["low_b", "low_a"]),
        ("low_a", ["low_a"]),
        ("low_b", ["low_b"]),
    ]
    assert [row[1] for row in verdicts(table, rules[::-1])] == ["low_a", "low_a", "low_b"]


def test_a_clips_own_reject_or_error_comes_first():
    table = clips(
        reject=["duplicate_file", None, "image", None],
        error=[None, "decode_failed: packet 3: bad\nheader: x", "late: text", None],
        a=[9, 9, 0, 9],
    )
    assert verdicts(table, [Rule("low_a", "a", min=5)]) == [
        (False, "duplicate_file", False, []),
        (False, "decode_failed", False, []),
        (False, "image", False, ["low_a"]),
        PASSED,
    ]


def test_integers_booleans_and_text():
    table = clips(
        frames=pa.array([16, 17], pa.int64()), exact=[True, False], caption=["a dog", None]
    )
    assert [row[3] for row in verdicts(table, [Rule("short", "frames", min=17)])] == [["short"], []]
    assert [row[3] for row in verdicts(table, [Rule("cut", "exact", min=1)])] == [[], ["cut"]]
    no_caption = Rule("no_caption", "caption", if_null="reject")
    assert [row[3] for row in verdicts(table, [no_caption])] == [[], ["no_caption"]]


def test_words_are_allowed_or_denied():
    table = clips(camera=["static", "pan", "handheld", None])
    some = Rule("camera", "camera", allowed=["static", "pan"])
    assert [row[3] for row in verdicts(table, [some])] == [[], [], ["camera"], []]
    known = Rule("camera", "camera", allowed=["static", "pan"], if_null="reject")
    assert [row[3] for row in verdicts(table, [known])] == [[], [], ["camera"], ["camera"]]
    steady = Rule("camera", "camera", denied=["handheld"])
    assert [row[3] for row in verdicts(table, [steady])] == [[], [], ["camera"], []]


def test_eligible_leaves_out_rules_on_captions_only():
    table = clips(a=[9, 9, 0], caption=["x", None, None])
    rules = [Rule("no_caption", "caption", if_null="reject"), Rule("low_a", "a", min=5)]
    assert verdicts(table, rules, needs_caption=["clip_id", "caption"]) == [
        PASSED,
        (False, "no_caption", True, ["no_caption"]),
        (False, "low_a", False, ["low_a"]),  # never captioned, so no caption is missing
    ]


def test_no_rules_and_no_clips():
    assert verdicts(clips(a=[1, 2]), []) == [PASSED, PASSED]
    assert verdicts(clips(a=pa.array([], pa.float32())), [Rule("r", "a", min=1)]) == []


def test_tables_meet_by_clip_whatever_their_order_and_gaps():
    tables = {
        "clips": clips(a=[9, 9, 9]),
        "aesthetics": pa.table({"clip_id": ["c2", "zz", "c0"], "score": [2.0, 9.0, 7.0]}),
        "captions": pa.table({"clip_id": ["c1"], "caption": ["a dog"]}),
    }
    stage = Filter(
        rules=[
            Rule("ugly", "score", min=5),
            Rule("no_caption", "caption", if_null="reject"),
            Rule("later", "not_there_yet", min=1),
        ]
    )
    written = stage.run(tables)["filter"]
    assert written["reject"].to_pylist() == ["no_caption", None, "ugly"]
    assert written["eligible"].to_pylist() == [True, True, False]


def test_mistakes_in_rules_are_named():
    with pytest.raises(ValueError, match=r"'r': min = 2 is above max = 1"):
        Rule("r", "a", min=2, max=1)
    with pytest.raises(ValueError, match="'r' rejects nothing"):
        Rule("r", "a")
    with pytest.raises(ValueError, match="'r' has bounds and words"):
        Rule("r", "a", min=1, denied=["x"])
    with pytest.raises(ValueError, match=r"\['r'\] occur twice"):
        Filter(rules=[Rule("r", "a", min=1), Rule("r", "b", min=1)])


def test_rules_on_checks_of_captions_never_count_for_eligible():
    ids = ["c0", "c1", "c2", "c3"]
    ugly = clips(a=[9.0, 9.0, 9.0, 1.0])
    checks = {
        "clip_id": ids[:2],
        "caption_uncertain": pa.array([2, 0], pa.int32()),
        "caption_camera_conflict": ["says static, measured pan left", None],
        "caption_language": ["en", "de"],
    }
    tables = {"clips": ugly, "verify": pa.table(checks)}
    rules = [
        Rule("ugly", "a", min=5),
        Rule("hedging", "caption_uncertain", max=0),
        Rule("camera_conflict", "caption_camera_conflict", allowed=[]),  # whatever it says
        Rule("other_language", "caption_language", allowed=["en"], if_null="reject"),
    ]
    written = Filter(rules=rules).run(tables)["filter"]
    assert written["failed"].to_pylist() == [
        *(["hedging", "camera_conflict"], ["other_language"], ["other_language"], ["ugly"])
    ]
    assert written["eligible"].to_pylist() == [True, True, True, False]
    before = Filter(rules=rules).run({"clips": ugly})["filter"]
    assert before["eligible"] == written["eligible"]


CLIPS = pa.schema([(name, pa.string()) for name in ("clip_id", "reject", "error")])
ON_DISK = {
    "clips": CLIPS.append(pa.field("luma_mean_pct", pa.float32())),
    "dedup": pa.schema({"clip_id": pa.string(), "file_copies": pa.int32()}),
}
EXPECTED = {"luma_mean_pct": "clips", "file_copies": "dedup", "caption": "captions"}


def test_length_size_and_shape_follow_from_what_is_stored():
    table = clips(start_s=[1.0, 0.0], end_s=[3.0, 9.0], width=[1280, 320], height=[720, 640])
    rules = [
        Rule("short", "duration_s", min=4),
        Rule("small", "short_side_px", min=480),
        Rule("narrow", "aspect", min=1),
    ]
    written = Filter(rules=rules).run({"clips": table})["filter"]
    assert written["failed"].to_pylist() == [["short"], ["small", "narrow"]]
    reads, later = place(rules, tables=ON_DISK, expected=EXPECTED)
    assert reads["clips"][3:] == ["start_s", "end_s", "width", "height"] and not later
    with pytest.raises(ValueError, match="the nearest are duration_s"):
        place([Rule("short", "duration", min=4)], tables=ON_DISK, expected=EXPECTED)


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.name)
def test_every_rule_of_a_preset_is_on_a_column_that_some_stage_writes(path):
    parser = ArgumentParser()
    parser.add_argument("--config", action="config")
    for stage in ("inventory", "triage", "scan", "split", "aesthetics", "embed", "text", "dedup"):
        parser.add_argument(f"--{stage}", type=dict)
    parser.add_argument("--shard", type=dict)
    parser.add_class_arguments(Filter, "filter")
    made = parser.instantiate(parser.parse_args(["--config", str(path)])).filter
    expected = filter_stage.expected_columns()
    place(made.rules, tables={"clips": CLIPS}, expected=expected)


def test_only_the_columns_of_the_rules_are_read():
    rules = [Rule("dark", "luma_mean_pct", min=5), Rule("copied", "file_copies", max=1)]
    reads, later = place(rules, tables=ON_DISK, expected=EXPECTED)
    assert reads == {
        "clips": ["clip_id", "reject", "error", "luma_mean_pct"],
        "dedup": ["clip_id", "file_copies"],
    }
    assert later == []


def test_a_rule_on_a_stage_that_has_not_run_waits_and_one_on_no_stage_is_an_error():
    waiting = [Rule("no_caption", "caption", if_null="reject")]
    reads, later = place(waiting, tables=ON_DISK, expected=EXPECTED)
    assert (list(reads), later) == (["clips"], ["no_caption (caption, of captions)"])
    with pytest.raises(ValueError, match=r"'luma_pct'; the nearest are luma_mean_pct"):
        place([Rule("dark", "luma_pct", min=5)], tables=ON_DISK, expected=EXPECTED)


def test_bounds_on_text_and_ambiguous_columns_are_errors():
    with pytest.raises(ValueError, match="is of type string; only allowed"):
        place([Rule("r", "reject", min=1)], tables=ON_DISK, expected=EXPECTED)
    with pytest.raises(ValueError, match="need words, but 'luma_mean_pct' is of type float"):
        place([Rule("r", "luma_mean_pct", denied=["x"])], tables=ON_DISK, expected=EXPECTED)
    twice = ON_DISK | {"text": ON_DISK["dedup"]}
    with pytest.raises(ValueError, match=r"'file_copies': \['dedup', 'text'\]"):
        place([Rule("r", "file_copies", max=1)], tables=twice, expected=EXPECTED)


def test_what_stages_write_is_known_before_they_have_run():
    expected = filter_stage.expected_columns()
    assert expected["aesthetic_laion_mlp"] == "aesthetics"
    assert expected["file_copies"] == "dedup"
    assert expected["caption"] == "captions" and expected["caption_uncertain"] == "verify"
    assert "jpeg" not in expected and "eligible" not in expected


def test_the_verdict_on_disk_follows_the_thresholds_and_the_tables(tmp_path, capsys):
    data = str(tmp_path)
    for unit, scores in (("b", [1.0, 9.0]), ("a", [None])):
        url = dataset.unit_url(data, "clips", unit)
        ids = pa.array([f"{unit}{i}" for i in range(len(scores))])
        nulls = pa.nulls(len(ids), pa.string())
        columns = {"clip_id": ids, "reject": nulls, "error": nulls}
        storage.write_table(url, pa.table(columns | {"fps": pa.array(scores, pa.float64())}))
    # rows of what no rule may see
    several = pa.table({"clip_id": ["a0", "a0"], "reject": ["too_short", "too_slow"]})
    storage.write_table(dataset.unit_url(data, "targets", "a"), several)
    storage.write_table(dataset.unit_url(data, "keyframes", "a"), pa.table({"clip_id": ["a0"]}))

    def reject(*rules: Rule) -> list[str | None]:
        stage = Filter(rules=list(rules))
        pipeline.run(stage, filter_stage.units(stage, data=data), data=data)
        written = dataset.load(data, "filter")
        assert written is not None and written["clip_id"].to_pylist() == ["a0", "b0", "b1"]
        return written["reject"].to_pylist()

    captioned = Rule("no_caption", "caption", if_null="reject")
    assert reject(Rule("slow", "fps", min=5)) == [None, "slow", None]
    assert reject(Rule("slow", "fps", min=5, if_null="reject")) == ["slow", "slow", None]
    assert reject(captioned) == [None, None, None]
    assert "left out until their columns exist: no_caption (caption, of captions)" in (
        capsys.readouterr().out
    )
    storage.write_table(
        dataset.unit_url(data, "captions", "a"), pa.table({"clip_id": ["b1"], "caption": ["x"]})
    )
    assert reject(captioned) == ["no_caption", "no_caption", None]


def test_clips_that_a_side_table_lacks_are_told_with_the_stage_that_measures_them(tmp_path, capsys):
    data = str(tmp_path)
    ids = ["c0", "c1", "c2"]
    storage.write_table(dataset.unit_url(data, "clips", "a"), clips(a=[1.0] * 3))
    score = pa.table({"clip_id": ids[:1], "aesthetic_laion_mlp": [5.0]})
    storage.write_table(dataset.unit_url(data, "aesthetics", "a"), score)
    stage = Filter(rules=[Rule("ugly", "aesthetic_laion_mlp", min=4), Rule("low", "a", min=0)])
    filter_stage.units(stage, data=data)
    said = capsys.readouterr().out
    assert "2 of 3 clips are not in the table aesthetics" in said
    assert "run aesthetics and filter again" in said
    whole = pa.table({"clip_id": ids, "aesthetic_laion_mlp": [5.0, None, 1.0]})
    storage.write_table(dataset.unit_url(data, "aesthetics", "a"), whole)
    filter_stage.units(stage, data=data)
    assert capsys.readouterr().out == ""
