"""Speaks to vision-language models over the OpenAI API: many requests at once.

Every fault has its place. What is wrong with one clip (a refused request, an answer that is no
caption) is recorded with that clip. What is wrong with the server (down, wrong key, unknown model,
quota used up) would be recorded of every clip; it stops the run with one sentence instead, and the
same command continues.
"""

import asyncio
import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from captioning import prompts
from captioning.text import answer_problem, clean
from curation.stage import Abort

if TYPE_CHECKING:
    from openai import APIError, AsyncOpenAI

RETRIED = {408, 409, 429}  # and every 5xx; other 4xx would be refused again
MAX_BACKOFF_S = 60.0
CHECK_TIMEOUT_S = 20.0  # a busy server still lists its models within a second
MAX_REASON_CHARS = 300  # of a server's own words in a table
# a greedy model gives the same answer again, so a second attempt has to draw another
RETRY_TEMPERATURE = 0.7

Messages = list[dict[str, Any]]


@dataclass(frozen=True)
class Model:
    """What is asked of which model. A change here asks anew."""

    model: str = "Qwen/Qwen3-VL-8B-Instruct"
    """Name under which the server serves it."""
    prompt: str = prompts.DESCRIBE
    """The question that follows the frames."""
    max_frames: int = 8
    """Keyframes per request, spread over the clip when there are more."""
    max_tokens: int = 300
    """Tokens of an answer; one that reaches it is cut short and no caption."""
    temperature: float = 0.2
    """0 always takes the likeliest token, which some models loop on."""
    seed: int = 0
    """Of the sampling; servers that batch requests still do not repeat themselves exactly."""
    answers: int = 3
    """How often to ask when the answer is empty, truncated or garbage, before recording that."""
    extra_body: dict[str, Any] = field(default_factory=dict)
    """Fields of the request beyond OpenAI's, such as vLLM's structured_outputs."""

    def __post_init__(self) -> None:
        if self.max_frames < 1 or self.answers < 1 or self.max_tokens < 1:
            raise ValueError(
                f"max_frames = {self.max_frames}, max_tokens = {self.max_tokens}, "
                f"answers = {self.answers}, "
                "expected 1 or more of each"
            )


@dataclass(frozen=True)
class Endpoint:
    """Where the model is served and how patiently to ask. A change here asks nothing anew."""

    base_urls: list[str] = field(default_factory=lambda: ["http://127.0.0.1:8100/v1"])
    """Servers of the same model, used in turn."""
    api_key_env: str = "DAILIES_VLM_API_KEY"
    """Name of the environment variable that holds the key, if the server wants one."""
    concurrency: int = 16
    """Requests in flight per Ray worker."""
    timeout_s: float = 120
    """Seconds for one request, waiting in the server's queue included."""
    attempts: int = 5
    """Requests for one answer before giving up on timeouts, 429 and 5xx."""
    backoff_s: float = 1
    """Seconds before the second attempt; twice as long before each further one."""

    def __post_init__(self) -> None:
        for url in self.base_urls:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or "@" in parts.netloc:
                raise ValueError(
                    f"base_urls: {url.rpartition('@')[2]!r} is not http://host:port/v1 without a "
                    f"password; a key goes into the environment variable {self.api_key_env}"
                )
        if not self.base_urls or self.concurrency < 1 or self.attempts < 1:
            raise ValueError(
                f"base_urls = {self.base_urls}, concurrency = {self.concurrency}, "
                f"attempts = {self.attempts}, expected at least one of each"
            )


@dataclass(frozen=True)
class Answer:
    """A caption, or why there is none: "reason_code: why"."""

    text: str | None = None
    error: str | None = None


class _Refused(Exception):
    """The server does not answer this request; the others are not concerned."""


class Client:
    """Asks for captions. Use as `async with Client(model, endpoint) as client`."""

    def __init__(self, model: Model, endpoint: Endpoint) -> None:
        self.model, self.endpoint = model, endpoint
        self.slots = asyncio.Semaphore(endpoint.concurrency)
        self.servers: list[AsyncOpenAI] = []

    async def __aenter__(self) -> "Client":
        from openai import AsyncOpenAI

        # local servers take any key, but the library wants one
        key = os.environ.get(self.endpoint.api_key_env) or "none"
        self.servers = [
            AsyncOpenAI(base_url=url, api_key=key, timeout=self.endpoint.timeout_s, max_retries=0)
            for url in self.endpoint.base_urls
        ]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server in self.servers:
            await server.close()

    async def check(self) -> None:
        """Every server answers and serves the model. Raises Abort."""
        from openai import APIError, NotFoundError

        for server, url in zip(self.servers, self.endpoint.base_urls, strict=True):
            try:
                response = await server.models.with_raw_response.list(timeout=CHECK_TIMEOUT_S)
            except NotFoundError:  # some endpoints list nothing; a request will tell
                continue
            except APIError as error:
                raise self._abort(error, url=url) from error
            names = read_models(response.text)
            if names is None:
                raise Abort(f"{url} answers, but not as an OpenAI API; server.base_urls end in /v1")
            if self.model.model not in names:
                raise Abort(
                    f"{url} does not serve {self.model.model!r} but {names}; "
                    "set vlm.model to one of these, or start the server with that model"
                )

    async def caption(self, messages: Callable[[], Messages], *, turn: int) -> Answer:
        """One caption, asked up to `model.answers` times. `turn` spreads clips over the servers.

        The messages are made when a slot is free: thousands of waiting ones need no pictures yet.
        """
        problem = ""
        for attempt in range(self.model.answers):
            try:
                text, finish_reason = await self._ask(messages, turn=turn, answer=attempt)
            except _Refused as refused:
                return Answer(error=str(refused))
            found = answer_problem(text, finish_reason=finish_reason)
            if found is None:
                return Answer(text=clean(text))
            problem = f"{found} ({attempt + 1} of {self.model.answers} tries)"
        return Answer(error=problem)

    async def _ask(
        self, messages: Callable[[], Messages], *, turn: int, answer: int
    ) -> tuple[str, str | None]:
        """One answer, through timeouts, 429 and 5xx. Raises _Refused or Abort."""
        from openai import APIConnectionError, APIError, APIStatusError

        last: APIError | None = None
        url = ""
        for attempt in range(self.endpoint.attempts):
            if last is not None:
                await asyncio.sleep(self._backoff_s(last, attempt=attempt))
            which = (turn + attempt) % len(self.servers)
            server, url = self.servers[which], self.endpoint.base_urls[which]
            try:
                async with self.slots:
                    return await self._request(server, messages(), answer=answer)
            except (APIStatusError, APIConnectionError) as error:
                status = getattr(error, "status_code", None)
                if status in (401, 403, 404):
                    raise self._abort(error, url=url) from error
                if status is not None and status < 500 and status not in RETRIED:
                    raise _Refused(f"vlm_refused: {_words(error)}") from error
                last = error
        assert last is not None
        if getattr(last, "status_code", None) == 429:
            raise self._abort(last, url=url) from last
        await self.check()  # a server that is down is no fault of this clip
        code = "vlm_server_error" if isinstance(last, APIStatusError) else "vlm_no_answer"
        raise _Refused(f"{code}: {_words(last)} ({self.endpoint.attempts} attempts)") from last

    async def _request(
        self, server: "AsyncOpenAI", messages: Messages, *, answer: int
    ) -> tuple[str, str | None]:
        temperature = self.model.temperature
        # the reply as it came: the library's objects take any shape that a server sends
        response = await server.chat.completions.with_raw_response.create(
            model=self.model.model,
            messages=messages,  # pyright: ignore[reportArgumentType]
            max_tokens=self.model.max_tokens,
            temperature=temperature if answer == 0 else max(temperature, RETRY_TEMPERATURE),
            seed=self.model.seed + answer,
            extra_body=self.model.extra_body or None,
        )
        return read_answer(response.text)

    def _backoff_s(self, error: "APIError", *, attempt: int) -> float:
        """Twice as long each time, spread so that waiting clips do not all come back at once."""
        wait_s = self.endpoint.backoff_s * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)
        response = getattr(error, "response", None)
        asked = response.headers.get("retry-after", "") if response is not None else ""
        if asked.isdecimal():
            wait_s = max(wait_s, float(asked))
        return min(wait_s, MAX_BACKOFF_S)

    def _abort(self, error: "APIError", *, url: str) -> Abort:
        """The sentence for a fault that every clip would meet."""
        status = getattr(error, "status_code", None)
        if status in (401, 403):
            return Abort(
                f"{url} refuses the API key ({status}); "
                f"put a valid one into the environment variable {self.endpoint.api_key_env}"
            )
        if status == 404:
            return Abort(
                f"{url} knows no {self.model.model!r} or no chat completions ({_words(error)}); "
                "check vlm.model and server.base_urls"
            )
        if status == 429:
            return Abort(
                f"{url} still refuses requests for their number after {self.endpoint.attempts} "
                f"attempts ({_words(error)}); lower server.concurrency or raise the quota"
            )
        return Abort(
            f"no model server answers at {url} ({_words(error)}); start one with `make serve-vlm`, "
            "or set server.base_urls to one that runs"
        )


def read_answer(body: str) -> tuple[str, str | None]:
    """Text and finish reason of a chat completion. Raises _Refused for anything else."""
    try:
        choice = json.loads(body)["choices"][0]
        text, finish_reason = choice["message"]["content"] or "", choice["finish_reason"]
    except (ValueError, LookupError, TypeError) as error:
        raise _Refused("vlm_not_an_answer: the server's reply is no chat completion") from error
    if not isinstance(text, str):
        raise _Refused("vlm_not_an_answer: the server's reply holds no text")
    return text, finish_reason


def read_models(body: str) -> list[str] | None:
    """Names in a list of models; None where it is none."""
    try:
        return [str(model["id"]) for model in json.loads(body)["data"]]
    except (ValueError, LookupError, TypeError):
        return None


def _words(error: "APIError") -> str:
    """What went wrong in the server's or the network's own words, in one short line."""
    # "Connection error." says less than what it was made from
    told = error if hasattr(error, "status_code") else error.__cause__ or error
    words = clean(str(told)) or clean(str(error))
    return words.replace(";", ",")[:MAX_REASON_CHARS]  # "; " stands between errors
