"""A real film of six shots, cut hard at keyframes: 250 frames of 640x272, 25 a second."""

from pathlib import Path

import pytest

from curation.demo.film import wheel_files

STARTS = [0, 30, 76, 137, 187, 242]  # as looked at frame by frame: curation.demo.film.WHEEL_CUTS


@pytest.fixture(scope="session")
def film() -> Path:
    (path,) = (path for path in wheel_files() if path.name == "bikes.mp4")
    return path
