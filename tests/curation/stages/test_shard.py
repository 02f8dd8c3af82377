"""Cutting small files made here: the route taken, and sources that are not what split read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.stages import sharding
from curation.stages.shard import Shard
from curation.stages.unit_source import window_of
from curation.video import DecodePass
from tests.curation.splitting import split_folder
from tests.videos import pan, write_video


def small(**knobs: Any) -> Shard:
    """A stage whose smallest bucket the pictures made here fill."""
    return Shard(**({"short_sides": (48, 96)} | knobs))


def clips_of(path: Path, stage: Shard | None = None, **columns: Any) -> list[dict[str, Any]]:
    """The clips of a file as `shard` is handed them; columns: measures to be told otherwise."""
    stage = stage or small()
    tables = split_folder(path, scan={"detector": "adaptive"})
    (video,) = tables["videos"]
    video["video_num_frames"] = video["num_frames"]
    clips = []
    for position, row in enumerate(tables["clips"]):
        known = {name: video.get(name) for name in sharding.UNIT_ROWS.names}
        known |= {name: row[name] for name in sharding.UNIT_ROWS.names if name in row}
        known |= columns | {"position": position, "standing": None}
        clips.append(known | {"bucket": stage.bucket(known), "cut_hash": stage.cut_hash(known)})
    return clips


def run(stage: Shard, clips: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """(rows of the shard table, clip_id -> media)."""
    (unit,) = sharding.units(stage, clips)
    tables = stage.run({"rows": unit.rows})
    media = {row["clip_id"]: row["bytes"] for row in tables["media"].to_pylist()}
    return tables["shard"].to_pylist(), media


def cut(clips: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return run(Shard(), clips)[0]


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Two shots in one group of pictures: one keyframe at the beginning, no B-frames."""
    frames = np.concatenate([pan(1, 30), pan(4, 30)])
    return write_video(
        tmp_path / "film.mp4", frames, options={"g": "999", "sc_threshold": "0", "bf": "0"}
    )


def test_a_clip_on_keyframes_is_copied_and_another_one_encoded(film: Path) -> None:
    rows = cut(clips_of(film))
    assert [row["route"] for row in rows] == ["copy", "encode"]
    assert rows[1]["route_reason"] == "no keyframe inside the clip can begin a stream"
    assert [row["frames_encoded"] for row in rows] == [0, 30]
    assert [row["num_frames"] for row in rows] == [30, 30]


def test_only_the_edges_are_encoded_where_keyframes_lie_elsewhere(tmp_path: Path) -> None:
    frames = np.concatenate([pan(1, 40), pan(4, 44)])
    path = write_video(
        tmp_path / "a.mp4", frames, options={"g": "12", "sc_threshold": "0", "bf": "0"}
    )
    rows, media = run(Shard(), clips_of(path))
    assert [(row["route"], row["route_reason"]) for row in rows] == [
        ("copy", None), ("smart", "cut not on closed keyframes"),
    ]  # fmt: skip
    assert rows[1]["frames_encoded"] == 8  # 40 to 48
    for row in rows:
        assert (row["proof"], row["frames_counted"]) == ("decode", row["num_frames"])
        assert max(row["first_frame_difference"], row["last_frame_difference"]) < 1
        assert len(media[row["clip_id"]]) == row["size_media"]


def test_modes_are_recorded_in_the_rows(film: Path) -> None:
    stage = small(mode="copy")
    rows, media = run(stage, clips_of(film, stage))
    assert [(row["route"], row["first_frame"]) for row in rows] == [("copy", 0), ("copy", 30)]
    assert rows[1]["frames_counted"] == 60
    stage = small(mode="encode", short_sides=(48,))
    rows, media = run(stage, clips_of(film, stage))
    for row in rows:
        assert (row["route"], row["width"], row["height"]) == ("encode", 80, 48)
        assert row["bucket"] == "48p_16x9_017f"
        decode = DecodePass(media[row["clip_id"]])
        assert len(list(decode)) == 30 and decode.display_size() == (80, 48)


def test_bars_are_cut_off_before_a_clip_is_given_a_bucket(film: Path) -> None:
    bars = {"border_left_pct": 20.0, "border_right_pct": 20.0}
    assert clips_of(film, small(short_sides=(48,)), **bars)[0]["bucket"] == "48p_16x9_017f"
    stage = small(mode="encode", short_sides=(48,), crop_borders=True)
    clips = clips_of(film, stage, **bars)
    assert [clip["bucket"] for clip in clips] == ["48p_1x1_017f"] * 2
    assert [(row["width"], row["height"]) for row in run(stage, clips)[0]] == [(48, 48)] * 2
    assert clips[0]["cut_hash"] != clips_of(film, stage)[0]["cut_hash"]  # other bars, other bytes


def test_what_decides_the_bytes_is_in_the_hash_and_what_does_not_is_not(film: Path) -> None:
    (clip, _) = clips_of(film)
    same = [small(), small(samples_per_shard=2), small(shard_mb=1), small(frame_counts=(5,))]
    other = [Shard(mode="copy"), Shard(mode="encode"), Shard(audio="keep")]
    assert len({stage.cut_hash(clip) for stage in same}) == 1
    assert len({stage.cut_hash(clip) for stage in [Shard(), *other]}) == 4


def test_knobs_that_contradict_each_other_are_refused() -> None:
    for knobs in ({"crop_borders": True}, {"tone_map": True, "mode": "copy"}):
        with pytest.raises(ValueError, match="expected shard.mode: encode"):
            Shard(**knobs)
    with pytest.raises(ValueError, match="expected shard.verify: decode"):
        Shard(residual_max=0.5, verify="packets")


def test_a_clip_that_still_holds_a_cut_is_rejected(tmp_path: Path) -> None:
    frames = np.concatenate([pan(1, 30), pan(4, 30)])
    path = write_video(tmp_path / "a.mp4", frames, options={"bf": "0"})
    first, second = clips_of(path)
    both = first | {name: second[name] for name in ("end_frame", "end_s", "last_luma")}
    both["num_frames"] = 60
    scores = [
        run(Shard(residual_max=1.0), [clip])[0][0]["residual_score_as_cut"]
        for clip in (both, first, second)
    ]
    assert scores[0] > max(scores[1:])
    stage = Shard(residual_max=(scores[0] + max(scores[1:])) / 2)
    (row,), media = run(stage, [both])
    assert (row["reject"], media) == ("residual_transition", {})
    rows, media = run(stage, [first, second])
    assert [row["reject"] for row in rows] == [None, None] and len(media) == 2


def test_clips_of_a_long_source_are_cut_from_between_its_division_points(tmp_path: Path) -> None:
    frames = np.concatenate([pan(1, 40), pan(4, 44), pan(6, 40)])
    path = write_video(tmp_path / "a.mp4", frames, options={"g": "12", "sc_threshold": "0"})
    whole = clips_of(path)
    points = [{"pts": 512 * n, "time_s": n / 24, "frame": n} for n in (24, 36, 96)]
    found = [clip | {"division_points": points} for clip in whole]
    assert window_of(found[1:2]).start_frame == 36
    assert window_of(found[1:2]).end_frame == 96
    for number in range(3):  # each alone, as if in a unit of its own
        expected, media = run(Shard(), [whole[number]])
        assert run(Shard(), [found[number]]) == (expected, media)


def test_a_clip_without_a_bucket_is_rejected_and_not_cut(film: Path) -> None:
    first, second = clips_of(film)
    rows = cut([first | {"bucket": None}, second])
    assert (rows[0]["reject"], rows[0]["route"]) == ("no_bucket", None)
    assert (rows[1]["reject"], rows[1]["route"]) == (None, "encode")


def test_a_source_that_changed_is_told_and_not_cut(tmp_path: Path, film: Path) -> None:
    from PIL import Image

    clips = clips_of(film)
    write_video(film, pan(2, 30))
    assert cut(clips)[0]["error"].startswith("source_changed: ")
    photo = tmp_path / "photo.png"
    Image.fromarray(pan(1, 1)[0]).save(photo)
    clips = clips_of(photo)
    photo.write_bytes(photo.read_bytes()[:-1] + b"x")  # as long as before, other bytes
    assert cut(clips)[0]["error"].startswith("source_changed: ")


def test_a_source_that_is_gone_is_told(film: Path) -> None:
    clips = clips_of(film)
    film.unlink()
    assert {row["error"].partition(":")[0] for row in cut(clips)} == {"vanished"}


def test_a_clip_that_stands_is_not_cut_again(film: Path) -> None:
    first, second = clips_of(film)
    done = cut([first, second])[0]
    film.unlink()
    assert cut([first | {"standing": done}])[0] == done
