"""Speaks to model servers over the OpenAI API: many requests at once, at several servers.

Every fault has its place. What is wrong with one request (refused, no answer after all attempts) is
the request's. What is wrong with a server (down, wrong key, unknown model, quota used up) would be
recorded of every clip: one that is down is waited for, for as long as `patience_s` says, while the
other servers go on, and everything else stops the run with one sentence; the same command
continues.
"""

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from captioning.endpoint import (
    UNTRUSTED,
    Endpoint,
    Refused,
    Reply,
    Request,
    abort,
    read_models,
    read_reply,
    words,
)
from captioning.pace import LOOK_EVERY_S, Pace, read_load
from curation.stage import Abort

if TYPE_CHECKING:
    from openai import APIError, AsyncOpenAI

RETRIED = {408, 409, 429}  # and every 5xx; other 4xx would be refused again
STOPPING = {401, 402, 403, 404}  # every clip would meet them
MAX_BACKOFF_S = 60.0
CHECK_TIMEOUT_S = 20.0  # a busy server still lists its models within a second
REVIVAL_POLL_S = 1.0
LOOK_TIMEOUT_S = 5.0  # for /metrics


class _Server:
    """One server of a client: its connection, its pace, and who waits for it to come back."""

    def __init__(self, url: str, api: "AsyncOpenAI", endpoint: Endpoint) -> None:
        self.url, self.api = url, api
        limit = _LIMITS.get(url, endpoint.concurrency)
        self.pace = Pace(limit=limit, most=endpoint.max_concurrency, queue=endpoint.queue)
        self.revival: asyncio.Task[None] | None = None
        self.failures = 0  # 5xx and timeouts since the last answer
        self.rests_until = 0.0  # on the monotonic clock, where another server can be asked

    @property
    def is_up(self) -> bool:
        return self.revival is None

    @property
    def is_resting(self) -> bool:
        return time.monotonic() < self.rests_until

    def failed(self) -> None:
        """A server that fails at once is always the emptiest: it would swallow every request."""
        self.failures += 1
        self.rests_until = time.monotonic() + min(MAX_BACKOFF_S, 2.0**self.failures)

    def answered(self) -> None:
        self.failures, self.rests_until = 0, 0.0


_LIMITS: dict[str, int] = {}
"""Where a server's limit stood when this process last spoke to it."""


def connect(url: str, endpoint: Endpoint) -> "AsyncOpenAI":
    """A connection to one server. Use as `async with`, or close it."""
    from openai import AsyncOpenAI

    # local servers take any key, but the library wants one
    key = os.environ.get(endpoint.api_key_env) or "none"
    return AsyncOpenAI(base_url=url, api_key=key, timeout=endpoint.timeout_s, max_retries=0)


async def served(api: "AsyncOpenAI", *, url: str, model: str) -> dict[str, int | None] | None:
    """Names of the models that a server lists and the tokens that each takes; None where it lists
    none. Raises Abort where ours is not among them.
    """
    from openai import NotFoundError

    try:
        response = await api.models.with_raw_response.list(timeout=CHECK_TIMEOUT_S)
    except NotFoundError as error:  # some endpoints list nothing; a request will tell
        if not url.rstrip("/").endswith("/v1"):
            raise Abort(f"{url} has no list of models; server.base_urls end in /v1") from error
        return None
    models = read_models(response.text)
    if models is None:
        raise Abort(f"{url} answers, but not as an OpenAI API; server.base_urls end in /v1")
    if model not in models:
        raise Abort(
            f"{url} does not serve {model!r} but {list(models)}; set vlm.model or llm.model of the "
            "config to one of these, or start the server with that model"
        )
    return models


class Client:
    """Sends requests. Use as `async with Client(model, endpoint) as client`."""

    def __init__(self, model: str, endpoint: Endpoint) -> None:
        self.model, self.endpoint = model, endpoint
        self.servers: list[_Server] = []
        self._watch: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Client":
        for url in self.endpoint.base_urls:
            self.servers.append(_Server(url, connect(url, self.endpoint), self.endpoint))
        self._watch = asyncio.create_task(self._look_at_queues())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        for server in self.servers:
            _LIMITS[server.url] = server.pace.limit
            if server.revival is not None:
                server.revival.cancel()
                with contextlib.suppress(asyncio.CancelledError, Abort):
                    await server.revival
            await server.api.close()

    @property
    def room(self) -> int:
        """Requests that the servers take at once, as far as is known now."""
        return sum(server.pace.limit for server in self.servers)

    async def check(self, *, needs_tokens: int | None = None) -> None:
        """Every server answers, serves the model, and has room for a prompt and answer of
        needs_tokens. Raises Abort.
        """
        from openai import APIError

        for server in self.servers:
            try:
                models = await served(server.api, url=server.url, model=self.model)
            except APIError as error:
                raise self._abort(error, server) from error
            limit = (models or {}).get(self.model)
            if needs_tokens and limit and needs_tokens > limit:
                raise Abort(
                    f"{server.url} takes {limit} tokens, but the frames, the question and the "
                    f"answer may need {needs_tokens}; lower frames.max_frames or "
                    "frames.max_pixels, or serve with a larger --max-model-len"
                )

    # -- requests ----------------------------------------------------------------------------------

    async def chat(self, request: Callable[[], Request]) -> Reply:
        """One answer, through timeouts, 429, 5xx and servers that restart. Raises Refused or Abort.

        The request is made when there is room for it: thousands of waiting ones need no pictures.
        """
        from openai import APIConnectionError, APIError, APIStatusError, APITimeoutError

        last: APIError | None = None
        attempts = refusals = 0
        patience_until: float | None = None  # with a server that says 429
        while attempts < self.endpoint.attempts:
            if last is not None:
                await asyncio.sleep(self._backoff_s(last, attempt=attempts + refusals))
            server = await self._server()
            try:
                async with server.pace.place():
                    if server.is_resting and any(
                        s.is_up and not s.is_resting for s in self.servers
                    ):
                        continue  # it has failed while we waited for a place there
                    reply = await self._request(server, request())
                await server.pace.succeeded()
                server.answered()
                return reply
            except (APIStatusError, APIConnectionError) as error:
                status = getattr(error, "status_code", None)
                if status in STOPPING or UNTRUSTED in str(error):
                    raise self._abort(error, server) from error
                if status is not None and status < 500 and status not in RETRIED:
                    raise Refused(f"vlm_refused: {words(error)}") from error
                last = error
                if status == 429:  # no fault of the request: a quota a minute passes
                    refusals += 1
                    await server.pace.refused()
                    now = time.monotonic()
                    patience_until = patience_until or now + self.endpoint.patience_s
                    if now >= patience_until:
                        raise self._abort(error, server) from error
                    continue
                attempts += 1
                server.failed()
                if status is None and not isinstance(error, APITimeoutError):
                    self._is_down(server)
        assert last is not None
        code = "vlm_server_error" if isinstance(last, APIStatusError) else "vlm_no_answer"
        raise Refused(f"{code}: {words(last)} ({self.endpoint.attempts} attempts)") from last

    async def _server(self) -> _Server:
        """The server with most room; where all are down, the first that is there again.

        Raises Abort where none is for as long as the endpoint's patience lasts.
        """
        while not (up := [server for server in self.servers if server.is_up]):
            revivals = [server.revival for server in self.servers if server.revival]
            waiting = [revival for revival in revivals if not revival.done()]
            if not waiting:
                revivals[0].result()  # raises what ended the wait
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        now = time.monotonic()
        return min(up, key=lambda server: (max(0.0, server.rests_until - now), server.pace.share))

    def _is_down(self, server: _Server) -> None:
        if server.is_up:
            server.revival = asyncio.create_task(self._revive(server))

    async def _revive(self, server: _Server) -> None:
        """Return when a server that was down serves the model again. Raises Abort."""
        from openai import APIError

        until = time.monotonic() + self.endpoint.patience_s
        while True:
            try:
                await served(server.api, url=server.url, model=self.model)
                break
            except APIError as error:
                if time.monotonic() >= until:
                    raise self._abort(error, server) from error
            await asyncio.sleep(min(REVIVAL_POLL_S, self.endpoint.backoff_s))
        server.revival = None

    async def _request(self, server: _Server, request: Request) -> Reply:
        # the reply as it came: the library's objects take any shape that a server sends
        create: Any = server.api.chat.completions.with_raw_response.create
        response = await create(model=self.model, **request)
        return read_reply(response.text)

    async def _look_at_queues(self) -> None:
        """Set the servers' paces by what they say of their queues, for as long as this runs."""
        import httpx2

        async with httpx2.AsyncClient(timeout=LOOK_TIMEOUT_S) as web:

            async def watch(server: _Server) -> None:
                root = server.url.removesuffix("/").removesuffix("/v1")
                while True:
                    with contextlib.suppress(httpx2.HTTPError):
                        page = await web.get(f"{root}/metrics")
                        if page.status_code == 200 and (load := read_load(page.text)):
                            await server.pace.look(load)
                    await asyncio.sleep(LOOK_EVERY_S)

            await asyncio.gather(*(watch(server) for server in self.servers))

    def _backoff_s(self, error: "APIError", *, attempt: int) -> float:
        """Twice as long each time, spread so that waiting clips do not all come back at once."""
        wait_s = self.endpoint.backoff_s * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)
        response = getattr(error, "response", None)
        asked = response.headers.get("retry-after", "") if response is not None else ""
        if asked.isdecimal():
            wait_s = max(wait_s, float(asked))
        return min(wait_s, MAX_BACKOFF_S)

    def _abort(self, error: "APIError", server: _Server) -> Abort:
        return abort(error, url=server.url, model=self.model, endpoint=self.endpoint)
