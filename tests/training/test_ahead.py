"""Batches at hand before they are asked for."""

import gc
import multiprocessing
import threading
import time
from typing import Any

import pytest
from torch.utils.data import Dataset

from training.ahead import AheadLoader


class Slow(Dataset):
    """Ten numbers, of which one may be broken; reading takes a while."""

    def __init__(self, broken: int | None = None, seconds: float = 0.0):
        self.broken, self.seconds = broken, seconds

    def __len__(self) -> int:
        return 10

    def __getitem__(self, number: int) -> int:
        time.sleep(self.seconds)
        if number == self.broken:
            raise ValueError(f"number {number} is broken")
        return number


def loader(*given: Any, workers: int = 2, **knobs: Any) -> AheadLoader:
    return AheadLoader(Slow(*given, **knobs), batch_size=None, num_workers=workers)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_it_is_the_loader_that_it_was(workers: int) -> None:
    for _ in range(2):
        assert list(loader(workers=workers)) == list(range(10))
    batches = iter(loader(workers=workers))
    assert [*batches] == list(range(10))
    assert [*batches] == []


def test_what_goes_wrong_is_raised_in_its_place() -> None:
    batches = iter(loader(4))
    assert [next(batches) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="number 4 is broken"):
        next(batches)


def test_batches_are_there_when_they_are_asked_for() -> None:
    batches = iter(loader(seconds=0.05))
    next(batches)
    time.sleep(1.0)
    started = time.perf_counter()
    assert [next(batches), next(batches)] == [1, 2]
    assert time.perf_counter() - started < 0.02


def test_nothing_is_left_of_a_loader_that_nobody_wants_any_more() -> None:
    before = threading.active_count()
    batches = iter(loader())
    next(batches)
    assert multiprocessing.active_children()
    del batches
    gc.collect()
    assert threading.active_count() == before
    assert not multiprocessing.active_children()
