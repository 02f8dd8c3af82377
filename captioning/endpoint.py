"""Where models are served, what comes back from there, and the sentences for what does not."""

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from captioning.text import clean
from curation.stage import Abort

if TYPE_CHECKING:
    from openai import APIError

MAX_REASON_CHARS = 300  # of a server's own words in a table
UNTRUSTED = "trust-request-mm-kwargs"  # vLLM's words where it takes no media_io_kwargs

Request = dict[str, Any]
"""Fields of a chat completion, but for the model."""


@dataclass(frozen=True)
class Endpoint:
    """Where the model is served and how patiently to ask. A change here asks nothing anew."""

    base_urls: list[str] = field(default_factory=lambda: ["http://127.0.0.1:8100/v1"])
    """Servers of the same model; each request goes to the one with most room."""
    api_key_env: str = "DAILIES_VLM_API_KEY"
    """Name of the environment variable that holds the key, if the server wants one."""
    concurrency: int = 16
    """Requests in flight at each server to begin with, of the whole run: its workers share them."""
    max_concurrency: int = 256
    """Requests in flight at each server at most, of the whole run, but one of each worker."""
    queue: int = 8
    """Requests that may wait at a server; between one and so many always do (vLLM's /metrics)."""
    timeout_s: float = 300
    """Seconds for one request, waiting in the server's queue included."""
    attempts: int = 5
    """Requests for one answer before giving up on timeouts, 429 and 5xx."""
    backoff_s: float = 1
    """Seconds before the second attempt; twice as long before each further one."""
    patience_s: float = 600
    """Seconds to wait for a server that is down, before the run stops."""
    usd_per_hour: float | None = None
    """Price of all the servers together, for the money that the progress bar shows."""

    def __post_init__(self) -> None:
        for url in self.base_urls:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or "@" in parts.netloc:
                raise ValueError(
                    f"base_urls: {url.rpartition('@')[2]!r} is not http://host:port/v1 without a "
                    f"password; a key goes into the environment variable {self.api_key_env}"
                )
        counts = (self.concurrency, self.max_concurrency, self.queue, self.attempts)
        if not self.base_urls or min(counts) < 1:
            raise ValueError(
                f"base_urls = {self.base_urls}, concurrency = {self.concurrency}, max_concurrency "
                f"= {self.max_concurrency}, queue = {self.queue}, attempts = {self.attempts}, "
                "expected at least one of each"
            )

    def divided(self, workers: int) -> "Endpoint":
        """For each of so many workers, which ask the same servers."""
        begin, most = (max(1, n // workers) for n in (self.concurrency, self.max_concurrency))
        return replace(self, concurrency=begin, max_concurrency=most)


@dataclass(frozen=True)
class Reply:
    """What a server answered."""

    text: str
    finish_reason: str | None
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    top_logprobs: list[dict[str, float]] = field(default_factory=list)
    """Per token of the answer, where asked for: token -> log-probability of the likeliest ones."""


class Refused(Exception):
    """A server does not answer this request ("reason_code: why"); others are not concerned."""


def read_reply(body: str) -> Reply:
    """A chat completion. Raises Refused for anything else."""
    try:
        found = json.loads(body)
        choice = found["choices"][0]
        text, finish_reason = choice["message"]["content"] or "", choice["finish_reason"]
        usage = found.get("usage") or {}
        tokens = (choice.get("logprobs") or {}).get("content") or []
        top = [{one["token"]: one["logprob"] for one in t["top_logprobs"]} for t in tokens]
        counts = usage.get("prompt_tokens"), usage.get("completion_tokens")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Refused("vlm_not_an_answer: the server's reply is no chat completion") from error
    if not isinstance(text, str):
        raise Refused("vlm_not_an_answer: the server's reply holds no text")
    return Reply(text, finish_reason, *counts, top)


def read_models(body: str) -> dict[str, int | None] | None:
    """Names in a list of models -> most tokens of prompt and answer where that is said; None where
    it is no list.
    """
    try:
        return {str(model["id"]): _most_tokens(model) for model in json.loads(body)["data"]}
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def _most_tokens(model: dict[str, Any]) -> int | None:
    metadata = model.get("metadata")  # of Ray Serve LLM, which has no max_model_len
    beside = metadata.get("max_request_context_length") if isinstance(metadata, dict) else None
    return model.get("max_model_len", beside)


def words(error: "APIError") -> str:
    """What went wrong in the server's or the network's own words, in one short line."""
    # "Connection error." says less than what it was made from
    told = error if hasattr(error, "status_code") else error.__cause__ or error
    line = clean(str(told)) or clean(str(error))
    return line.replace(";", ",")[:MAX_REASON_CHARS]  # "; " stands between errors


def abort(error: "APIError", *, url: str, model: str, endpoint: Endpoint) -> Abort:
    """The sentence for a fault that every clip would meet."""
    status = getattr(error, "status_code", None)
    if status in (401, 403):
        return Abort(
            f"{url} refuses the API key ({status}); "
            f"put a valid one into the environment variable {endpoint.api_key_env}, on every "
            "machine of a cluster"
        )
    if status == 404:
        return Abort(
            f"{url} knows no {model!r} or no chat completions ({words(error)}); "
            "check the config's vlm.model or llm.model, and server.base_urls"
        )
    if status == 402:
        return Abort(
            f"{url} wants to be paid first (402, {words(error)}); the answers so far are kept"
        )
    if status == 429:
        return Abort(
            f"{url} has refused requests for their number for {endpoint.patience_s:g} s "
            f"({words(error)}); lower server.max_concurrency, raise the quota or "
            "server.patience_s"
        )
    if UNTRUSTED in str(error):
        return Abort(
            f"{url} does not let a request say when its frames were taken; start vLLM with "
            f"--{UNTRUSTED} (make serve-vlm does), or set frames.send_as: images"
        )
    return Abort(
        f"no model server answers at {url} ({words(error)}); start one with "
        f"`make serve-vlm MODEL={model}`, or set the config's server.base_urls, and vlm.model or "
        "llm.model, to one that runs"
    )
