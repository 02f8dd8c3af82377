"""What a written clip is held against, and what becomes of sources that are not as they were."""

from dataclasses import replace
from pathlib import Path

import pytest

from curation.bench.known import Known
from curation.bench.mixed import SOURCES, film, make
from curation.video import VideoError
from curation.video.cut import make_clip, open_reel
from curation.video.cut.proof import Expected, count_decord, count_opencv, prove
from curation.video.picture import fingerprint_difference
from tests.videos import pan, write_video


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    """Fixed groups of 30 frames with B-frames."""
    return Known(make(tmp_path_factory.mktemp("proof") / "a", SOURCES["h264 fixed"], film()))


def test_a_clip_that_is_one_frame_off_or_too_short_is_told(known: Known) -> None:
    data = known.cut(30, 90).data
    ends = {0: known.prints[30], 59: known.prints[89]}

    def wrong(num_frames: int, prints: dict[int, bytes], verify="decode") -> str | None:
        planned = Expected(num_frames, num_frames, 0, prints, frozenset())
        return prove(data, planned, verify=verify).wrong

    assert wrong(60, ends) is None and wrong(60, ends, "packets") is None
    assert wrong(60, ends, "readers") is None
    assert wrong(61, ends) == "60 frames, planned 61"
    assert wrong(61, ends, "packets") == "60 packets, planned 61"
    assert str(wrong(60, {0: known.prints[31]})).startswith("first frame differs")
    assert str(wrong(60, {59: known.prints[88]})).startswith("last frame differs")
    assert str(wrong(60, {7: known.prints[38]})).startswith("frame 7 differs")


def test_the_proof_says_what_was_counted_and_how_far_the_ends_are_off(known: Known) -> None:
    proof = known.cut(13, 77, keep_pictures=True).proof
    assert (proof.frames_counted, len(proof.pictures), proof.pictures[63].index) == (64, 64, 63)
    assert proof.first_difference is not None and 0 < proof.first_difference < 1
    assert proof.last_difference == 0
    assert known.cut(13, 77, verify="packets").data == known.cut(13, 77, verify="readers").data


def test_a_clip_of_other_frames_than_split_saw_is_refused(known: Known) -> None:
    assert fingerprint_difference(known.prints[13], known.prints[50]) > 8
    order = replace(known.order(13, 77), first_luma=known.prints[50])
    with (
        open_reel(known.path) as reel,
        pytest.raises(VideoError, match="cut_mismatch: first frame"),
    ):
        make_clip(reel, order)


def test_damage_is_cut_by_counting_from_the_beginning(tmp_path: Path) -> None:
    path = make(tmp_path / "a", SOURCES["h264 fixed"], film())
    data = bytearray(path.read_bytes())
    middle = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2
    data[middle : middle + 300] = bytes(300)
    path.write_bytes(data)
    known = Known(path)
    for start, end in ((0, 40), (40, known.num_frames - 20)):
        try:
            clip = known.cut(start, end)
        except VideoError as error:
            assert error.code == "cut_mismatch"
        else:
            assert clip.proof.wrong is None and clip.proof.frames_counted == end - start


def test_readers_count_frames_and_say_zero_for_what_they_cannot_read(tmp_path: Path) -> None:
    good = write_video(tmp_path / "a.mp4", pan(1, 7))
    assert (count_decord(str(good)), count_opencv(str(good))) == (7, 7)
    (tmp_path / "b.mp4").write_bytes(b"nothing")
    assert (count_decord(str(tmp_path / "b.mp4")), count_opencv(str(tmp_path / "b.mp4"))) == (0, 0)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("h264 fixed", "exact"),
        ("hevc open", "exact"),
        ("vp9 alt-ref", "exact"),
        ("h264 fixed", "encode"),
    ],
)
def test_the_same_clip_is_the_same_bytes(tmp_path: Path, name: str, mode: str) -> None:
    known = Known(make(tmp_path / "a", SOURCES[name], film()))
    found = {known.cut(13, 77, mode=mode, verify="packets").data for _ in range(12)}
    assert len(found) == 1
