"""Split on small files made here: shots, division, keyframes, refusals, duplicates."""

import os
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pytest

from curation.clip import clip_id
from curation.meters.cuts import OVERLAP, Transition
from curation.meters.shots import Piece, divide, shots_between
from curation.stages import scan
from curation.stages.inventory import identify, is_sidecar
from curation.stages.scan import Scan
from curation.stages.split import Split
from tests.curation.splitting import listing, scanned, split_folder
from tests.videos import pan, write_video


def test_shots_lie_between_transitions() -> None:
    found = shots_between([Transition(10, 10), Transition(20, 25)], num_frames=40)
    assert found == [
        Piece(0, 10, "edge", "cut"),
        Piece(10, 20, "cut", "gradual"),
        Piece(25, 40, "gradual", "edge"),
    ]
    assert shots_between([Transition(0, 9)], num_frames=9) == []
    assert shots_between([], num_frames=5) == [Piece(0, 5, "edge", "edge")]


def test_a_long_shot_is_divided_into_near_equal_pieces_at_frames() -> None:
    edges = np.arange(101) / 10  # 10 s at 10 fps
    pieces = divide(Piece(0, 100, "edge", "cut"), edges_s=edges, max_s=4)
    assert [(p.start, p.end) for p in pieces] == [(0, 33), (33, 67), (67, 100)]
    assert [p.transition_in for p in pieces] == ["edge", "division", "division"]
    assert [p.transition_out for p in pieces] == ["division", "division", "cut"]
    assert divide(Piece(0, 100, "edge", "cut"), edges_s=edges, max_s=10) == [
        Piece(0, 100, "edge", "cut")
    ]


def test_division_goes_by_time_where_the_rate_varies() -> None:
    edges = np.concatenate([np.arange(0, 50) * 0.1, 5 + np.arange(0, 11) * 0.5])  # 50 fast, 10 slow
    pieces = divide(Piece(0, 60, "edge", "edge"), edges_s=edges, max_s=5)
    assert [(p.start, p.end) for p in pieces] == [(0, 50), (50, 60)]
    slow = divide(Piece(50, 60, "edge", "edge"), edges_s=edges, max_s=0.2)
    assert [p.end - p.start for p in slow] == [1] * 10  # a frame longer than max_s is not divided


def test_shots_of_a_film_with_their_times_and_keyframes(tmp_path: Path) -> None:
    film = np.concatenate([pan(1, 30), pan(4, 48), pan(2, 20)])
    path = write_video(tmp_path / "film.mp4", film)
    tables = split_folder(tmp_path, max_s=1.5)
    (video,) = tables["videos"]
    assert (video["num_frames"], video["decoded_frames"]) == (98, 98)
    assert video["video_id"] == identify(str(path))[0]
    assert video["error"] is None and video["reject"] is None
    clips = tables["clips"]
    assert [(c["start_frame"], c["end_frame"]) for c in clips] == [
        (0, 30),
        (30, 54),
        (54, 78),
        (78, 98),
    ]
    assert [(c["transition_in"], c["transition_out"]) for c in clips] == [
        ("edge", "cut"), ("cut", "division"), ("division", "cut"), ("cut", "edge"),
    ]  # fmt: skip
    assert clips[1]["start_s"] == pytest.approx(30 / 24) and clips[1]["end_s"] == pytest.approx(
        54 / 24
    )
    assert clips[1]["fps"] == pytest.approx(24)
    assert clips[0]["clip_id"] == clip_id(video["video_id"], start_frame=0, end_frame=30)
    assert all(c["motion_width_pct_per_s"] > 5 and c["black_frames_pct"] == 0 for c in clips)
    for clip in clips:
        mine = [k for k in tables["keyframes"] if k["clip_id"] == clip["clip_id"]]
        assert 1 <= len(mine) <= 3
        assert all(clip["start_frame"] <= k["frame"] < clip["end_frame"] for k in mine)
        assert all(0 <= k["position"] <= 1 and k["jpeg"][:2] == b"\xff\xd8" for k in mine)


def test_a_shot_too_short_to_be_sampled_still_gets_a_picture(tmp_path: Path) -> None:
    film = np.concatenate([pan(1, 40), pan(4, 7), pan(2, 40)])
    write_video(tmp_path / "film.mp4", film)
    tables = split_folder(tmp_path)
    short = next(c for c in tables["clips"] if c["num_frames"] == 7)
    assert [k for k in tables["keyframes"] if k["clip_id"] == short["clip_id"]]
    assert tables["videos"][0]["decoded_frames"] <= 1.1 * 87


def test_an_image_is_a_clip_of_one_frame(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(pan(1, 1)[0]).save(tmp_path / "photo.png")
    tables = split_folder(tmp_path)
    (clip,) = tables["clips"]
    assert (clip["num_frames"], clip["fps"], clip["width"]) == (1, None, 160)
    assert tables["videos"][0]["is_image"] and len(tables["keyframes"]) == 1
    assert clip["motion_width_pct_per_s"] is None and clip["frozen_pct"] is None


def test_files_with_the_same_bytes_are_decoded_once(tmp_path: Path) -> None:
    path = write_video(tmp_path / "b.mp4", pan(1, 12))
    for name in ("a copy.mp4", "z.mov"):
        (tmp_path / name).write_bytes(path.read_bytes())
    tables = split_folder(tmp_path)
    fates = {Path(v["uri"]).name: v["reject"] for v in tables["videos"]}
    assert fates == {"a copy.mp4": None, "b.mp4": "duplicate_file", "z.mov": "duplicate_file"}
    assert len({v["video_id"] for v in tables["videos"]}) == 1
    assert len(tables["clips"]) == 1


def test_bad_files_keep_their_row_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "empty too.mp4").write_bytes(b"")
    (tmp_path / "page.mp4").write_text("<html>")
    (tmp_path / "notes.txt").write_text("nobody's sidecar")
    tables = split_folder(tmp_path)
    codes = {Path(v["uri"]).name: v["error"].split(":")[0] for v in tables["videos"]}
    assert codes == {
        "empty.mp4": "empty_file",
        "empty too.mp4": "empty_file",
        "page.mp4": "not_media",
        "notes.txt": "not_media",
    }
    assert tables["clips"] == []


def test_what_is_no_file_or_not_there_keeps_its_row(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "nothing")
    codes = {
        Path(v["uri"]).name: v["error"].split(":")[0] for v in split_folder(tmp_path)["videos"]
    }
    assert codes == {"pipe.mp4": "not_a_file", "link.mp4": "unreadable"}


def test_text_beside_a_video_is_its_sidecar(tmp_path: Path) -> None:
    write_video(tmp_path / "film.mp4", pan(1, 12))
    (tmp_path / "film.vtt").write_text("WEBVTT")
    fates = {Path(v["uri"]).name: v["reject"] for v in split_folder(tmp_path)["videos"]}
    assert fates == {"film.mp4": None, "film.vtt": "sidecar"}
    assert is_sidecar("s3://b/a.b.txt", stems={"s3://b/a.b"})
    assert not is_sidecar("s3://b/other/a.txt", stems={"s3://b/a"})


def test_a_source_longer_than_allowed_is_refused(tmp_path: Path) -> None:
    write_video(tmp_path / "film.mp4", pan(1, 48))
    (video,) = split_folder(tmp_path, scan={"max_source_s": 1.0})["videos"]
    assert video["error"] == "too_long: more than 1 s of footage"


def test_a_failed_unit_keeps_its_row(tmp_path: Path) -> None:
    write_video(tmp_path / "film.mp4", pan(1, 6))
    (unit,) = scan.units(Scan(), sources=listing(tmp_path))
    tables = Scan().failed({"rows": unit.rows}, error="decoder_crashed: twice")
    for split_tables in (Split().run(tables), Split().failed(tables, error="decoder_crashed: x")):
        assert split_tables["videos"]["error"][0].as_py().startswith("decoder_crashed")
        assert split_tables["clips"].num_rows == 0


def test_knobs_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="expected max_s > 0 and min_shot_frames >= 1"):
        Split(max_s=0)


def test_a_unit_is_named_by_what_it_reads(tmp_path: Path) -> None:
    write_video(tmp_path / "film.mp4", pan(1, 6))
    sources = listing(tmp_path)
    (first,) = scan.units(Scan(), sources=sources)
    (same,) = scan.units(Scan(), sources=sources)
    (other,) = scan.units(Scan(profile="fast"), sources=sources)
    assert first.key == same.key != other.key
    touched = sources.drop_columns("version").append_column("version", pa.array(["later"]))
    assert first.key != scan.units(Scan(), sources=touched)[0].key


@pytest.mark.parametrize(
    "options", [{"g": "12"}, {"g": "12", "x264-params": "open-gop=1:bframes=3"}]
)
def test_segments_give_what_one_pass_gives(tmp_path: Path, options: dict[str, str]) -> None:
    film = np.concatenate([pan(1, 130), pan(4, 95, step_px=1), pan(2, 175)])
    write_video(tmp_path / "film.mp4", film, options=options)
    whole = scanned(listing(tmp_path))
    sources = listing(tmp_path, divide_from_s=1, divide_every_s=2.5)
    parts = scanned(sources, segment_s=2.5)
    assert len(whole[0]["segments"]) == 1 and len(parts[0]["segments"]) > 3
    promised = parts[0]["segments"]["num_frames"].to_pylist()
    assert sum(promised) == 400
    one, joined = Split(max_s=3).run(whole[0]), Split(max_s=3).run(parts[0])
    assert joined["clips"].equals(one["clips"]) and one["clips"].num_rows == 7
    assert joined["keyframes"].equals(one["keyframes"])
    decoded = joined["videos"]["decoded_frames"][0].as_py()
    assert 400 < decoded < 400 + len(promised) * (OVERLAP + 1)
    same = [c for c in one["videos"].column_names if c != "decoded_frames"]
    assert joined["videos"].select(same).equals(one["videos"].select(same))


def test_other_thresholds_need_no_decoding(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.mp4", np.concatenate([pan(1, 40), pan(4, 40)]))
    (tables,) = scanned(listing(tmp_path))
    path.unlink()
    assert Split().run(tables)["clips"].num_rows == 2
    assert Split(cut_threshold=1.1).run(tables)["clips"].num_rows == 1


def test_a_frame_lost_to_damage_leaves_segments_what_it_leaves_one_pass(tmp_path: Path) -> None:
    film = np.concatenate([pan(1, 120), pan(4, 120, step_px=1)])
    path = write_video(tmp_path / "film.webm", film, codec="libvpx-vp9", options={"g": "12"})
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    lost = bytes(next(p for p in packets[64:] if not p.is_keyframe))
    at = data.index(lost)
    data[at : at + len(lost)] = b"\xff" * len(lost)
    path.write_bytes(data)
    (whole,) = scanned(listing(tmp_path))
    (parts,) = scanned(listing(tmp_path, divide_from_s=1, divide_every_s=2), segment_s=2)
    assert len(parts["segments"]) > 2
    one, joined = Split().run(whole), Split().run(parts)
    assert one["videos"]["num_frames"][0].as_py() == 239
    assert joined["videos"]["num_frames"].equals(one["videos"]["num_frames"])
    assert joined["clips"].equals(one["clips"]) and one["clips"].num_rows
    assert joined["keyframes"].equals(one["keyframes"])
