"""Fixtures that several packages' tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def footage() -> Path:
    """The shared real footage; tests that need it are skipped where it is not at hand."""
    folder = Path(os.environ.get("DAILIES_FOOTAGE", ROOT.parent / "shared" / "footage"))
    if not folder.is_dir():
        pytest.skip(f"no footage in {folder}; set DAILIES_FOOTAGE to a folder of it")
    return folder


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One Ray on two CPUs for all tests that run stages in this process."""
    from curation import pipeline

    pipeline.connect(2)
    yield
    import ray

    ray.shutdown()
