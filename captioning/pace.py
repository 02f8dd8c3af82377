"""How many requests may be in flight at a server: as many as keep its queue short and never empty.

vLLM says in its metrics how many requests it works on and how many wait. While none waits the limit
grows, since the server could start another one; while more wait than the bound it shrinks, since
waiting takes memory here and patience there. Several clients of one server look at the same queue,
so that they share it without knowing of each other. Servers without metrics are paced by their
refusals: half as many after a 429, one more after as many answers as there are requests in flight.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

GROWTH = 0.25  # of the limit per look at a server with an empty queue; at most half the bound
LOOK_EVERY_S = 0.5  # a page of metrics takes vLLM 10 ms
RUNNING, WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"


@dataclass(frozen=True)
class Load:
    """What a server says of itself."""

    running: int
    waiting: int


def read_load(metrics: str) -> Load | None:
    """From the text of /metrics, all engines together; None where a server does not say."""
    from prometheus_client.parser import text_string_to_metric_families

    sums = {RUNNING: 0.0, WAITING: 0.0}
    found = set()
    # of some 900 lines; to parse them all would take as long as to send a request
    lines = [line for line in metrics.splitlines() if line.startswith((RUNNING, WAITING))]
    try:
        for family in text_string_to_metric_families("\n".join([*lines, ""])):
            for sample in family.samples:
                if sample.name in sums:
                    sums[sample.name] += sample.value
                    found.add(sample.name)
    except ValueError:  # no metrics but a page of something else
        return None
    return Load(int(sums[RUNNING]), int(sums[WAITING])) if len(found) == 2 else None


class Pace:
    """The limit of requests in flight at one server, and who waits for a place."""

    def __init__(self, *, limit: int, most: int, queue: int) -> None:
        self.limit, self.most, self.queue = min(limit, most), most, queue
        self.in_flight = 0
        self.answered = 0
        self.is_metered = False
        self._place = asyncio.Condition()

    @property
    def share(self) -> float:
        """How full it is."""
        return self.in_flight / self.limit

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait until there is a place, and give it back afterwards."""
        async with self._place:
            await self._place.wait_for(lambda: self.in_flight < self.limit)
            self.in_flight += 1
        try:
            yield
        finally:
            async with self._place:
                self.in_flight -= 1
                self._place.notify_all()

    async def look(self, load: Load) -> None:
        """Adapt to the server's queue."""
        self.is_metered = True
        if load.waiting > self.queue:
            # what is on its way cannot be taken back: the limit shrinks once by what is too much
            await self.set(min(self.limit, self.in_flight - (load.waiting - self.queue)))
        elif load.waiting == 0 and self.in_flight >= self.limit:
            step = min(round(GROWTH * self.limit), self.queue // 2)
            await self.set(self.limit + max(1, step))

    async def refused(self) -> None:
        """A server without a queue to look at has said 429."""
        self.answered = 0
        await self.set(self.limit // 2)

    async def succeeded(self) -> None:
        self.answered += 1
        if not self.is_metered and self.answered >= self.limit:
            self.answered = 0
            await self.set(self.limit + 1)

    async def set(self, limit: int) -> None:
        async with self._place:
            self.limit = min(self.most, max(1, limit))
            self._place.notify_all()
