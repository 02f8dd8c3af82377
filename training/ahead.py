"""A loader that has the next batch at hand: a thread takes it from the reading processes while the
step before it computes.

To take a batch means to wake a process, and to be woken by it, which takes some milliseconds where
all cores are busy. PyTorch has such a thread for pinned memory and no other.
"""

import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

BATCHES = 2
"""At hand; the reading processes hold more."""
LOOK_S = 0.2
"""How often a thread whose batches nobody takes looks whether anybody is still there."""


class AheadLoader(DataLoader):
    """A DataLoader whose batches wait for the step, where it has reading processes, and which
    measures how long the step waits for them.
    """

    waited_s = 0.0

    def __iter__(self) -> Any:
        batches: Iterator = super().__iter__()
        if self.num_workers:
            batches = Ahead(batches)
        while True:
            started_s = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            finally:
                self.waited_s += time.perf_counter() - started_s
            yield batch


class Ahead:
    """An iterator that a thread runs ahead of; what the thread raises is raised here."""

    def __init__(self, batches: Iterator):
        self.ready: queue.Queue = queue.Queue(BATCHES)
        self.stop, self.ended = threading.Event(), False
        knobs = (batches, self.ready, self.stop)
        self.thread = threading.Thread(
            target=run_ahead, args=knobs, name="batches ahead", daemon=True
        )
        self.thread.start()

    def __iter__(self) -> "Ahead":
        return self

    def __next__(self) -> Any:
        if self.ended:
            raise StopIteration
        batch, problem = self.ready.get()
        if problem is None:
            return batch
        self.ended = True
        try:
            raise problem
        finally:
            del problem  # or it and this frame would hold each other, and the workers

    def __del__(self) -> None:
        self.stop.set()
        self.thread.join()


def run_ahead(batches: Iterator, ready: queue.Queue, stop: threading.Event) -> None:
    """Fill the queue until the batches end or nobody wants them; it knows no `Ahead`, which could
    not be let go of else.
    """
    ended = False
    while not ended and not stop.is_set():
        entry: tuple[Any, BaseException | None]
        try:
            entry = (next(batches), None)
        except BaseException as problem:  # whatever it is, it is not this thread's to handle
            own = problem.__traceback__
            entry = (None, problem.with_traceback(own and own.tb_next))
            ended = True
        while not stop.is_set():
            try:
                ready.put(entry, timeout=LOOK_S)
                break
            except queue.Full:
                pass
