import os

import pytest

from captioning import sidecar
from captioning.sidecar import Cue, Unusable, caption_from_cues, parse_cues
from curation import storage

VTT = """WEBVTT

00:00.000 --> 00:02.500
A boat leaves the harbour.

00:02.500 --> 00:05.000
<v Narrator>It crosses <b>the lake</b>.

00:05.000 --> 00:20.000
People wait at the pier.
"""


def test_text_lies_beside_the_source_under_its_stem() -> None:
    assert sidecar.paths("/a.b/my film.v2.mp4") == {
        ".vtt": "/a.b/my film.v2.vtt",
        ".txt": "/a.b/my film.v2.txt",
    }
    assert sidecar.paths("s3://bucket/x/clip.webm")[".txt"] == "s3://bucket/x/clip.txt"
    assert sidecar.paths("name")[".txt"] == "name.txt"


def test_cues_keep_their_milliseconds_and_lose_their_tags() -> None:
    assert parse_cues(VTT) == (
        Cue(0.0, 2.5, "A boat leaves the harbour."),
        Cue(2.5, 5.0, "It crosses the lake."),
        Cue(5.0, 20.0, "People wait at the pier."),
    )


@pytest.mark.parametrize(
    ("start_s", "end_s", "expected"),
    [
        (0.0, 2.5, "A boat leaves the harbour."),
        (0.0, 5.0, "A boat leaves the harbour. It crosses the lake."),
        (6.0, 8.0, "People wait at the pier."),  # a part of one long cue
        (0.4, 2.9, "A boat leaves the harbour."),  # 0.4 s of the next cue speak of the neighbour
        (19.0, 22.0, None),  # a third of the clip is covered
        (30.0, 32.0, None),
        (1.0, 1.0, None),  # an image has no stretch of time
    ],
)
def test_the_cues_that_belong_to_a_clip(start_s: float, end_s: float, expected: str | None) -> None:
    assert caption_from_cues(parse_cues(VTT), start_s=start_s, end_s=end_s) == expected


def test_overlapping_cues_are_counted_once() -> None:
    cues = (Cue(0, 2, "one"), Cue(0, 2, "two"), Cue(1, 2, "one"))
    assert caption_from_cues(cues, start_s=0, end_s=4) == "one two"
    assert caption_from_cues(cues, start_s=0, end_s=4.1) is None


def test_timed_text_comes_before_the_text_about_the_whole_file(tmp_path) -> None:
    (tmp_path / "film.vtt").write_text(VTT)
    (tmp_path / "film.txt").write_text("\ufeffA day\tat the\r\n lake.\x00"[:-1], encoding="utf-8")
    beside = sidecar.read(str(tmp_path / "film.mp4"))
    assert beside.problems == ()
    assert beside.caption(start_s=0, end_s=2.5) == "A boat leaves the harbour."
    assert beside.caption(start_s=40, end_s=42) == "A day at the lake."


def test_nothing_beside_the_source_is_no_problem(tmp_path) -> None:
    assert sidecar.read(str(tmp_path / "film.mp4")) == sidecar.Sidecar()
    assert sidecar.versions(str(tmp_path / "film.mp4")) == []


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("film.txt", b"x" * (1 << 16) + b"x", "sidecar_too_long"),
        ("film.txt", b"word " * 900, "sidecar_too_long"),
        ("film.txt", bytes(range(128, 256)), "sidecar_not_text"),
        ("film.txt", "UTF-16".encode("utf-16"), "sidecar_not_text"),
        ("film.vtt", b"no header\n", "sidecar_malformed"),
        ("film.vtt", b"WEBVTT\n\n99:99.999 --> what\nx\n", None),  # the parser leaves that cue out
    ],
)
def test_what_cannot_be_a_caption_is_named(tmp_path, name: str, content: bytes, code: str) -> None:
    (tmp_path / name).write_bytes(content)
    beside = sidecar.read(str(tmp_path / "film.mp4"))
    assert beside.caption(start_s=0, end_s=1) is None
    assert [problem.split(":")[0] for problem in beside.problems] == ([code] if code else [])


def test_a_pipe_named_like_a_sidecar_is_not_opened(tmp_path) -> None:
    os.mkfifo(tmp_path / "film.txt")
    assert sidecar.read(str(tmp_path / "film.mp4")) == sidecar.Sidecar()


def test_a_changed_sidecar_has_another_version(tmp_path) -> None:
    uri = str(tmp_path / "film.mp4")
    (tmp_path / "film.txt").write_text("One.")
    before = sidecar.versions(uri)
    (tmp_path / "film.txt").write_text("Two words.")
    assert before != sidecar.versions(uri) and len(before) == 1


def test_sidecars_lie_beside_footage_on_object_storage_too(s3: str) -> None:
    uri = f"{s3}/a film.mp4"
    assert sidecar.read(uri) == sidecar.Sidecar() and sidecar.versions(uri) == []
    storage.commit(f"{s3}/a film.txt", b"A day at the lake.")
    storage.commit(f"{s3}/a film.vtt", b"")
    assert sidecar.read(uri).whole == "A day at the lake."
    before = sidecar.versions(uri)
    storage.commit(f"{s3}/a film.txt", b"A day at the pond.")  # as long as it was
    assert len(before) == 2 and sidecar.versions(uri) != before


def test_too_many_words_in_cues_are_unusable() -> None:
    cues = tuple(Cue(i, i + 1, f"{i} " * 2000) for i in range(4))
    with pytest.raises(Unusable, match="sidecar_too_long"):
        caption_from_cues(cues, start_s=0, end_s=4)
