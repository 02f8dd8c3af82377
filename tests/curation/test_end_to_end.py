"""From raw files to shards that others' readers read: nothing lost, nothing done twice."""

import io
import json
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest

from curation import storage
from tests.curation.footage_made import (
    BROKEN,
    GARDEN,
    GARDEN_TEXT,
    LONG,
    OLD,
    ROOT,
    SIDECAR,
    STILL,
    TWIN,
    TWO,
    Job,
    assert_same,
    contents,
    record,
    reference,
    rows,
    run_alone,
    run_here,
    stamps,
)

STAGES = (
    "inventory", "split", "aesthetics", "dedup", "filter", "caption", "shard", "pack",
)  # fmt: skip

DEMO = ["--config", str(ROOT / "configs/curation/demo.yaml"), "--data"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Job:
    return reference(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def index(made: Job) -> list[dict]:
    return storage.read_table(f"{made.data}/shards/index.parquet").to_pylist()


def by_name(made: Job) -> dict[str, dict]:
    return {
        str(Path(row["uri"]).relative_to(made.footage)): row for row in rows(made.data, "videos")
    }


def member(data: str, row: dict, kind: str) -> bytes:
    """A sample's file, by the index alone."""
    offset, size = row[f"offset_{kind}"], row[f"size_{kind}"]
    return storage.read_bytes(f"{data}/shards/{row['shard']}", offset=offset, size=size)


def test_every_file_has_one_row_and_a_verdict(made: Job) -> None:
    videos = by_name(made)
    assert sorted(videos) == sorted([TWO, TWIN, BROKEN, STILL, GARDEN, GARDEN_TEXT, LONG, OLD])
    assert {name: row["reject"] for name, row in videos.items() if row["reject"]} == {
        TWIN: "duplicate_file",
        GARDEN_TEXT: "sidecar",
    }
    failed = {name: row["error"].split(":")[0] for name, row in videos.items() if row["error"]}
    assert failed == {BROKEN: "not_media"}
    frames = {name: row["num_frames"] for name, row in videos.items() if row["num_frames"]}
    assert frames == {TWO: 72, GARDEN: 100, LONG: 100, OLD: 30, STILL: 1}


def test_the_shots_are_those_that_were_made(made: Job) -> None:
    videos = by_name(made)
    clips = sorted(rows(made.data, "clips"), key=lambda row: row["start_frame"])
    found = {
        name: [
            (row["start_frame"], row["end_frame"], row["transition_out"])
            for row in clips
            if row["uri"] == videos[name]["uri"]
        ]
        for name in videos
    }
    assert found[TWO] == [(0, 36, "cut"), (36, 72, "edge")]
    assert found[GARDEN] == [
        (0, 30, "cut"), (30, 60, "cut"), (60, 80, "division"), (80, 100, "edge"),
    ]  # fmt: skip
    assert found[LONG] == [(0, 33, "division"), (33, 67, "division"), (67, 100, "edge")]
    assert found[OLD] == [(0, 15, "division"), (15, 30, "edge")]
    assert found[STILL] == [(0, 1, "edge")]
    assert found[TWIN] == found[BROKEN] == found[GARDEN_TEXT] == []


def test_no_row_is_lost_between_two_tables(made: Job, index: list[dict]) -> None:
    for stage in STAGES:
        counts = record(made.data, stage)["counts"]
        assert counts["rows"] == counts["kept"] + counts["rejected"] + counts["failed"], stage
    clips = sorted(row["clip_id"] for row in rows(made.data, "clips"))
    assert len(set(clips)) == len(clips) == 12
    for table in ("aesthetics", "dedup", "filter"):
        assert sorted(row["clip_id"] for row in rows(made.data, table)) == clips, table
    verdicts = rows(made.data, "filter")
    assert [row["reject"] for row in verdicts if not row["keep"]] == ["black"]
    kept = sorted(row["clip_id"] for row in verdicts if row["keep"])
    for table in ("captions", "shard"):
        assert sorted(row["clip_id"] for row in rows(made.data, table)) == kept, table
    cut = [row for row in rows(made.data, "shard") if not row["reject"] and not row["error"]]
    assert sorted(row["key"] for row in index) == sorted(row["clip_id"] for row in cut) == kept
    copies = {row["file_copies"] for row in rows(made.data, "dedup")}
    assert copies == {1, 2}  # 2: the clips of the file that lies there twice


def test_what_can_be_copied_is_copied(made: Job) -> None:
    route = {row["clip_id"]: row["route"] for row in rows(made.data, "shard")}
    routes: dict[str, list[str]] = {}
    for row in sorted(rows(made.data, "clips"), key=lambda row: row["start_frame"]):
        name = Path(row["uri"]).relative_to(made.footage).as_posix()
        routes.setdefault(name, []).append(route.get(row["clip_id"], "none"))
    assert routes[TWO] == ["copy", "copy"]
    assert routes[LONG][1:] == ["encode", "encode"]  # divided where no key frame is
    assert routes[STILL] == ["bytes"]
    assert routes[GARDEN][1] == "none"  # the black shot


def test_the_plain_webdataset_library_reads_every_shard(made: Job, index: list[dict]) -> None:
    import webdataset

    shards = sorted({row["shard"] for row in index})
    assert sorted(Path(made.data, "shards").rglob("*.tar")) == [
        Path(made.data, "shards", name) for name in shards
    ]
    seen = {}
    for name in shards:
        url = str(Path(made.data, "shards", name))
        for sample in webdataset.WebDataset(url, shardshuffle=False):
            seen[sample["__key__"]] = name, {k for k in sample if not k.startswith("__")}
    assert seen == {row["key"]: (row["shard"], {row["media"], "json", "txt"}) for row in index}


def test_decord_pyav_and_opencv_see_the_frames_of_the_index(
    made: Job, index: list[dict], tmp_path: Path
) -> None:
    videos = [row for row in index if row["media"] == "mp4"]
    assert len(videos) == 10
    for row in videos:
        assert row["first_frame"] == 0
        shape = row["num_frames"], row["height"], row["width"]
        assert shapes_decoded(member(made.data, row, "media"), tmp_path) == [shape] * 3, row


def shapes_decoded(media: bytes, folder: Path) -> list[tuple[int, ...]]:
    """(frames, height, width) as PyAV, decord and OpenCV decode them."""
    import av
    import cv2
    import decord

    path = folder / "clip.mp4"
    path.write_bytes(media)
    with av.open(str(path)) as container:
        by_av = [(frame.height, frame.width) for frame in container.decode(video=0)]
    reader = decord.VideoReader(str(path), num_threads=1)
    by_decord = [reader.next().shape[:2] for _ in range(len(reader))]
    capture, by_cv2 = cv2.VideoCapture(str(path)), []
    while (frame := capture.read()[1]) is not None:
        by_cv2.append(frame.shape[:2])
    for shapes in (by_av, by_decord, by_cv2):
        assert len(set(shapes)) == 1
    return [(len(shapes), *shapes[0]) for shapes in (by_av, by_decord, by_cv2)]


def test_the_index_points_at_the_members_of_the_tars(made: Job, index: list[dict]) -> None:
    for row in index:
        with tarfile.open(Path(made.data, "shards", row["shard"])) as tar:
            names = tar.getnames()
            for kind, suffix in (("media", row["media"]), ("json", "json"), ("txt", "txt")):
                file = tar.extractfile(f"{row['key']}.{suffix}")
                assert file is not None and file.read() == member(made.data, row, kind)
            # nothing of the machine or the moment
            assert {(m.mtime, m.uid, m.gid, m.uname) for m in tar} == {(0, 0, 0, "")}
        assert len(names) <= 2 * 3  # samples_per_shard: 2


def test_a_sample_says_where_it_is_from(made: Job, index: list[dict]) -> None:
    clips = {row["clip_id"]: row for row in rows(made.data, "clips")}
    captions = {row["clip_id"]: row for row in rows(made.data, "captions")}
    for row in index:
        clip, caption = clips[row["key"]], captions[row["key"]]
        sample = json.loads(member(made.data, row, "json"))
        for name in ("clip_id", "video_id", "start_frame", "end_frame", "start_s", "end_s"):
            assert sample[name] == clip[name]
        assert sample["num_frames"] == row["num_frames"] == clip["num_frames"]
        assert sample["scores"]["luma_mean_pct"] == pytest.approx(clip["luma_mean_pct"])
        text = member(made.data, row, "txt").decode()
        assert text == caption["caption"] and len(text) == row["caption_chars"] > 0
        source = sample["caption_source"]
        assert sample["captions"] == {{"sidecar": "original"}.get(source, source): text}


def test_captions_name_their_source(made: Job) -> None:
    clips = {row["clip_id"]: row for row in rows(made.data, "clips")}
    for row in rows(made.data, "captions"):
        is_garden = clips[row["clip_id"]]["uri"] == str(Path(made.footage, GARDEN))
        assert row["caption_source"] == ("sidecar" if is_garden else "measured")
        assert (row["caption"] == SIDECAR) == is_garden


def test_an_image_keeps_its_own_bytes(made: Job, index: list[dict]) -> None:
    (image,) = [row for row in index if row["media"] == "jpg"]
    assert member(made.data, image, "media") == Path(made.footage, STILL).read_bytes()
    assert (image["num_frames"], image["height"], image["width"]) == (1, 96, 128)


def test_a_copied_clip_shows_the_frames_of_its_source(made: Job, index: list[dict]) -> None:
    import av

    uri = str(Path(made.footage, TWO))
    with av.open(uri) as container:
        source = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    clips = {row["clip_id"]: row for row in rows(made.data, "clips")}
    samples = [row for row in index if clips[row["key"]]["uri"] == uri]
    assert len(samples) == 2
    for row in samples:
        with av.open(io.BytesIO(member(made.data, row, "media"))) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        start = clips[row["key"]]["start_frame"]
        assert np.array_equal(frames, source[start : start + row["num_frames"]])


def test_the_same_commands_again_do_nothing(made: Job) -> None:
    before, files = contents(made.data), stamps(made.data)
    run_here(*made.commands())
    for stage in STAGES:
        counts = record(made.data, stage)["counts"]
        assert counts["units_done_before"] == counts["units"], stage
    assert contents(made.data) == before
    written = {name for name, stamp in stamps(made.data).items() if stamp != files[name]}
    assert written <= {"shards/index.parquet"}


def test_one_worker_gives_the_bytes_of_two(made: Job, tmp_path: Path) -> None:
    job = Job(made.footage, str(tmp_path / "data"), made.configs)
    first, caption, shard = job.commands()
    run_alone([*first, "--workers", "1"], log=tmp_path / "log")
    run_here(caption)
    run_alone([*shard, "--workers", "1"], log=tmp_path / "log")
    assert_same(job.data, made.data)


@pytest.fixture(scope="module")
def real(footage: Path, tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> str:
    """Data of the shared footage, good and bad, as far as the verdicts of the demo's config."""
    data = str(tmp_path_factory.mktemp("real") / "data")
    run_here(["curation", "split", "dedup", "filter", "--footage", str(footage), *DEMO, data])
    return data


def test_real_footage_is_accounted_for_to_the_last_file(real: str, footage: Path) -> None:
    videos = rows(real, "videos")
    files = [path for path in footage.rglob("*") if path.is_file() and path.name[0] != "."]
    assert sorted(row["uri"] for row in videos) == sorted(map(str, files))
    for row in videos:
        if row["error"]:
            assert re.fullmatch(r"[a-z_]+: .+", row["error"]), row
        elif not row["reject"]:
            assert row["num_frames"] > 0, row
    counts = record(real, "split")["counts"]
    assert counts["rows"] == counts["kept"] + counts["rejected"] + counts["failed"] == len(files)
    assert counts["kept"] > 0 and counts["failed"] > 0


def test_every_clip_of_real_footage_has_a_verdict(real: str) -> None:
    clips = sorted(row["clip_id"] for row in rows(real, "clips"))
    assert len(set(clips)) == len(clips) > 0
    verdicts = rows(real, "filter")
    assert sorted(row["clip_id"] for row in verdicts) == clips
    assert all(row["keep"] == (row["reject"] is None) for row in verdicts)


def test_real_footage_is_decoded_once(real: str) -> None:
    decoded, source = (
        sum(row[name] or 0 for row in rows(real, "videos"))
        for name in ("decoded_frames", "num_frames")
    )
    assert 1 <= decoded / source <= 1.1


@pytest.mark.slow
def test_all_readers_see_the_frames_of_real_clips(real: str, tmp_path: Path) -> None:
    run_here(["curation", "shard", *DEMO, real])
    kept = sorted(row["clip_id"] for row in rows(real, "filter") if row["keep"])
    assert sorted(row["clip_id"] for row in rows(real, "shard")) == kept
    index = storage.read_table(f"{real}/shards/index.parquet").to_pylist()
    videos = [row for row in index if row["media"] == "mp4"]
    assert videos
    for row in videos:
        shape = row["num_frames"], row["height"], row["width"]
        assert shapes_decoded(member(real, row, "media"), tmp_path) == [shape] * 3, row
