"""What modes do to a clip: pre-roll, size, crop, keyframes, shape, colours, dynamic range."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from curation.bench.known import Known
from curation.bench.mixed import MORE, SOURCES, Source, film, make, x265
from curation.video import DecodePass, read_frames
from curation.video.cut import Look, open_reel
from curation.video.cut.tone import HLG, PQ, linear, tone_mapped
from tests.curation.video.test_cut import assert_exact
from tests.videos import pan, turn_header, write_video


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    """Fixed groups of 30 frames with B-frames."""
    return Known(make(tmp_path_factory.mktemp("modes") / "a", SOURCES["h264 fixed"], film()))


def decoded(data: bytes) -> DecodePass:
    decode = DecodePass(data)
    assert sum(1 for _ in decode) == decode.num_frames
    return decode


# -- copy ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["h264 fixed", "h264 open", "hevc open", "vp9 alt-ref"])
def test_a_copy_with_preroll_holds_the_clip_from_first_frame_on(tmp_path: Path, name: str) -> None:
    known = Known(make(tmp_path / "source", SOURCES[name], film()))
    for start, end in ((0, 40), (33, 71), (62, 89), (60, 61)):
        assert assert_exact(known, start, end, folder=tmp_path, mode="copy") == "copy"
        clip = known.cut(start, end, mode="copy")
        assert clip.first_frame <= start
        assert clip.frames_encoded == 0
        assert clip.proof.frames_counted >= clip.first_frame + end - start
    assert known.cut(62, 89, mode="copy").first_frame in (2, 32)  # h264 open: 60 is no beginning


def test_what_an_edit_list_hides_is_preroll_of_a_copy(tmp_path: Path) -> None:
    known = Known(make(tmp_path / "source", MORE["h264 edit list"], film()))
    assert known.num_frames == 123
    clip = known.cut(2, 20, mode="copy")
    assert (clip.route, clip.first_frame) == ("copy", 9)  # 7 hidden frames and 2


def test_a_stream_that_no_mp4_holds_is_encoded_and_says_so(tmp_path: Path) -> None:
    known = Known(make(tmp_path / "source", MORE["mpeg2 ts"], film()))
    clip = known.cut(13, 77, mode="copy")
    assert (clip.route, clip.reason) == ("encode", "not copied: mpeg2video yuv420p")


# -- encode ----------------------------------------------------------------------------------------


def test_an_encoded_clip_has_the_buckets_short_side_and_short_groups(known: Known) -> None:
    clip = known.cut(13, 77, mode="encode", short_side_px=48, gop_frames=16)
    assert (clip.width, clip.height) == (80, 48)
    decode = decoded(clip.data)
    assert decode.display_size() == (80, 48) and decode.num_frames == 64
    with open_reel(clip_file(known, clip.data)) as reel:
        assert reel.packets is not None
        keys = [entry.frame for entry in reel.packets.entries]
    assert keys[0] == 0 and max(np.diff([*keys, 64])) <= 16
    assert clip.route == "encode" and clip.frames_encoded == 64


def clip_file(known: Known, data: bytes) -> Path:
    path = known.path.parent / "clip.mp4"
    path.write_bytes(data)
    return path


def test_the_whole_picture_is_kept_and_never_enlarged() -> None:
    assert Look((1920, 1080), 256).size() == (456, 256)
    assert Look((1080, 1920), 256).size() == (256, 456)
    assert Look((639, 361), None).size() == (638, 360)
    assert Look((320, 240), 512).size() == (320, 240)
    assert Look((1920, 1080), None, crop=(0.125, 0.125, 0, 0)).size() == (1920, 810)
    assert Look((1920, 1080), 256, crop=(0, 0, 0.125, 0.125)).size() == (342, 256)


def test_bars_are_cut_off_and_the_picture_is_not(tmp_path: Path) -> None:
    images = np.zeros((20, 120, 160, 3), np.uint8)
    images[:, 15:105] = pan(3, 20, height=90, width=160)
    path = write_video(tmp_path / "a.mp4", images)
    known = Known(path)
    clip = known.cut(2, 18, mode="encode", crop=(15 / 120, 15 / 120, 0.0, 0.0))
    assert (clip.width, clip.height) == (160, 90)
    found = read_frames(clip.data)
    assert found.shape == (16, 90, 160, 3)
    wanted = images[2:18, 15:105].astype(int)
    shifts = [np.abs(found[:, 4:-4].astype(int) - wanted[:, 4 + s : 86 + s]).mean() for s in (0, 4)]
    assert shifts[0] < 8 < shifts[1] * 0.8
    assert found[:, 1].mean() > 40  # no bar left


# -- as the picture is -----------------------------------------------------------------------------


def test_times_of_variable_frame_rate_are_kept(tmp_path: Path) -> None:
    pts_ms = [0, 40, 80, 400, 440, 1000, 1040, 1100]
    known = Known(write_video(tmp_path / "a.mkv", pan(1, 8), pts_ms=pts_ms))
    wanted = np.array([80, 400, 440, 1000, 1040]) / 1000 - 0.08
    for mode in ("exact", "encode"):
        decode = decoded(known.cut(2, 7, mode=mode).data)
        assert np.allclose(decode.times_s, wanted, atol=1e-3)
    joined = Known(make(tmp_path / "b", MORE["h264 variable rate"], film()))
    clip = joined.cut(13, 77)
    assert clip.route == "smart"
    times = np.array(joined.decode.times_s)[13:77]
    assert np.allclose(decoded(clip.data).times_s, times - times[0], atol=1e-3)


def test_a_turned_source_is_encoded_upright(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", pan(1, 6, height=58, width=90))
    turn_header(path, degrees_clockwise=90)
    clip = Known(path).cut(0, 6)
    assert (clip.route, clip.width, clip.height) == ("encode", 58, 90)
    assert clip.reason == "not copied: readers disagree about turned or stretched pictures"
    assert read_frames(clip.data).shape == (6, 90, 58, 3)


def test_stretched_pixels_become_square_ones(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "a.mp4", pan(1, 6, height=96, width=80), sample_aspect=Fraction(2)
    )
    clip = Known(path).cut(0, 6)
    assert (clip.route, clip.width, clip.height) == ("encode", 160, 96)


def test_an_odd_size_loses_its_last_row_and_column(tmp_path: Path) -> None:
    odd = pan(1, 3, height=57, width=101)
    path = write_video(tmp_path / "b.mkv", odd, codec="ffv1", pixel_format="yuv420p")
    clip = Known(path).cut(0, 3)
    assert (clip.width, clip.height) == (100, 56)


def test_colours_and_range_survive_encoding(tmp_path: Path) -> None:
    image = np.zeros((64, 96, 3), np.uint8)
    for i, colour in enumerate([(255, 255, 255), (0, 0, 0), (220, 40, 40)]):
        image[:, 32 * i : 32 * i + 32] = colour
    for codec, pixel_format in (("libx264", "yuv420p"), ("mjpeg", "yuvj420p")):
        path = write_video(tmp_path / "a.mkv", [image] * 3, codec=codec, pixel_format=pixel_format)
        found = read_frames(Known(path).cut(0, 3, mode="encode").data)[1]
        assert np.abs(found[8:-8, 8:24].astype(int) - 255).max() < 12
        assert found[8:-8, 40:56].max() < 12
        assert np.abs(found[32, 80].astype(int) - (220, 40, 40)).max() < 25


def test_fields_are_made_whole_pictures(tmp_path: Path) -> None:
    """Two fields of different moments: every second line lags behind in the source, none after."""
    moving = pan(2, 41, height=96, width=160, step_px=4)
    combed = moving[0:40:2].copy()
    combed[:, 1::2] = moving[1:41:2, 1::2]
    source = Source("mp4", "libx264", {"x264-params": "tff=1", "crf": "10"}, flags=0x40000)
    known = Known(make(tmp_path / "a", source, combed))
    assert known.decode.interlaced_frames == 20
    clip = known.cut(0, 20)
    assert (clip.route, clip.reason) == ("encode", "not copied: interlaced")
    found = read_frames(clip.data)
    assert len(found) == 20
    assert combing(found) < 0.5 * combing(combed)
    unseen = known.cut(0, 20, interlaced_known=False)
    assert (unseen.route, unseen.reason) == ("encode", "not copied: interlaced")


def combing(frames: np.ndarray) -> float:
    """How much neighbouring lines differ beyond lines two apart."""
    rows = frames[..., 1].astype(int)
    return float(np.abs(rows[:, 1:-1] * 2 - rows[:, :-2] - rows[:, 2:]).mean())


def test_ten_bit_pictures_without_high_dynamic_range_become_eight(tmp_path: Path) -> None:
    for name in ("h264 ten bits", "h264 4:4:4", "prores"):
        clip = Known(make(tmp_path / name.replace(":", ""), MORE[name], film())).cut(3, 20)
        probe = decoded(clip.data).probe
        assert (clip.route, probe.codec, probe.pixel_format) == ("encode", "h264", "yuv420p")


# -- high dynamic range ----------------------------------------------------------------------------


def hdr_source(folder: Path) -> Known:
    tags = "colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc"
    source = Source("mp4", "libx265", x265(f"keyint=30:scenecut=0:{tags}"), "yuv420p10le")
    return Known(make(folder / "hdr", source, film()))


def test_high_dynamic_range_keeps_its_bits_and_its_tag(tmp_path: Path) -> None:
    known = hdr_source(tmp_path)
    assert known.decode.probe.is_hdr
    for mode, route in (("exact", "smart"), ("copy", "copy"), ("encode", "encode")):
        clip = known.cut(13, 77, mode=mode)
        probe = decoded(clip.data).probe
        assert clip.route == route
        assert (probe.codec, probe.pixel_format, probe.is_hdr) == ("hevc", "yuv420p10le", True)


def test_the_pictures_tell_the_dynamic_range_where_the_container_says_otherwise(
    tmp_path: Path,
) -> None:
    path, hlg = tmp_path / "a.mp4", "colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=24, options=x265(hlg))
        stream.height, stream.width, stream.pix_fmt = 96, 160, "yuv420p10le"
        for tag in ("color_primaries", "color_trc", "colorspace"):
            setattr(stream.codec_context, tag, 6)  # BT.601, of which the mp4's header tells
        for image in film()[:12]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    known = Known(path)
    assert known.decode.probe.is_hdr
    assert decoded(known.cut(2, 10, mode="encode").data).probe.is_hdr
    plain = known.cut(2, 10, mode="encode", tone_map=True)
    assert not decoded(plain.data).probe.is_hdr


def test_tone_mapping_gives_eight_bits_of_bt709(tmp_path: Path) -> None:
    clip = hdr_source(tmp_path).cut(13, 33, mode="encode", tone_map=True)
    decode = DecodePass(clip.data)
    frames = list(decode)
    assert (decode.probe.codec, decode.probe.pixel_format) == ("h264", "yuv420p")
    assert not decode.probe.is_hdr and len(frames) == 20
    assert int(frames[0].picture.color_trc) == int(frames[0].picture.colorspace) == 1


def test_the_tone_curve_maps_black_white_and_grey_as_the_recommendation_says() -> None:
    # BT.2446-1: 1000 cd/m2 is the peak of SDR; PQ of 1000 is 0.7518 (ST 2084), HLG's is 1
    for transfer, peak in ((PQ, 0.751827), (HLG, 1.0)):
        ends = tone_mapped(np.array([[0.0] * 3, [peak] * 3]), transfer=transfer)
        assert np.allclose(ends, [[0] * 3, [1] * 3], atol=2e-3)
        ramp = tone_mapped(np.linspace(0, peak, 50)[:, None].repeat(3, axis=1), transfer=transfer)
        assert np.allclose(ramp[:, 0], ramp[:, 1], atol=1e-3)
        assert np.allclose(ramp[:, 0], ramp[:, 2], atol=1e-3)
        assert (np.diff(ramp[:, 0]) > 0).all()
    assert np.allclose(linear(np.array([0.508078]), transfer=PQ), 100, rtol=1e-3)
    assert np.allclose(linear(np.full((1, 3), 0.75), transfer=HLG), 203, rtol=0.01)  # BT.2408
