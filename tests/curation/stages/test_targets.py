"""Worked-out answers: 3 s at 24 fps are 72 frames, of which a reader at 16 fps gets 48."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from jsonargparse import ArgumentParser

from curation import dataset, pipeline, storage
from curation.audit.targets import shares, tell
from curation.clip import CLIPS
from curation.stages import targets as stage_of_targets
from curation.stages.targets import Target, Targets, best_size, crop_pct, fit, largest_count

PRESETS = sorted((Path(__file__).parents[3] / "configs/curation/targets").glob("*.yaml"))

WAN = Target("wan", fps=16, min_frames=81, max_frames=81, sizes=["832x480", "480x832"])
LTX = Target(
    "ltx", fps=30, min_frames=97, max_frames=257, stride=8, multiple=32, sizes=["1216x704"]
)
MANY = Target("many", fps=24, min_frames=1, max_frames=129, sizes=["336x192", "1024x576"])


def told(target: Target, width: int, height: int, num_frames: int, fps: float | None) -> tuple:
    found = fit(target, width=width, height=height, num_frames=num_frames, fps=fps)
    return found.bucket, found.num_frames_at_target, found.reject


def test_frames_count_at_the_targets_rate():
    # 121 frames at 24 fps span 120/24 = 5 s, in which 16 fps have 80 steps: 81 frames
    assert told(WAN, 1280, 720, 121, 24.0) == ("832x480_081f", 81, None)
    assert told(WAN, 1280, 720, 120, 24.0) == (None, 80, "too_short")
    assert told(WAN, 1280, 720, 241, 48.0) == ("832x480_081f", 81, None)


def test_a_longer_clip_goes_to_the_largest_count_of_the_stride():
    assert [largest_count(n, stride=4, max_frames=129) for n in (1, 4, 5, 8, 9, 500)] == [
        1,
        1,
        5,
        5,
        9,
        129,
    ]
    assert largest_count(104, stride=8, max_frames=257) == 97
    assert largest_count(90, stride=6, max_frames=85) == 85
    assert told(LTX, 1920, 1080, 104, 30.0) == ("1216x704_097f", 104, None)
    assert told(LTX, 1920, 1080, 105, 30.0) == ("1216x704_105f", 105, None)
    assert told(LTX, 1920, 1080, 96, 30.0) == (None, 96, "too_short")


def test_a_source_slower_than_the_target_is_not_stretched():
    assert told(WAN, 1280, 720, 200, 15.0) == (None, 200, "too_slow")
    assert told(WAN, 1280, 720, 81, 15.97) == ("832x480_081f", 81, None)  # 16 in whole milliseconds
    ntsc = told(MANY, 1280, 720, 129, 24000 / 1001)
    assert ntsc == ("1024x576_129f", 129, None)


def test_nothing_is_enlarged():
    assert told(WAN, 832, 480, 81, 16.0)[0] == "832x480_081f"
    assert told(WAN, 831, 480, 81, 16.0) == (None, 81, "too_small")
    assert told(WAN, 832, 479, 81, 16.0) == (None, 81, "too_small")
    assert told(MANY, 1000, 570, 9, 24.0)[0] == "336x192_009f"  # the largest that it fills


def test_a_shape_that_would_lose_too_much_of_the_picture_is_rejected():
    assert crop_pct(4 / 3, 16 / 9) == pytest.approx(25)
    assert crop_pct(16 / 9, 4 / 3) == pytest.approx(25)
    assert crop_pct(9 / 16, 16 / 9) == pytest.approx(100 * (1 - (9 / 16) ** 2))
    assert told(LTX, 1080, 1920, 200, 30.0) == (None, 200, "aspect")
    assert told(WAN, 1080, 1920, 200, 30.0)[0] == "480x832_081f"  # it has an upright size
    assert told(WAN, 1440, 1080, 200, 30.0)[0] == "832x480_081f"  # 4:3 loses 23 %
    assert told(WAN, 2000, 500, 200, 30.0) == (None, 107, "aspect")


def test_the_size_that_keeps_most_of_the_picture_is_taken():
    shapes = ((1280, 720), (1104, 832), (960, 960))
    # 4:3: 1280x720 would keep 75 % of 921,600 pixels, 1104x832 nearly all of 918,528
    found = best_size(shapes, width=1920, height=1440, max_crop_pct=30)
    assert (found.width, found.height) == (1104, 832)
    assert best_size(shapes, width=1920, height=1080, max_crop_pct=30)[:2] == (1280, 720)


def test_an_image_is_one_frame_of_any_rate():
    assert told(MANY, 1280, 720, 1, None) == ("1024x576_001f", 1, None)
    assert told(WAN, 1280, 720, 1, None) == (None, 1, "too_short")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"max_frames": 82}, r"\[82\] frames are not 4k\+1"),
        ({"min_frames": 85}, "above"),
        ({"fps": 0}, "expected both above 0"),
        ({"sizes": []}, "no sizes"),
        ({"sizes": ["480p"]}, "expected WIDTHxHEIGHT"),
        ({"sizes": ["854x480"]}, "no multiples of 16"),
    ],
)
def test_a_target_that_no_model_could_have_is_refused(change: dict[str, Any], sentence: str):
    good = {"name": "t", "fps": 16, "min_frames": 81, "max_frames": 81, "sizes": ["832x480"]}
    with pytest.raises(ValueError, match=sentence):
        Target(**good | change)


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.name)
def test_presets_parse_and_say_how_they_are_run(path: Path):
    assert path.read_text().startswith("# make targets ")
    parser = ArgumentParser()
    parser.add_argument("--config", action="config")
    parser.add_class_arguments(Targets, "targets")
    made = parser.instantiate(parser.parse_args(["--config", str(path)])).targets
    assert len(made.targets) >= 10
    # published counts, by the names they go under
    counts = {t.name: (t.fps, t.min_frames, t.max_frames, t.stride) for t in made.targets}
    assert counts["wan-2.1-720p"] == (16, 81, 81, 4)
    assert counts["hunyuan-video-720p"] == (24, 129, 129, 4)
    assert counts["mochi-1-fine-tune"] == (30, 25, 85, 6)


# -- over a dataset --------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Five clips: two that Wan takes, one too short, one too slow, one that never was one."""
    shape = {"width": 1280, "height": 720, "fps": 16.0, "start_s": 0.0}
    rows = [
        {"clip_id": "a", "num_frames": 81, "end_s": 81 / 16},
        {"clip_id": "b", "num_frames": 160, "end_s": 10.0},
        {"clip_id": "c", "num_frames": 45, "end_s": 45 / 16},
        {"clip_id": "d", "num_frames": 100, "end_s": 10.0, "fps": 10.0},
        {"clip_id": "e", "num_frames": 100, "end_s": 6.25, "error": "decode_failed: at 3"},
    ]
    clips = [dict.fromkeys(CLIPS.names) | shape | row for row in rows]
    url = storage.join(str(tmp_path), "tables", "clips", "u.parquet")
    storage.write_table(url, pa.Table.from_pylist(clips, schema=CLIPS))
    return str(tmp_path)


def test_every_clip_has_a_bucket_or_a_reason_for_every_target(
    data: str, capsys: pytest.CaptureFixture[str]
):
    stage = Targets([WAN, LTX])
    pipeline.run(stage, stage_of_targets.units(stage, data=data), data=data)
    table = dataset.require(data, "targets")
    verdicts = {
        (row["target"], row["clip_id"]): row["bucket"] or row["reject"] for row in table.to_pylist()
    }
    wan = [verdicts["wan", clip] for clip in "abcde"]
    assert wan == ["832x480_081f", "832x480_081f", "too_short", "too_slow", "decode_failed"]
    assert [verdicts["ltx", clip] for clip in "abcd"] == ["too_slow"] * 4
    capsys.readouterr()
    tell(data)
    said = " ".join(capsys.readouterr().out.split())
    assert "wan 2 of 4 clips, 15.1 s 832x480_081f 2 15.1 s" in said
    assert "too_short 1 45 frames at 16 fps, needs 81" in said
    assert "too_slow 1 10 frames a second, needs 16 fps" in said
    assert "ltx 0 of 4 clips" in said


def test_only_kept_clips_are_counted_once_there_is_a_verdict():
    clips = pa.table(
        {"clip_id": ["a", "b"], "start_s": [0.0, 0.0], "end_s": [36.0, 72.0], "fps": [16.0, 16.0]}
        | {"width": [1280, 1280], "height": [720, 720], "num_frames": [81, 81]}
        | {name: pa.nulls(2, pa.string()) for name in ("reject", "error")}
    )
    tables = {"clips": clips, "targets": stage_of_targets.judge(clips, WAN)}
    verdict = pa.table({"clip_id": ["a", "b"], "keep": [False, True]})
    (before,), (after,) = shares(tables), shares(tables | {"filter": verdict})
    assert (before.clips, before.of_clips, before.hours) == (2, 2, pytest.approx(0.03))
    assert (after.clips, after.of_clips, after.hours) == (1, 1, pytest.approx(0.02))


def test_without_targets_the_sentence_says_where_some_are(data: str):
    with pytest.raises(ValueError, match=r"configs/curation/targets/published\.yaml"):
        stage_of_targets.units(Targets(), data=data)
