"""Hostile and broken files: nothing but the file itself may be read, and every refusal has a
code.
"""

from pathlib import Path

import numpy as np
import pytest

from curation.video import DecodePass, VideoError
from tests.videos import pan, write_video


def refusal(path: Path) -> str:
    with pytest.raises(VideoError) as caught:
        list(DecodePass(path))
    return caught.value.code


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A real video that hostile files try to make us open."""
    return write_video(tmp_path / "secret.mp4", pan(1, 5))


def test_empty_and_foreign_files_are_refused_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "page.mp4").write_text("<html>404</html>" * 99)
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(9999))
    assert refusal(tmp_path / "empty.mp4") == "empty_file"
    assert refusal(tmp_path / "page.mp4") == "not_media"
    assert refusal(tmp_path / "noise.mp4") == "not_media"


def test_a_playlist_that_names_another_file_is_refused(tmp_path: Path, target: Path) -> None:
    playlist = tmp_path / "list.mp4"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n")
    assert refusal(playlist) == "not_media"
    concat = tmp_path / "concat.mp4"
    concat.write_text(f"ffconcat version 1.0\nfile '{target}'\n")
    assert refusal(concat) == "not_media"


def test_a_name_that_looks_like_a_pattern_or_a_url_is_only_a_name(tmp_path: Path) -> None:
    for name in ("frame%03d.mp4", "concat:a|b.mp4", "http:..example.mp4", "- -i x.mp4"):
        path = write_video(tmp_path / name, pan(1, 3), format="mp4")
        assert len(list(DecodePass(path))) == 3


def test_sound_without_pictures_is_no_video(tmp_path: Path) -> None:
    import av

    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        frame.rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert refusal(path) == "no_video_stream"


def test_the_cover_of_a_song_is_no_video(tmp_path: Path) -> None:
    import av
    from av.stream import Disposition

    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=48000)
        cover = container.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "rgb24"
        cover.disposition = Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        frame.rate = 48000
        picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        for stream, content in ((cover, picture), (sound, frame)):
            container.mux(stream.encode(content))
            container.mux(stream.encode(None))
    assert refusal(path) == "no_video_stream"


def test_a_picture_that_would_fill_the_memory_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    from curation.video import open as opening

    monkeypatch.setattr(opening, "MAX_PIXELS", 64 * 64)
    for name, side in (("fits.png", 64), ("large.png", 65)):
        Image.new("RGB", (side, side)).save(tmp_path / name)
    assert len(list(DecodePass(tmp_path / "fits.png"))) == 1
    assert refusal(tmp_path / "large.png") in ("too_large", "no_frames")


def test_a_later_header_cannot_ask_for_more_than_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curation.video import open as opening

    monkeypatch.setattr(opening, "MAX_PIXELS", 320 * 180)
    small = write_video(tmp_path / "small.h264", pan(1, 12), format="h264")
    large = write_video(
        tmp_path / "large.h264", np.zeros((4, 360, 640, 3), np.uint8), format="h264"
    )
    small.write_bytes(small.read_bytes() + large.read_bytes())
    decode = DecodePass(small)
    assert {frame.picture.width for frame in decode} == {160}
    assert decode.num_frames <= 12 and decode.decode_errors


def test_a_header_without_pictures_has_no_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "cut.mkv", pan(1, 24))
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"\x1f\x43\xb6\x75")])  # up to the first Matroska cluster
    assert refusal(path) in ("no_frames", "not_media")


def test_the_file_name_does_not_decide_what_it_is(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.webm", pan(1, 4), codec="libvpx-vp9")
    for name in ("wrong.mp4", "none", 'odd ü "q".txt'):
        other = tmp_path / name
        other.write_bytes(path.read_bytes())
        assert len(list(DecodePass(other))) == 4
