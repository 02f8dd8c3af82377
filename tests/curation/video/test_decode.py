"""One pass: frames counted, times from stamps, as displayed; answers known by construction."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from curation.video import DecodePass
from curation.video.decode import mean_fps, varies
from curation.video.picture import Picture, small_planes, small_size
from tests.videos import pan, texture, turn_header, write_video


def scan(path: Path) -> tuple[DecodePass, list[np.ndarray]]:
    decode = DecodePass(path)
    found = []
    for frame in decode:
        size = small_size(*decode.display_size())
        planes = small_planes(frame.picture, size=size, rotation=decode.rotation)
        found.append(Picture(frame.index, frame.time_s, planes).bgr[..., ::-1])
    return decode, found


CODECS = [
    ("libx264", "mp4", "yuv420p"),
    ("libx264", "mkv", "yuv444p"),
    ("libx264", "mov", "yuv420p10le"),
    ("libx265", "mp4", "yuv420p"),
    ("libvpx-vp9", "webm", "yuv420p"),
    ("libsvtav1", "mkv", "yuv420p"),
    ("mjpeg", "avi", "yuvj420p"),
    ("mpeg4", "3gp", "yuv420p"),
    ("ffv1", "mkv", "yuv422p"),
    ("prores_ks", "mov", "yuv422p10le"),
]


@pytest.mark.parametrize(("codec", "container", "pixel_format"), CODECS)
def test_every_frame_is_counted_and_looks_right(
    tmp_path: Path, codec: str, container: str, pixel_format: str
) -> None:
    frames = pan(3, 12)
    path = write_video(tmp_path / f"a.{container}", frames, codec=codec, pixel_format=pixel_format)
    decode, pictures = scan(path)
    assert decode.num_frames == 12 and decode.decode_errors == 0
    assert decode.display_size() == (160, 96)
    assert np.allclose(decode.edges_s(), np.arange(13) / 24, atol=2e-3)
    import cv2

    wanted = cv2.resize(frames[5], (128, 77), interpolation=cv2.INTER_AREA)
    assert np.abs(pictures[5].astype(int) - wanted).mean() < 9  # of 255: lossy, but these colours


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_applied(tmp_path: Path, degrees: int) -> None:
    image = np.zeros((96, 160, 3), np.uint8)
    image[:48, :80] = (250, 30, 30)  # red: top left of the stored picture
    path = write_video(tmp_path / "a.mp4", [image] * 3)
    turn_header(path, degrees_clockwise=degrees)
    decode, pictures = scan(path)
    assert decode.rotation == degrees
    assert decode.display_size() == ((160, 96) if degrees == 180 else (96, 160))
    height, width = pictures[0].shape[:2]
    corner = {90: (0, 1), 180: (1, 1), 270: (1, 0)}[degrees]  # where the red one comes to lie
    for y in (0, 1):
        for x in (0, 1):
            red = pictures[0][height * (1 + 2 * y) // 4, width * (1 + 2 * x) // 4, 0]
            assert (red > 200) == ((y, x) == corner)


def test_pixels_that_are_not_square_are_stretched(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", pan(1, 3), sample_aspect=Fraction(4, 3))
    decode, _ = scan(path)
    assert decode.display_size() == (213, 96)  # 160 * 4/3


def test_times_of_variable_frame_rate_come_from_the_stamps(tmp_path: Path) -> None:
    pts_ms = [0, 40, 80, 400, 440, 1000]
    path = write_video(tmp_path / "a.mkv", pan(1, 6), pts_ms=pts_ms)
    decode, _ = scan(path)
    assert np.allclose(decode.edges_s()[:-1], np.array(pts_ms) / 1000)
    assert varies(decode.edges_s())
    assert mean_fps(decode.edges_s()) == pytest.approx(5.0)


def test_millisecond_stamps_are_not_variable_frame_rate(tmp_path: Path) -> None:
    decode, _ = scan(write_video(tmp_path / "a.mkv", pan(1, 40), fps=30000 / 1001))
    assert not varies(decode.edges_s())
    assert mean_fps(decode.edges_s()) == pytest.approx(29.97, abs=0.02)


def test_odd_sizes_and_single_pixels(tmp_path: Path) -> None:
    odd = texture(2, height=57, width=101)
    decode, pictures = scan(
        write_video(tmp_path / "a.mkv", [odd] * 3, codec="ffv1", pixel_format="yuv420p")
    )
    assert decode.display_size() == (101, 57) and pictures[0].shape == (72, 128, 3)
    dot = np.full((1, 1, 3), 200, np.uint8)
    decode, pictures = scan(
        write_video(tmp_path / "b.mkv", [dot] * 2, codec="ffv1", pixel_format="yuv444p")
    )
    assert decode.display_size() == (1, 1) and pictures[0].shape == (128, 128, 3)


def test_full_and_limited_range_give_the_same_black_and_white(tmp_path: Path) -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 32:] = 255
    for pixel_format, codec in (("yuv420p", "libx264"), ("yuvj420p", "mjpeg")):
        path = write_video(tmp_path / "a.mkv", [image] * 2, codec=codec, pixel_format=pixel_format)
        decode = DecodePass(path)
        for frame in decode:
            luma = small_planes(frame.picture, size=(64, 64), rotation=0)[0]
        assert luma[:, :30].max() <= 3 and luma[:, 34:].min() >= 252


def test_damage_in_the_middle_does_not_end_the_video(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.ts", pan(1, 96), options={"g": "12"}, format="mpegts")
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : third + 2000] = np.random.default_rng(0).bytes(2000)
    path.write_bytes(bytes(data))
    decode, _ = scan(path)
    assert decode.num_frames > 60
    assert decode.decode_errors + sum(decode.corrupt) > 0
    assert (np.diff(decode.edges_s()) > 0).all()


def test_the_stream_with_most_pixels_is_taken(footage: Path) -> None:
    decode, _ = scan(footage / "nasa_13013_multistream.mp4")
    assert (decode.probe.stream_index, decode.num_frames) == (3, 390)


def test_an_image_is_one_frame_turned_as_its_exif_says(tmp_path: Path) -> None:
    from PIL import Image

    picture = Image.fromarray(texture(4, height=40, width=60))
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn 90 degrees clockwise
    picture.save(tmp_path / "still.jpg", exif=exif)
    picture.save(tmp_path / "still.png")
    picture.save(tmp_path / "still.webp", lossless=True)
    for name, size, turned in (("jpg", (40, 60), 90), ("png", (60, 40), 0), ("webp", (60, 40), 0)):
        decode, _ = scan(tmp_path / f"still.{name}")
        assert decode.num_frames == 1 and decode.probe.image_extension == name
        assert (decode.display_size(), decode.rotation) == (size, turned)
