"""How many requests may be in flight, by what a server says of its queue."""

import asyncio
from typing import Any

import pyarrow as pa
import pytest

from captioning.asking import spent_now
from captioning.pace import Load, Pace, read_load

METRICS = """\
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 7.0
vllm:num_requests_running{engine="1",model_name="m"} 5.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="m"} 3.0
vllm:num_requests_waiting{engine="1",model_name="m"} 0.0
"""


def test_a_servers_engines_are_added_up() -> None:
    assert read_load(METRICS) == Load(running=12, waiting=3)
    assert read_load("# nothing of vLLM's\nup 1\n") is None
    assert read_load("<html>welcome</html>") is None


def limits(pace: Pace, *looks: Any) -> list[int]:
    """The limit after each look at (requests in flight, waiting)."""

    async def run() -> list[int]:
        found = []
        for in_flight, waiting in looks:
            pace.in_flight = in_flight
            await pace.look(Load(running=in_flight - waiting, waiting=waiting))
            found.append(pace.limit)
        return found

    return asyncio.run(run())


def test_the_limit_grows_while_none_waits_and_all_places_are_taken() -> None:
    pace = Pace(limit=4, most=20, queue=8)
    assert limits(pace, (3, 0), (4, 0), (5, 0), (6, 0)) == [4, 5, 6, 8]
    # a quarter at a time, at most half of what may wait, and never above the most
    assert limits(Pace(limit=64, most=70, queue=8), (64, 0), (68, 0), (70, 0)) == [68, 70, 70]


def test_the_limit_shrinks_once_by_what_is_too_much() -> None:
    pace = Pace(limit=40, most=64, queue=8)
    # what is on its way cannot be taken back, and is not counted again while it drains
    assert limits(pace, (40, 20), (38, 18), (34, 14), (28, 8)) == [28, 28, 28, 28]
    assert limits(pace, (28, 3), (28, 0)) == [28, 32]
    assert limits(Pace(limit=2, most=9, queue=1), (2, 60)) == [1]


def test_without_metrics_refusals_and_answers_set_the_pace() -> None:
    async def run() -> list[int]:
        pace, found = Pace(limit=8, most=64, queue=8), []
        await pace.refused()
        found.append(pace.limit)
        for _ in range(9):
            await pace.succeeded()
        return [*found, pace.limit]

    assert asyncio.run(run()) == [4, 6]  # one more after 4 answers, and after 5


@pytest.mark.parametrize(("kept", "paid"), [([], (30.0, 6.0)), ([{"n": 1}], (20.0, 4.0))])
def test_tokens_of_kept_answers_are_not_spent_again(kept: list[Any], paid: tuple) -> None:
    written = pa.table({"prompt_tokens": [10, 20, None], "answer_tokens": [2, 4, None]})
    known = [{"prompt_tokens": 10, "answer_tokens": 2} for _ in kept]
    found = spent_now(written, [*known, None])
    assert (found["prompt_tokens"], found["answer_tokens"]) == paid
