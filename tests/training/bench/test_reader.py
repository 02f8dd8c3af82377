"""The comparison of readers on a real dataset: both read the same samples."""

from pathlib import Path

import pytest

from training.bench.reader import Planned, Streamed, as_frames, run
from training.curriculum import View
from training.index import load_index
from training.models.patches import Grid


def test_both_hand_over_the_same(dataset: Path) -> None:
    index = load_index(str(dataset))
    both = {"index": index, "grid": Grid(4, 8, (1, 2, 2)), "view": View(max_frames=5)}

    def take(number: int, sample: dict[str, bytes]) -> tuple:
        return number, sample, as_frames(number, sample, **both)

    ours = Planned(index, take)[tuple(range(6))]
    theirs = next(iter(Streamed(index, take)))
    assert len(theirs) == 16  # of six samples, again and again
    for one, other in zip(ours, theirs[:6], strict=True):
        assert one[:2] == other[:2]
        assert one[2].equal(other[2])


def test_figures_are_printed(dataset: Path, capsys: pytest.CaptureFixture) -> None:
    run(str(dataset), samples=32, decoded=32, rounds=2, workers=(0,))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("6 samples of ")
    assert [line.split(",")[0] for line in lines[2:]] == ["read", "decoded"]
    assert all(float(word) > 0 for line in lines[2:] for word in line.split()[-1:])
