"""Exact clips: planned frames, first and last the source's, in every reader."""

from pathlib import Path

import numpy as np
import pytest

from curation.video import DecodePass
from curation.video.cut import (
    Packets,
    check_clip,
    copy_clip,
    copy_run,
    count_decord,
    count_opencv,
    encode_clip,
    index_packets,
    readers_disagree,
)
from curation.video.picture import fingerprint, small_planes, small_size
from tests.videos import pan, turn_header, write_video


def fingerprints(path: Path) -> list[bytes]:
    decode = DecodePass(path)
    return [
        fingerprint(
            small_planes(
                f.picture, size=small_size(*decode.display_size()), rotation=decode.rotation
            )[0]
        )
        for f in decode
    ]


def packets(frames: list[int], keys: set[int]) -> Packets:
    """Packets in decoding order, given the frame that each holds."""
    return Packets(frames, [frame in keys for frame in frames], frames)


def test_a_copy_needs_a_keyframe_and_exactly_the_clips_pictures() -> None:
    # two closed groups with B-frames: I0 P3 B1 B2 | I4 P7 B5 B6
    closed = packets([0, 3, 1, 2, 4, 7, 5, 6], {0, 4})
    assert copy_run(closed, start=0, end=4) == (0, 4)
    assert copy_run(closed, start=4, end=8) == (4, 8)
    assert copy_run(closed, start=0, end=8) == (0, 8)
    assert copy_run(closed, start=1, end=4) is None  # not a keyframe
    assert copy_run(closed, start=0, end=3) is None  # P3 is decoded before B1 and B2
    # open group: B3 and B2 are shown before the keyframe I4 but decoded after it
    opened = packets([0, 1, 4, 2, 3, 5], {0, 4})
    assert copy_run(opened, start=4, end=6) is None
    assert copy_run(opened, start=0, end=4) is None
    assert copy_run(opened, start=0, end=6) == (0, 6)
    # without B-frames a copy may end anywhere
    assert copy_run(packets([0, 1, 2, 3], {0}), start=0, end=2) == (0, 2)


SOURCES = [
    ("libx264", "mp4", {"g": "12", "bf": "2"}),
    ("libx264", "mkv", {"g": "12", "bf": "2", "x264-params": "open-gop=1"}),
    ("libx265", "mp4", {"x265-params": "keyint=12:log-level=none"}),
    ("libvpx-vp9", "webm", {"g": "12"}),
]


@pytest.mark.parametrize(("codec", "container", "options"), SOURCES)
def test_copied_and_encoded_clips_are_exact_in_every_reader(
    tmp_path: Path, codec: str, container: str, options: dict[str, str]
) -> None:
    frames = np.concatenate([pan(1, 24), pan(2, 24)])
    path = write_video(tmp_path / f"a.{container}", frames, codec=codec, options=options)
    prints, index = fingerprints(path), index_packets(path)
    assert index is not None and len(index.pts) == 48
    copied = 0
    for start, end in [(0, 48), (0, 24), (24, 48), (12, 36), (7, 30), (47, 48)]:
        proof = {"first_luma": prints[start], "last_luma": prints[end - 1]}
        run = copy_run(index, start=start, end=end)
        if run is not None:
            copied += 1
            data = copy_clip(path, index, run)
            assert check_clip(data, num_frames=end - start, tolerance=0.5, **proof) is None
            assert readers_disagree(data, num_frames=end - start) is None
            assert data == copy_clip(path, index, run)
        encoded = encode_clip(
            path, start=start, end=end, fps=24.0, display=(160, 96), packets=index
        )
        assert check_clip(encoded.data, num_frames=end - start, tolerance=3, **proof) is None
        assert readers_disagree(encoded.data, num_frames=end - start) is None
    assert copied >= 1


def test_a_clip_that_is_one_frame_off_or_too_short_is_told(tmp_path: Path) -> None:
    frames = np.concatenate([pan(1, 10), pan(2, 10)])
    path = write_video(tmp_path / "a.mp4", frames, options={"bf": "0"})
    prints, index = fingerprints(path), index_packets(path)
    data = encode_clip(path, start=0, end=11, fps=24.0, display=(160, 96), packets=index).data
    wrong = check_clip(data, num_frames=10, first_luma=prints[0], last_luma=prints[9], tolerance=3)
    assert wrong == "11 frames, planned 10"
    wrong = check_clip(data, num_frames=11, first_luma=prints[0], last_luma=prints[9], tolerance=3)
    assert wrong is not None and wrong.startswith("last frame differs")


def test_times_of_variable_frame_rate_are_kept(tmp_path: Path) -> None:
    pts_ms = [0, 40, 80, 400, 440, 1000, 1040, 1100]
    path = write_video(tmp_path / "a.mkv", pan(1, 8), pts_ms=pts_ms)
    data = encode_clip(
        path, start=2, end=7, fps=5.0, display=(160, 96), packets=index_packets(path)
    ).data
    decode = DecodePass(data)
    assert len(list(decode)) == 5
    assert np.allclose(
        decode.times_s, np.array([80, 400, 440, 1000, 1040]) / 1000 - 0.08, atol=1e-3
    )


def test_a_turned_odd_source_is_encoded_upright_with_even_sides(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", pan(1, 6, height=58, width=90))
    turn_header(path, degrees_clockwise=90)
    prints = fingerprints(path)
    encoded = encode_clip(path, start=0, end=6, fps=24.0, display=(58, 90), packets=None)
    assert (encoded.width, encoded.height, encoded.num_frames) == (58, 90, 6)
    proof = {"first_luma": prints[0], "last_luma": prints[5]}
    assert check_clip(encoded.data, num_frames=6, tolerance=3, **proof) is None
    odd = write_video(
        tmp_path / "b.mkv", pan(1, 3, height=57, width=101), codec="ffv1", pixel_format="yuv420p"
    )
    encoded = encode_clip(odd, start=0, end=3, fps=24.0, display=(101, 57), packets=None)
    assert (encoded.width, encoded.height) == (100, 56)


def test_colours_and_range_survive_encoding(tmp_path: Path) -> None:
    from curation.video import read_frames

    image = np.zeros((64, 96, 3), np.uint8)
    for i, colour in enumerate([(255, 255, 255), (0, 0, 0), (220, 40, 40)]):
        image[:, 32 * i : 32 * i + 32] = colour
    for codec, pixel_format in (("libx264", "yuv420p"), ("mjpeg", "yuvj420p")):
        path = write_video(tmp_path / "a.mkv", [image] * 3, codec=codec, pixel_format=pixel_format)
        encoded = encode_clip(path, start=0, end=3, fps=24.0, display=(96, 64), packets=None)
        found = read_frames(encoded.data)[1]
        assert np.abs(found[8:-8, 8:24].astype(int) - 255).max() < 12
        assert found[8:-8, 40:56].max() < 12
        assert np.abs(found[32, 80].astype(int) - (220, 40, 40)).max() < 25


def test_readers_count_frames_and_say_zero_for_what_they_cannot_read(tmp_path: Path) -> None:
    good = write_video(tmp_path / "a.mp4", pan(1, 7))
    assert (count_decord(str(good)), count_opencv(str(good))) == (7, 7)
    (tmp_path / "b.mp4").write_bytes(b"nothing")
    assert (count_decord(str(tmp_path / "b.mp4")), count_opencv(str(tmp_path / "b.mp4"))) == (0, 0)


def test_the_same_clip_is_encoded_to_the_same_bytes(tmp_path: Path) -> None:
    frames = np.concatenate([pan(1, 33, height=96, width=72), pan(4, 34, height=96, width=72)])
    path = write_video(tmp_path / "a.mp4", frames, options={"g": "999"})
    index = index_packets(path)
    found = {
        encode_clip(path, start=33, end=67, fps=24.0, display=(72, 96), packets=index).data
        for _ in range(60)
    }
    assert len(found) == 1
