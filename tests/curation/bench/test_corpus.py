"""The corpus is what its edits say: size, length, cuts at keyframes, the same bytes each time."""

import random
import shutil
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from curation.bench import corpus
from curation.bench.corpus import Edit, back_and_forth, drift, looped, make_edit, pictures

pytestmark = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")


def test_a_shot_goes_back_and_forth_without_a_jump() -> None:
    assert [back_and_forth(i, 4) for i in range(9)] == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert [back_and_forth(i, 1) for i in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("size", [(1080, 1920), (360, 640), (64, 64)])
def test_a_window_stays_inside_its_source(size: tuple[int, int]) -> None:
    for seed in range(20):
        at = drift(random.Random(seed), (272, 640), size=size)
        for share in (0.0, 0.5, 1.0):
            left, top = at(share) @ (0, 0, 1)
            right, bottom = at(share) @ (size[1], size[0], 1)
            assert -1e-3 <= left < right <= 640 + 1e-3
            assert -1e-3 <= top < bottom <= 272 + 1e-3
            assert (right - left) / (bottom - top) == pytest.approx(size[1] / size[0], rel=1e-3)


@pytest.fixture
def shots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two flat shots in place of the real ones, which take seconds to draw."""
    flat = [[np.full((90, 160, 3), level, np.uint8)] * 30 for level in (60, 180)]
    monkeypatch.setattr(corpus, "shots_of_reality", lambda: flat)


SMALL = {codec: Edit(codec, 160, 90, 3, (0.8, 1.2), 0.5, 1) for codec in corpus.ENCODERS}


@pytest.mark.usefixtures("shots")
@pytest.mark.parametrize("codec", SMALL)
def test_an_edit_holds_its_frames_and_cuts(codec: str, tmp_path: Path) -> None:
    path = make_edit(tmp_path, SMALL[codec])
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
        assert container.streams.video[0].codec_context.codec.canonical_name == codec
    assert len(frames) == 90 and frames[0].shape == (90, 160)
    levels = np.array([frame.mean() for frame in frames])
    cuts = np.flatnonzero(np.abs(np.diff(levels)) > 50)
    assert len(cuts) >= 2 and np.diff(cuts).min() >= 0.8 * 30
    made_s = path.stat().st_mtime_ns
    assert make_edit(tmp_path, SMALL[codec]).stat().st_mtime_ns == made_s, "made a second time"


@pytest.mark.usefixtures("shots")
def test_the_same_edit_is_the_same_pictures() -> None:
    first, second = (b"".join(pictures(SMALL["h264"])) for _ in range(2))
    assert first == second
    luma = np.frombuffer(first, np.uint8).reshape(90, 135, 160)[:, :90]
    assert 1.0 < luma[0].std() < 3.0, "grain of about two levels"


@pytest.mark.usefixtures("shots")
def test_a_loop_repeats_the_pictures(tmp_path: Path) -> None:
    short = make_edit(tmp_path, SMALL["h264"])
    long = looped(short, seconds=8)
    counted = [cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) for path in (short, long)]
    assert counted[0] == 90 and counted[1] == pytest.approx(240, abs=3)


@pytest.mark.usefixtures("shots")
def test_a_failing_encoder_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(corpus.ENCODERS, "h264", ("-c:v", "no_such_encoder"))
    with pytest.raises(ValueError, match="ffmpeg ended with 1: .*no_such_encoder"):
        make_edit(tmp_path, SMALL["h264"])
    assert not [path for path in tmp_path.rglob("*.mp4") if not path.name.startswith(".tmp-")]


def test_the_shots_are_real() -> None:
    """The wheel's bikes at its cuts, its rabbit, and the kept scenes of the film."""
    shots = corpus.shots_of_reality()
    assert [len(shot) for shot in shots[:6]] == [30, 46, 61, 50, 55, 132]
    assert all(shot[0].std() > 10 for shot in shots) and len(shots) >= 10
