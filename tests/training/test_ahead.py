"""Batches at hand before they are asked for."""

import gc
import multiprocessing
import threading
import time
from collections.abc import Iterator

import pytest
from torch.utils.data import Dataset

from training.ahead import BATCHES, Ahead, AheadLoader


class Slow(Dataset):
    """Ten numbers; reading takes a while."""

    def __init__(self, seconds: float):
        self.seconds = seconds

    def __len__(self) -> int:
        return 10

    def __getitem__(self, number: int) -> int:
        time.sleep(self.seconds)
        return number


def loader(*, workers: int = 2, seconds: float = 0.0) -> AheadLoader:
    return AheadLoader(Slow(seconds), batch_size=None, num_workers=workers)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_it_is_the_loader_that_it_was(workers: int) -> None:
    for _ in range(2):
        assert list(loader(workers=workers)) == list(range(10))
    batches = iter(loader(workers=workers))
    assert [*batches] == list(range(10))
    assert [*batches] == []


def test_what_goes_wrong_is_raised_in_its_place() -> None:
    def numbers() -> Iterator[int]:
        yield from range(4)
        raise ValueError("number 4 is broken")

    batches = Ahead(numbers())
    assert [next(batches) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="number 4 is broken"):
        next(batches)
    assert [*batches] == []


def test_batches_are_there_when_they_are_asked_for() -> None:
    given = threading.Event()

    def numbers() -> Iterator[int]:
        for number in range(9):
            if number == BATCHES:
                given.set()  # as many are at hand as there is room for, and nobody asked
            yield number

    batches = Ahead(numbers())
    assert given.wait(60)
    assert [*batches] == list(range(9))


def test_time_waited_for_batches_is_that_of_the_reader() -> None:
    slow = loader(seconds=0.2, workers=0)
    started_s = time.perf_counter()
    batches = iter(slow)
    next(batches)
    time.sleep(0.5)  # the step's own time
    next(batches)
    assert 0.4 <= slow.waited_s <= time.perf_counter() - started_s - 0.5


def test_nothing_is_left_of_a_loader_that_nobody_wants_any_more() -> None:
    batches = iter(loader())
    next(batches)
    (thread,) = (one for one in threading.enumerate() if one.name == "batches ahead")
    assert multiprocessing.active_children()
    del batches
    gc.collect()
    assert not thread.is_alive()
    assert not multiprocessing.active_children()
