"""Triage on videos made here: what is rejected, what is not, and that frames keep their numbers."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest

from curation import storage
from curation.meters.copies import Looks, find_copies
from curation.meters.focus import focus
from curation.meters.glance import text_pct
from curation.meters.packets import is_due
from curation.stage import Tables
from curation.stages import look, scan
from curation.stages.filter import Rule
from curation.stages.look import Look
from curation.stages.scan import Scan
from curation.stages.segments import segments
from curation.stages.split import UNIT_ROWS, Split
from curation.stages.triage import Triage
from curation.stages.verdict import Verdict, rejected_rows
from curation.video.keys import Key, KeyPass
from tests.curation.splitting import listing, split_folder
from tests.videos import pan, texture, write_video

RULES = [
    Rule("black", "dark_pct", max=99.5),
    Rule("blurred", "focus", min=0.15),
    Rule("text", "text_pct", max=12),
    Rule("still", "still_s", max=5),
    Rule("duplicate", "duplicate_pictures", max=3),
]
CUTS: dict[str, Any] = {"detector": "adaptive"}
HEIGHT, WIDTH = 180, 320


def looked(sources: pa.Table, **knobs) -> Tables:
    stage = Look(**knobs)
    found = [stage.run({"rows": unit.rows}) for unit in look.units(stage, sources=sources)]
    return {table: pa.concat_tables(t[table] for t in found) for table in stage.writes}


def triaged(folder: Path, *, rules: list[Rule] = RULES, every_s: float = 1.0, **knobs):
    """(rows of triage by file name, table -> rows of what split makes of the rest)."""
    sources = listing(folder)
    first = looked(sources, every_s=every_s)
    judged = Triage(rules=rules, **knobs).run(first)["triage"].to_pylist()
    verdicts = {row["uri"]: Verdict(row, []) for row in judged if row["rejected_frames"]}
    stage = Scan(**CUTS)
    of_source: dict[str, list[Tables]] = {}
    for unit in scan.units(stage, sources=sources, verdicts=verdicts):
        assert unit.rows is not None
        uri = unit.rows["uri"][0].as_py()
        of_source.setdefault(uri, []).append(stage.run({"rows": unit.rows}))
    found: dict[str, list[dict]] = {"videos": [], "clips": [], "keyframes": []}
    for uri, parts in of_source.items():
        tables = {name: pa.concat_tables(p[name] for p in parts) for name in stage.writes}
        triage = verdicts[uri].row if uri in verdicts else None
        tables["rows"] = pa.Table.from_pylist([{"uri": uri, "triage": triage}], UNIT_ROWS)
        tables["look_pictures"] = first["look_pictures"]
        for name, table in Split(max_s=100).run(tables).items():
            found[name] += table.to_pylist()
    return {Path(row["uri"]).name: row for row in judged}, found


def good(seed: int, seconds: float) -> np.ndarray:
    return pan(seed, round(24 * seconds), height=HEIGHT, width=WIDTH)


def black(seconds: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 6, (round(24 * seconds), HEIGHT, WIDTH, 3), np.uint8)


def blurred(seed: int, seconds: float) -> np.ndarray:
    return np.stack([cv2.GaussianBlur(frame, (0, 0), 10) for frame in good(seed, seconds)])


def card(seconds: float) -> np.ndarray:
    image = np.full((HEIGHT, WIDTH, 3), 240, np.uint8)
    for i in range(6):
        words = "the brown fox jumps over dogs"[i:]
        cv2.putText(image, words, (8, 28 + 25 * i), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (20, 20, 20), 2)
    return np.stack([image] * round(24 * seconds))


def ids(tables: dict, *, kept: bool = True) -> set[str]:
    return {c["clip_id"] for c in tables["clips"] if (c["reject"] is None) == kept}


CODECS = [
    ("libx264", "mp4", {"g": "48"}),
    ("libx264", "mp4", {"g": "48", "x264-params": "open-gop=1:bframes=3"}),
    ("libvpx-vp9", "webm", {"g": "48", "deadline": "good", "cpu-used": "5", "crf": "32", "b": "0"}),
    ("libx265", "mp4", {"preset": "superfast", "x265-params": "keyint=48:log-level=error"}),
]


@pytest.mark.parametrize(("codec", "suffix", "options"), CODECS)
def test_what_is_left_keeps_its_numbers(tmp_path: Path, codec, suffix, options) -> None:
    film = np.concatenate([black(8), good(1, 4), blurred(2, 8), good(3, 4), card(8), good(4, 4)])
    write_video(tmp_path / f"film.{suffix}", film, codec=codec, options=options)
    rows, tables = triaged(tmp_path)
    (row,) = rows.values()
    assert row["untriaged"] is None and row["reject"] is None
    reasons = [s["reject"] for s in row["stretches"] if s["reject"]]
    assert [r for i, r in enumerate(reasons) if r not in reasons[:i]] == [
        "triage_black", "triage_blurred", "triage_text",
    ]  # fmt: skip
    whole = split_folder(tmp_path, scan=CUTS, max_s=100)
    by_frame = {c["start_frame"]: c for c in whole["clips"]}
    for start in (192, 480, 768):  # the three good shots, by construction
        assert by_frame[start]["clip_id"] in ids(tables)
        (mine,) = [c for c in tables["clips"] if c["start_frame"] == start]
        same = ("start_s", "end_s", "fps", "num_frames", "luma_mean_pct", "frozen_pct")
        assert [mine[name] for name in same] == [by_frame[start][name] for name in same]
        assert mine["first_luma"] == by_frame[start]["first_luma"]
    (video,) = tables["videos"]
    assert video["num_frames"] == len(film) == whole["videos"][0]["num_frames"]
    assert video["decoded_frames"] < 0.75 * len(film)
    assert video["fps"] == pytest.approx(24, rel=1e-3) and not video["is_vfr"]
    assert video["duration_s"] == pytest.approx(whole["videos"][0]["duration_s"], abs=1e-3)


def test_every_frame_is_in_a_clip_or_in_a_rejected_stretch(tmp_path: Path) -> None:
    write_video(tmp_path / "film.mp4", np.concatenate([black(8), good(1, 4), black(8)]))
    _, tables = triaged(tmp_path)
    clips = sorted(tables["clips"], key=lambda c: c["start_frame"])
    assert [c["start_frame"] for c in clips[1:]] == [c["end_frame"] for c in clips[:-1]]
    assert (clips[0]["start_frame"], clips[-1]["end_frame"]) == (0, 480)
    lost = [c for c in clips if c["reject"]]
    assert {c["reject"] for c in lost} == {"triage_black"}
    assert all(c["luma_mean_pct"] is None and c["fps"] is None for c in lost)
    assert (lost[0]["transition_in"], lost[0]["transition_out"]) == ("edge", "triage")
    for clip in lost:  # and someone can look at what was not decoded
        mine = [k for k in tables["keyframes"] if k["clip_id"] == clip["clip_id"]]
        assert mine and all(k["jpeg"][:2] == b"\xff\xd8" for k in mine)
        assert all(clip["start_s"] <= k["time_s"] < clip["end_s"] for k in mine)


def test_a_source_of_which_nothing_is_left_is_rejected_whole(tmp_path: Path) -> None:
    write_video(tmp_path / "black.mp4", black(12))
    write_video(tmp_path / "good.mp4", good(1, 3))
    rows, tables = triaged(tmp_path)
    assert rows["black.mp4"]["reject"] == "triage_black" and rows["good.mp4"]["reject"] is None
    videos = {Path(v["uri"]).name: v for v in tables["videos"]}
    assert videos["black.mp4"]["reject"] == "triage_black"
    assert videos["black.mp4"]["decoded_frames"] == 0
    assert (videos["black.mp4"]["num_frames"], videos["black.mp4"]["width"]) == (288, WIDTH)
    lost = [c for c in tables["clips"] if c["reject"]]
    assert [(c["start_frame"], c["end_frame"]) for c in lost] == [(0, 288)]
    assert videos["good.mp4"]["reject"] is None and len(ids(tables)) == 1


def test_a_shot_hidden_between_black_keyframes_is_kept(tmp_path: Path) -> None:
    options = {"g": "96", "sc_threshold": "0"}
    film = np.concatenate([black(5), good(1, 2), black(9)])  # keyframes at 0, 4, 8 and 12 s
    write_video(tmp_path / "film.mp4", film, options=options)
    _, tables = triaged(tmp_path)
    whole = split_folder(tmp_path, scan=CUTS, max_s=100)
    (shot,) = [c for c in whole["clips"] if c["start_frame"] == 120]
    assert shot["clip_id"] in ids(tables)
    assert ids(tables, kept=False)


def test_one_group_of_pictures_is_kept_whole_or_not_at_all(tmp_path: Path) -> None:
    options = {"g": "9999", "sc_threshold": "0"}
    write_video(tmp_path / "mixed.mp4", np.concatenate([black(8), good(1, 4)]), options=options)
    write_video(tmp_path / "still.mp4", card(16), options=options)
    rows, _ = triaged(tmp_path)
    assert rows["mixed.mp4"]["rejected_frames"] == 0
    assert rows["still.mp4"]["reject"] == "triage_text"


def test_containers_without_an_index_lose_nothing(tmp_path: Path) -> None:
    film = np.concatenate([black(8), good(1, 4), black(8)])
    write_video(tmp_path / "film.ts", film, options={"g": "48"})
    rows, tables = triaged(tmp_path)
    assert rows["film.ts"]["rejected_frames"] > 0 and tables["videos"][0]["error"] is None
    assert [(c["start_frame"], c["end_frame"]) for c in tables["clips"] if not c["reject"]] == [
        (192, 288)
    ]


def test_one_slide_may_follow_another_between_keyframes(tmp_path: Path) -> None:
    options = {"g": "96", "sc_threshold": "0"}  # keyframes at 0, 4 and 8 s
    film = np.concatenate([card(3), 255 - card(4), card(4)])
    write_video(tmp_path / "slides.mp4", film, options=options)
    write_video(tmp_path / "shot.mp4", np.concatenate([card(5), good(1, 2), card(4)]))
    rows, tables = triaged(tmp_path)
    assert rows["slides.mp4"]["reject"] == "triage_text"
    (shot,) = [c for c in tables["clips"] if c["start_frame"] == 120]
    assert shot["num_frames"] == 48 and shot["reject"] is None


@pytest.mark.parametrize(("black_s", "begins_s"), [(8.5, 4.0), (10.5, 8.0)])
def test_a_cut_near_the_beginning_of_a_kept_stretch_is_seen(
    tmp_path: Path, black_s: float, begins_s: float
) -> None:
    options = {"g": "96", "sc_threshold": "0"}  # keyframes at 0, 4, 8, 12 and 16 s
    write_video(
        tmp_path / "film.mp4", np.concatenate([black(black_s), good(1, 8)]), options=options
    )
    (row,) = triaged(tmp_path)[0].values()
    assert [s["reject"] for s in row["stretches"]] == ["triage_black", None]
    assert row["stretches"][1]["start_s"] == pytest.approx(begins_s)


def test_keyframes_are_due_after_the_longest_distance() -> None:
    keys = KeyPass("no file", every_s=0)
    at = [0, 10, 20, 25, 35]
    keys.is_key = [i in at for i in range(40)]
    looks = [Key(packet, packet, float(packet), None) for packet in (0, 20, 25, 35)]
    assert is_due(keys, looks) == [True, False, True, False]
    keys.is_key = [i in (0, 30) for i in range(40)]  # one distance: is it the encoder's?
    assert is_due(keys, [looks[0], Key(30, 30, 30.0, None)]) == [False, False]


def test_looks_too_far_apart_do_not_speak_for_what_lies_between(tmp_path: Path) -> None:
    options = {"g": "120", "sc_threshold": "0"}
    write_video(tmp_path / "film.mp4", blurred(1, 15), options=options)
    assert triaged(tmp_path)[0]["film.mp4"]["reject"] == "triage_blurred"
    assert triaged(tmp_path, max_gap_s=4.0)[0]["film.mp4"]["rejected_frames"] == 0


def test_a_cameras_noise_between_near_looks_hides_no_shot(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    noisy = np.clip(blurred(1, 8).astype(int) + rng.normal(0, 3, (192, 180, 320, 1)), 0, 255)
    options = {"g": "24", "sc_threshold": "0", "b": "3M", "maxrate": "3M", "bufsize": "3M"}
    write_video(tmp_path / "film.mp4", noisy.astype(np.uint8), options=options)
    assert triaged(tmp_path)[0]["film.mp4"]["reject"] == "triage_blurred"
    assert triaged(tmp_path, unseen_s=0.5)[0]["film.mp4"]["rejected_frames"] == 0


def test_a_still_scene_is_told_from_a_small_thing_that_moves_in_a_cameras_noise(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(1)
    scene = good(1, 8)[:1].astype(int).repeat(192, axis=0)
    options = {"g": "24", "sc_threshold": "0", "b": "3M", "maxrate": "3M", "bufsize": "3M"}
    for name, step in (("still.mp4", 0), ("moving.mp4", 1)):
        film = scene.copy()
        for t in range(192):  # a twelfth of the width and of the height
            film[t, 60:75, 20 + step * t : 46 + step * t] = 240
        noisy = film + rng.normal(0, 2, (192, 180, 320, 1))
        noisy = np.clip(noisy, 0, 255).astype(np.uint8)
        write_video(tmp_path / name, noisy, options=options)
    found, _ = triaged(tmp_path)
    assert found["still.mp4"]["reject"] == "triage_still"
    assert found["moving.mp4"]["rejected_frames"] == 0


def test_other_thresholds_need_no_decoding(tmp_path: Path) -> None:
    film = np.concatenate([blurred(1, 8), good(2, 4)])
    path = write_video(tmp_path / "film.mp4", film, options={"g": "48"})
    first = looked(listing(tmp_path), every_s=1.0)
    path.unlink()
    (strict,) = Triage(rules=RULES).run(first)["triage"].to_pylist()
    lenient_rules = [Rule("blurred", "focus", min=0.01)]
    (lenient,) = Triage(rules=lenient_rules).run(first)["triage"].to_pylist()
    assert strict["rejected_frames"] > 0 == lenient["rejected_frames"]


def test_a_copy_of_another_source_is_rejected_and_the_larger_one_kept(tmp_path: Path) -> None:
    film = np.concatenate([good(seed, 3) for seed in range(1, 7)])
    small = np.stack([cv2.resize(f, (240, 136), interpolation=cv2.INTER_AREA) for f in film])
    write_video(tmp_path / "film.mp4", film, options={"g": "250"})
    write_video(tmp_path / "a copy.mp4", small, options={"g": "250", "crf": "30"})
    write_video(tmp_path / "other.mp4", np.concatenate([good(s, 3) for s in range(7, 13)]))
    rows, _ = triaged(tmp_path)
    assert rows["a copy.mp4"]["reject"] == "triage_duplicate"
    assert rows["a copy.mp4"]["duplicate_of"] == rows["film.mp4"]["video_id"]
    assert rows["film.mp4"]["rejected_frames"] == rows["other.mp4"]["rejected_frames"] == 0


def test_one_scene_seen_by_two_recordings_is_no_copy() -> None:
    scene = np.uint64(0x5A5A_F0F0_1234_9876)
    times = np.arange(10.0)
    takes = [Looks(times, np.full(10, scene), np.full(10, 40.0)) for _ in range(2)]
    for pictures, _ in find_copies(takes):
        assert pictures.max() <= 1
    rng = np.random.default_rng(0)
    film = rng.integers(0, 2**63, 10).astype(np.uint64)
    later = Looks(times + 5.03, film ^ np.uint64(0b1011), np.full(10, 40.0))  # moved and re-encoded
    found = find_copies([Looks(times, film, np.full(10, 40.0)), later])
    assert found[0][0].max() == 0 and (found[1][0] == 10).all() and (found[1][1] == 0).all()


def test_untold_frames_pass_on_untriaged(tmp_path: Path, footage: Path) -> None:
    for name in ("stream-of-water.webm", "bad/bitflips_300.mp4", "bad/html_error_page.mp4"):
        (tmp_path / Path(name).name).write_bytes((footage / name).read_bytes())
    rows, tables = triaged(tmp_path)
    assert rows["stream-of-water.webm"]["untriaged"].endswith("(packets that show nothing)")
    assert rows["html_error_page.mp4"]["untriaged"].startswith("not_media: ")
    whole = split_folder(tmp_path, scan=CUTS, max_s=100)
    same = ("uri", "num_frames", "reject", "error")
    assert [[v[n] for n in same] for v in tables["videos"]] == [
        [v[n] for n in same] for v in whole["videos"]
    ]
    assert ids(tables) == ids(whole)


def test_bad_files_end_as_they_do_without_triage(footage: Path) -> None:
    sources = listing(footage / "bad")
    for row in looked(sources)["first_look"].to_pylist():
        with storage.open_source(row["uri"]) as source:
            try:
                scan.scan(source, knobs=Scan(**CUTS))
            except Exception as error:
                assert row["untriaged"], (row["uri"], error)


def test_a_failed_look_passes_the_source_on(tmp_path: Path) -> None:
    write_video(tmp_path / "film.mp4", good(1, 1))
    (unit,) = look.units(Look(), sources=listing(tmp_path))
    tables = Look().failed({"rows": unit.rows}, error="decoder_crashed: twice")
    assert tables["first_look"]["untriaged"].to_pylist() == ["decoder_crashed: twice"]
    (row,) = Triage(rules=RULES).run(tables)["triage"].to_pylist()
    assert row["untriaged"] and row["rejected_frames"] == 0 and row["reject"] is None


def test_segments_lie_inside_what_is_left() -> None:
    points = [{"pts": 100 * i, "time_s": 10.0 * i, "frame": 240 * i} for i in range(1, 10)]
    run = {"start_pts": 200, "end_pts": 700, "start_frame": 480, "end_frame": 1680, "start_s": 20.0}
    found = segments(points, runs=[run], every_s=15)
    assert [(s["start_pts"], s["end_pts"]) for s in found] == [(200, 400), (400, 600), (600, 700)]
    assert [(s["start_frame"], s["end_frame"]) for s in found] == [
        (480, 960), (960, 1440), (1440, 1680),
    ]  # fmt: skip
    assert [s["starts_run"] for s in found] == [True, False, False]


def test_words_about_rules() -> None:
    with pytest.raises(ValueError, match="looks have no column 'darkness'"):
        Triage(rules=[Rule("black", "darkness", max=1)])
    with pytest.raises(ValueError, match="has no rules"):
        Triage(enabled=True)


def test_focus_and_text_tell_what_they_should() -> None:
    image = texture(1, height=72, width=128)[..., 0]
    fine = cv2.resize(texture(2, height=300, width=300)[..., 0], (128, 72))
    blurred_one, one = focus(cv2.GaussianBlur(fine, (0, 0), 3)), focus(fine)
    assert blurred_one and one and blurred_one < 0.15 < 0.3 < one
    assert focus(np.full((72, 128), 9, np.uint8)) is None
    assert text_pct(cv2.cvtColor(card(0.1)[0], cv2.COLOR_RGB2GRAY)) > 20
    assert text_pct(cv2.resize(image, (512, 288))) < 1
    reef = np.full((288, 512), 110, np.uint8)  # a rock of speckles before plain water
    reef[230:] = cv2.resize(texture(5, height=174, width=1536)[..., 0], (512, 58))
    assert text_pct(reef) < 1


def test_rejected_rows_tell_edges_from_triage() -> None:
    stretch = {"start_pts": None, "end_pts": None, "start_s": 0.0, "end_s": 1.0}
    row: dict[str, Any] = {"width": 2, "height": 2, "num_frames": 24}
    row["stretches"] = [stretch | {"start_frame": 0, "end_frame": 24, "reject": "triage_black"}]
    (clip,) = rejected_rows({"video_id": "v", "uri": "u"}, row)
    assert (clip["transition_in"], clip["transition_out"], clip["num_frames"]) == ("edge",) * 2 + (
        24,
    )
