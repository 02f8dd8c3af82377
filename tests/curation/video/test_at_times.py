"""Frames by time: the right ones, in one way forward, none decoded twice."""

from pathlib import Path

import numpy as np
import pytest

from curation.video.at_times import TimeReader
from curation.video.open import VideoError
from tests.videos import write_video

GOP = 12


def numbered(count: int) -> np.ndarray:
    """(T, 48, 64, 3): frame t is a plain grey of 2 t."""
    return np.repeat(np.arange(count, dtype=np.uint8) * 2, 48 * 64 * 3).reshape(count, 48, 64, 3)


def grey(picture) -> int:
    return round(float(picture.to_ndarray(format="gray").mean()))


def film(path: Path, count: int = 96, **options) -> Path:
    options = {"g": str(GOP), "sc_threshold": "0", "crf": "1"} | options
    return write_video(path, numbered(count), fps=24, options=options)


def read(reader: TimeReader, start: int, end: int) -> list[int]:
    """Frame numbers that come for the stretch between two frame numbers."""
    pictures = list(reader.between(start / 24, end / 24))
    return [round(picture.time * 24) for picture in pictures]


def test_stretches_come_whole_and_in_order(tmp_path: Path) -> None:
    with TimeReader(film(tmp_path / "a.mp4")) as reader:
        assert read(reader, 5, 9) == [5, 6, 7, 8]
        assert read(reader, 9, 11) == [9, 10]  # begins with the frame that ended the one before
        assert read(reader, 40, 43) == [40, 41, 42]
        greys = [grey(picture) for picture in reader.between(50 / 24, 53 / 24)]
    assert np.diff(greys).tolist() == [2, 2] and abs(greys[0] - 100) <= 1


def test_nothing_is_decoded_twice_and_gaps_are_jumped(tmp_path: Path) -> None:
    with TimeReader(film(tmp_path / "a.mp4")) as reader:
        for start in range(0, 96, 4):  # every clip begins inside a group of pictures or at its end
            assert read(reader, start, start + 3) == [start, start + 1, start + 2]
        assert reader.num_decoded == 96
    with TimeReader(film(tmp_path / "a.mp4")) as reader:
        read(reader, 1, 3)
        assert read(reader, 74, 76) == [74, 75]
        assert reader.num_decoded <= 4 + (76 - 72) + 2  # the group from 72 on, and what is ahead


@pytest.mark.parametrize("name", ["a.mkv", "a.ts", "a.webm"])
def test_containers_without_an_index_in_front_give_the_same(tmp_path: Path, name: str) -> None:
    codec = "libvpx-vp9" if name.endswith("webm") else "libx264"
    path = write_video(tmp_path / name, numbered(96), codec=codec, options={"g": str(GOP)})
    with TimeReader(path) as reader:
        first = next(iter(reader.between(-1e9, 1e9))).time  # MPEG-TS begins at 1.4 s
    with TimeReader(path) as reader:
        for start, end in ((5, 8), (30, 33), (34, 36), (90, 96)):
            edges = [first + (i - 0.5) / 24 for i in (start, end)]
            times = [p.time - first for p in reader.between(*edges)]
            assert [round(t * 24) for t in times] == list(range(start, end))


def test_an_earlier_stretch_is_found_again(tmp_path: Path) -> None:
    with TimeReader(film(tmp_path / "a.mp4")) as reader:
        assert read(reader, 60, 62) == [60, 61]
        assert read(reader, 3, 5) == [3, 4]
        assert read(reader, 200, 210) == []


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video at all" * 99)
    with pytest.raises(VideoError), TimeReader(tmp_path / "a.mp4"):
        pass
