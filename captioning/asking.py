"""What asking a model takes, whatever it is asked: about many things at once, each until there is
an answer worth keeping, and what that costs.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa

from captioning.answers import Journal
from captioning.client import Client
from captioning.endpoint import Endpoint, Refused, Reply, Request
from captioning.text import CaptionError

# a greedy model gives the same answer again, so a second attempt has to draw another
RETRY_TEMPERATURE = 0.7
TOKENS = ("prompt_tokens", "answer_tokens")
AHEAD = 4  # requests that are made ready before there is room at a server
WORDS_TOKENS = 1.4  # English prose, per word, in the vocabularies of Qwen and Llama
MAY_PASS = frozenset({"vlm_no_answer", "vlm_server_error"})
"""Codes of Refused behind which a server may be that is well again by the next run."""

Row = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Writer:
    """Knobs of any model that writes text. A change here asks anew."""

    model: str = "Qwen/Qwen3-VL-8B-Instruct"
    """Name under which the server serves it."""
    max_tokens: int = 512
    """Tokens of an answer; one that reaches it is cut short and not used."""
    temperature: float = 0.2
    """0 always takes the likeliest token, which some models loop on."""
    seed: int = 0
    """Of the sampling; servers that batch requests still do not repeat themselves exactly."""
    answers: int = 3
    """How often to ask when the answer is empty, truncated or garbage, before recording that."""
    extra_body: dict[str, Any] = field(default_factory=dict)
    """Fields of the request beyond OpenAI's, such as vLLM's chat_template_kwargs."""

    def __post_init__(self) -> None:
        if self.answers < 1 or self.max_tokens < 1:
            raise ValueError(
                f"max_tokens = {self.max_tokens}, answers = {self.answers}, expected 1 or more"
            )

    def drawn(self, attempt: int) -> Request:
        """Fields of a request that say how its answer is drawn; attempt: from 0."""
        return {
            "max_tokens": self.max_tokens,
            "temperature": self.temperature if attempt == 0 else RETRY_TEMPERATURE,
            "seed": self.seed + attempt,
        }


async def until_valid(
    client: Client,
    request: Callable[[int], Request],
    check: Callable[[Reply], object],
    *,
    answers: int,
) -> Row:
    """The columns of an answer (captioning.answers): the first one that passes, or why none did.

    request: of an attempt, from 0; check: raises CaptionError. Raises Refused or Abort.
    """
    row: Row = {"text": None, "error": None, "prompt_tokens": 0, "answer_tokens": 0}
    for attempt in range(answers):
        reply = await client.chat(partial(request, attempt))
        row["attempts"] = attempt + 1
        row["prompt_tokens"] += reply.prompt_tokens or 0
        row["answer_tokens"] += reply.answer_tokens or 0
        try:
            check(reply)
        except CaptionError as problem:
            row["error"] = f"{problem} ({attempt + 1} of {answers} tries)"
        else:
            return row | {"text": reply.text, "error": None}
    return row


async def ask_all(
    items: Iterator[tuple[str, T]],
    ask: Callable[[Client, T], Awaitable[Row]],
    *,
    model: str,
    server: Endpoint,
    kept: str | None = None,
    prefix: str = "",
) -> tuple[dict[str, Row], dict[str, str]]:
    """(answers, "reason_code: why" of those refused), both by the key of the item.

    As many are asked at once as the servers take, while the next items are read in a thread.
    kept: folder that every answer is put into at once, in files whose names begin with prefix.
    Raises Abort.
    """
    answers: dict[str, Row] = {}
    refused: dict[str, str] = {}
    tasks: set[asyncio.Task[None]] = set()

    async def one(key: str, item: T) -> None:
        try:
            answer = await ask(client, item)
        except Refused as error:
            refused[key] = str(error)
            return
        answers[key] = answer | {"key": key, "model": model}
        journal.add(answers[key])

    item = await asyncio.to_thread(next, items, None)
    if item is None:  # all answers are kept: no server need be there
        return {}, {}
    with Journal(kept, prefix=prefix) as journal:
        flushing = asyncio.create_task(journal.flush_regularly())
        async with Client(model, server) as client:
            try:
                while item is not None:
                    tasks.add(asyncio.create_task(one(*item)))
                    tasks = await _room(tasks, limit=client.room + AHEAD)
                    item = await asyncio.to_thread(next, items, None)
                await _room(tasks, limit=1)
            finally:
                tasks.add(flushing)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
    return answers, refused


async def _room(tasks: "set[asyncio.Task[None]]", *, limit: int) -> "set[asyncio.Task[None]]":
    """Wait until fewer than `limit` tasks are left. Raises what one of them raised."""
    while len(tasks) >= limit:
        done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    return tasks


async def check_servers(model: str, server: Endpoint, *, needs_tokens: int | None = None) -> None:
    """Every server answers and serves the model. Raises Abort."""
    async with Client(model, server) as client:
        await client.check(needs_tokens=needs_tokens)


def at_most(prompt: int, answers: int, *, times: int, what: str, knob: str) -> str:
    """Ends an estimate of tokens: what they come to where no answer is of use."""
    if times == 1:
        return ""
    return (
        f"; at most {times * prompt:,} and {times * answers:,}, where every {what} is asked about "
        f"{times} times ({knob})"
    )


def spent_now(
    written: pa.Table, kept: Iterable[Row | None], *, names: Sequence[str] = TOKENS
) -> dict[str, float]:
    """Tokens in a table's columns, without those of kept answers, which were spent before."""
    before = [answer for answer in kept if answer]
    return {
        kind: sum(n or 0 for n in written[name].to_pylist()) - sum(a[kind] or 0 for a in before)
        for kind, name in zip(TOKENS, names, strict=True)
    }


def spending(
    tally: dict[str, float], *, usd_per_hour: float | None, seconds: float, share: float
) -> str:
    """Tokens per second, and the money spent and to be spent. tally: of tokens, by kind."""
    parts = []
    if tokens := sum(tally.values()):
        parts.append(f"{tokens / seconds:,.0f} tokens/s")
    if usd_per_hour and share:
        spent = seconds / 3600 * usd_per_hour
        parts.append(f"${spent:.2f} spent, ${spent / share - spent:.2f} to go")
    return ", ".join(parts)
