"""Exact clips: the planned frames and no others, in every reader, from every kind of source."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.bench.exact import SPANS, measure
from curation.bench.known import COPIED, ENCODED, Known
from curation.bench.mixed import MORE, SOURCES, film, make
from curation.bench.readers import by_decord_at_random, installed

ROUTES = {
    # where the shots' own bounds carry a keyframe, and where none does
    "h264 scene cut": ("copy", "copy", "smart", "smart", "smart", "encode", "smart", "encode"),
    "h264 fixed": ("copy", "smart", "smart", "smart", "smart", "copy", "smart", "encode"),
    "h264 open": ("copy", *["encode"] * 7),  # H.264 cannot say that a group is broken off
    "hevc open": ("smart", "smart", "smart", "smart", "smart", "copy", "smart", "encode"),
    "vp9 alt-ref": ("copy", "smart", "smart", "smart", "smart", "copy", "smart", "encode"),
    "av1": ("encode",) * 8,
    "h264 long": ("copy", *["encode"] * 7),
    "h264 edit list": ("smart", "smart", "encode", "smart", "smart", "encode", "smart", "encode"),
    "hevc ten bits": ("copy", "smart", "smart", "smart", "smart", "copy", "smart", "encode"),
}


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return film()


def test_neighbouring_frames_of_the_film_differ_by_more_than_is_tolerated(
    frames: np.ndarray,
) -> None:
    steps = np.abs(np.diff(frames.astype(np.int16), axis=0)).mean(axis=(1, 2, 3))
    assert steps.min() > 2 * ENCODED


def assert_exact(known: Known, start: int, end: int, *, folder: Path, **knobs: Any) -> str:
    """Cut a clip, have all readers read it, return the route."""
    clip = known.cut(start, end, **knobs)
    path = folder / "clip.mp4"
    path.write_bytes(clip.data)
    assert b"elst" not in clip.data
    limit = COPIED if clip.route == "copy" else ENCODED
    for name, read in (installed() | {"decord at random": by_decord_at_random}).items():
        found = read(path)
        if knobs.get("mode") == "copy":
            found = found[clip.first_frame :][: end - start]
        wrong = known.wrong(found, start, end, limit=limit)
        assert wrong is None, f"[{start}, {end}) by {clip.route} in {name}: {wrong}"
    assert (clip.reason is None) == (clip.route == "copy")
    return clip.route


@pytest.mark.parametrize("name", SOURCES)
def test_clips_are_exact_in_every_reader(tmp_path: Path, frames: np.ndarray, name: str) -> None:
    known = Known(make(tmp_path / "source", SOURCES[name], frames))
    found = [assert_exact(known, *span, folder=tmp_path) for span in SPANS]
    assert tuple(found) == ROUTES[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE)
def test_clips_of_other_sources_are_exact_in_every_reader(
    tmp_path: Path, frames: np.ndarray, name: str
) -> None:
    known = Known(make(tmp_path / "source", MORE[name], frames))
    found = [
        assert_exact(known, *span, folder=tmp_path) for span in SPANS if span[1] <= known.num_frames
    ]
    assert tuple(found) == ROUTES.get(name, tuple(found))


@pytest.mark.slow
def test_clips_of_real_footage_are_exact_in_every_reader(footage: Path) -> None:
    found = Counter()
    for path in sorted(footage.glob("*.[mwao3]*")):  # videos; the others are tables and texts
        measured = measure(path, [], installed())
        assert measured.wrong == []
        found += measured.routes
    assert set(found) == {"copy", "smart", "encode"}
