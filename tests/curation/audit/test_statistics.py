import pyarrow as pa
import pytest

from curation.audit.ledger import Ledger, Rule, join_tables, read_rules
from curation.audit.statistics import (
    buckets,
    caption_sources,
    conservation,
    funnel,
    gallery,
    problems,
    routes,
    words,
)

Tables = dict[str, pa.Table | None]


@pytest.fixture
def ledger(tables: Tables, rules: list[Rule]) -> Ledger:
    return join_tables(tables, rules=rules)


def test_funnel_counts_every_loss_once_and_in_order(ledger: Ledger):
    steps = [(s.label, s.is_loss, s.count, round(s.hours * 3600)) for s in funnel(ledger)]
    assert steps == [
        ("Files found", False, 5, 90),
        ("decoder_crashed", True, 1, 0),
        ("no_container", True, 1, 0),
        ("Readable", False, 3, 90),
        ("duplicate_file", True, 1, 36),
        ("Not a duplicate", False, 2, 54),
        ("Clips found", False, 7, 54),
        ("decoder_crashed", True, 1, 6),
        ("too_dark", True, 3, 24),
        ("still", True, 1, 6),
        ("Kept by the filter", False, 2, 18),
        ("no_bucket", True, 1, 9),
        ("In shards", False, 1, 9),
    ]


def test_funnel_tells_what_a_rule_alone_turns_away(ledger: Ledger):
    reach = {s.label: (s.failing, s.failing_alone) for s in funnel(ledger) if s.is_loss}
    assert reach["too_dark"] == (3, 2)
    assert reach["still"] == (2, 1)
    assert reach["no_bucket"] == (None, None)


def test_funnel_shows_other_reasons_of_files_apart(tables: Tables, rules: list[Rule]):
    tables["videos"] = pa.table({"uri": ["a", "b"], "reject": ["too_long", None]})
    labels = [
        (s.label, s.count) for s in funnel(join_tables(tables, rules=rules)) if s.unit == "files"
    ]
    assert labels[2:] == [("Not a duplicate", 2), ("too_long", 1), ("Fit for use", 1)]


def test_all_sums_come_out(ledger: Ledger):
    checks = conservation(ledger)
    assert [check.holds for check in checks] == [True, True, True]
    assert [check.text for check in checks] == [
        "5 = 2 kept + 1 rejected + 2 failed",
        "7 = 2 kept + 4 rejected + 1 failed",
        "2 = 1 in shards + 1 rejected + 0 failed",
    ]


def test_a_clip_without_a_verdict_is_missed(tables: Tables, rules: list[Rule]):
    assert tables["filter"] is not None
    tables["filter"] = tables["filter"].slice(1)
    check = conservation(join_tables(tables, rules=rules))[1]
    assert check.holds is False
    assert check.text == "7 ≠ 1 kept + 4 rejected + 1 failed; 1 without a verdict"


def test_a_sample_lost_between_filter_and_shards_is_missed(tables: Tables, rules: list[Rule]):
    assert tables["samples"] is not None
    tables["samples"] = tables["samples"].slice(1)
    check = conservation(join_tables(tables, rules=rules))[2]
    assert (check.holds, check.text) == (False, "2 ≠ 0 in shards + 1 rejected + 0 failed")


@pytest.mark.parametrize(
    ("table", "place", "complaint"),
    [
        ("videos", 0, "4 ≠ 2 kept + 1 rejected + 2 failed"),
        ("clips", 1, "of a file that is not listed"),
        ("filter", 1, "second verdicts"),
    ],
)
def test_rows_that_appear_twice_or_belong_nowhere_are_missed(
    tables: Tables, rules: list[Rule], table: str, place: int, complaint: str
):
    given = tables[table]
    assert given is not None
    spoilt = {
        # the same file listed twice, clips of an unknown file, two verdicts on one clip
        "videos": ("uri", ["a/film.mp4", "a/film.mp4", "x", "y", "z"]),
        "clips": ("video_id", ["nowhere"] * 7),
        "filter": ("clip_id", ["c1", "c1", "c3", "c4", "c5", "c6", "c7"]),
    }
    column, values = spoilt[table]
    tables[table] = given.set_column(given.schema.get_field_index(column), column, [values])
    check = conservation(join_tables(tables, rules=rules))[place]
    assert check.holds is False
    assert complaint in check.text


def test_nothing_is_claimed_before_a_stage_has_run(tables: Tables):
    early: Tables = {"videos": tables["videos"], "clips": tables["clips"]}
    ledger = join_tables(early)
    assert [check.holds for check in conservation(ledger)] == [True, None, None]
    assert ledger.clips["verdict"].to_pylist() == ["undecided"] * 6 + ["failed"]
    assert join_tables({}).clips.num_rows == 0


def test_a_second_row_for_a_clip_does_not_multiply_it(tables: Tables, rules: list[Rule]):
    assert tables["captions"] is not None
    tables["captions"] = pa.concat_tables([tables["captions"]] * 3)
    assert join_tables(tables, rules=rules).clips.num_rows == 7


def test_problems_name_the_places(ledger: Ledger):
    found = {(p.stage, p.reason): p for p in problems(ledger)}
    hostile = ledger.clips["uri"].to_pylist()[-1]
    crashed = found["split", "decoder_crashed"]
    assert (crashed.count, crashed.is_error) == (2, True)
    assert [(e["uri"], e["start_s"], e["detail"]) for e in crashed.examples] == [
        (hostile, 12.0, "on a frame"),
        ("b/crash.mp4", None, "its worker died: twice"),
    ]
    assert found["caption", "empty_answer"].examples[0]["detail"] == "the server sent no text"
    copy = found["split", "duplicate_file"]
    assert (copy.is_error, copy.examples[0]["detail"]) == (False, "same bytes as a/film.mp4")


def test_problems_count_more_than_they_name():
    names = [f"{i:03d}" for i in range(40)]
    broken = pa.table({"uri": names, "error": ["no_container"] * 40})
    (problem,) = problems(join_tables({"videos": broken}), examples=3)
    assert (problem.count, [e["uri"] for e in problem.examples]) == (40, ["000", "001", "002"])
    assert problem.examples[0]["detail"] is None


def test_buckets_and_captions(ledger: Ledger):
    (bucket,) = buckets(ledger)
    assert (bucket["bucket"], bucket["samples"], bucket["frames"]) == ("256p_16x9_033f", 1, 90)
    assert (bucket["num_bytes"], bucket["copied"], bucket["encoded"]) == (2_500_000, 1, 0)
    sources = [(row["source"], row["clips"]) for row in caption_sources(ledger)]
    assert sources == [("sidecar", 1), (None, 1)]


def test_gallery_draws_kept_and_every_reason(ledger: Ledger):
    everything = gallery(ledger, limit=200)
    assert [(row["clip_id"], row["status"], row["cause"]) for row in everything] == [
        ("c1", "kept", ""),
        ("c2", "rejected", "too_dark"),
        ("c3", "rejected", "too_dark"),
        ("c4", "rejected", "no_bucket"),
        ("c5", "rejected", "too_dark"),
        ("c6", "rejected", "still"),
        ("c7", "failed", "decoder_crashed"),
    ]
    some = gallery(ledger, limit=5)
    assert [row["clip_id"] for row in some] == ["c1", "c2", "c4", "c6", "c7"]
    assert {row["cause"]: row["alike"] for row in some}["too_dark"] == 3


def test_rules_are_read_from_a_run_or_absent():
    assert read_rules({}) == []
    assert read_rules({"rules": None}) == []
    named = {"name": "still", "column": "motion", "min": 1.0, "max": 80, "if_null": "keep"}
    assert read_rules({"rules": [named, {"column": "x"}]}) == [
        Rule("still", "motion", 1.0, 80, "keep"),
        Rule("x", "x", None, None, ""),
    ]


def test_a_ruled_column_comes_first(ledger: Ledger):
    assert ledger.measures[:2] == ["luma_mean_pct", "motion_width_pct_per_s"]
    assert "aesthetic_laion_mlp" in ledger.measures
    assert "start_s" not in ledger.measures


def test_checks_of_captions_are_measures_and_costs_are_not(tables: Tables):
    ids = ["c1", "c2"]
    checks = {"caption_uncertain": [0, 3], "caption_language": ["en", "fr"]}
    tables["verify"] = pa.table({"clip_id": ids} | checks)
    tables["captions"] = pa.table({"clip_id": ids, "prompt_tokens": [900, 800]})
    ledger = join_tables(tables)
    assert ledger.owners["caption_uncertain"] == "verify"
    assert "prompt_tokens" not in ledger.measures
    found = {row["clip_id"]: row["caption_language"] for row in ledger.clips.to_pylist()}
    assert (found["c1"], found["c2"]) == ("en", "fr")


def test_words_are_counted_by_verdict(rich: Tables, rules: list[Rule]):
    ledger = join_tables(rich, rules=rules)
    assert {"camera_motion", "is_soft"} <= set(ledger.words)
    assert "first_luma" not in ledger.words and "uri" not in ledger.words
    found = words(ledger, "camera_motion")
    counted = [(r["word"], r["clips"], r["kept"], r["rejected"], r["undecided"]) for r in found]
    assert counted == [
        ("pan", 3, 1, 2, 0),
        ("static", 2, 0, 2, 0),
        ("handheld", 1, 0, 1, 0),
        ("null", 1, 1, 0, 0),
    ]


def test_prose_is_not_counted_word_by_word(tables: Tables):
    clips = tables["clips"]
    assert clips is not None
    many = pa.concat_tables([clips] * 4)
    prose = pa.array([f"take {i}" for i in range(len(many))])
    tables["clips"] = many.append_column("remark", prose)
    assert "remark" not in join_tables(tables).words


def test_a_first_looks_rejections_come_before_the_rules(rich: Tables, rules: list[Rule]):
    losses = [s.label for s in funnel(join_tables(rich, rules=rules)) if s.is_loss]
    assert losses[3:7] == ["decoder_crashed", "triage_black", "too_dark", "still"]


def test_a_copy_knows_the_clip_that_is_kept_in_its_place(rich: Tables):
    ledger = join_tables(rich)
    told = {
        row["clip_id"]: (row["keeper"], row["keeper_start_s"], row["keeper_by"])
        for row in ledger.clips.to_pylist()
        if row["keeper"]
    }
    assert told == {"c2": ("c1", 0, "dup"), "c3": ("c4", 27, "sem")}
    assert len(ledger.clips) == 7


def test_routes_count_what_was_encoded_again(tables: Tables):
    samples = tables["samples"]
    assert samples is not None
    three = pa.concat_tables([samples] * 3)
    three = three.set_column(0, "key", pa.array(["c1", "c2", "c3"]))
    shard = {"clip_id": ["c1", "c2", "c3"], "route": ["copy", "smart", "smart"]}
    encoded = pa.array([0, 7, 5], pa.int64())
    tables |= {"samples": three, "shard": pa.table(shard | {"frames_encoded": encoded})}
    ledger = join_tables(tables)
    found = [(r["route"], r["samples"], r["frames"], r["frames_encoded"]) for r in routes(ledger)]
    assert found == [("smart", 2, 180, 12), ("copy", 1, 90, 0)]
    (bucket,) = buckets(ledger)
    assert (bucket["copied"], bucket["smart"], bucket["encoded"]) == (1, 2, 0)
