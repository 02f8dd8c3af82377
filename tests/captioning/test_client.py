"""The client against a real HTTP server that answers by script."""

import asyncio
import socket
from typing import Any

import pytest

from captioning.client import Client
from captioning.endpoint import Endpoint, Refused, read_models
from curation.stage import Abort

ASKED = {"messages": [{"role": "user", "content": "Describe."}], "max_tokens": 9}


def ask(server: Any, *, clips: int = 1, **knobs: Any) -> list[str]:
    """The text of each answer, or why there is none."""
    endpoint = {"base_urls": [server.url], "backoff_s": 0.01, "timeout_s": 10.0, "attempts": 3}
    endpoint |= {"patience_s": 0.2} | knobs

    async def one(client: Client) -> str:
        try:
            return (await client.chat(lambda: ASKED)).text
        except Refused as refused:
            return str(refused)

    async def run() -> list[str]:
        async with Client(server.model, Endpoint(**endpoint)) as client:
            return await asyncio.gather(*(one(client) for _ in range(clips)))

    return asyncio.run(run())


def test_a_request_goes_out_as_it_is(chat_server: Any) -> None:
    assert ask(chat_server) == [chat_server.good]
    (request,) = chat_server.requests
    assert request == ASKED | {"model": chat_server.model}


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_passing_faults_are_tried_again(chat_server: Any, status: int) -> None:
    chat_server.script = lambda n, request: {"status": status if n < 2 else 200}
    assert ask(chat_server) == [chat_server.good]
    assert len(chat_server.requests) == 3


def test_a_timeout_is_tried_again(chat_server: Any) -> None:
    chat_server.script = lambda n, request: {"hang": n == 0}
    assert ask(chat_server, timeout_s=0.5) == [chat_server.good]


@pytest.mark.parametrize(
    ("reply", "code"),
    [({"status": 500}, "vlm_server_error"), ({"hang": True}, "vlm_no_answer")],
)
def test_a_fault_that_stays_is_recorded_while_the_server_lives(
    chat_server: Any, reply: dict[str, Any], code: str
) -> None:
    chat_server.script = lambda n, request: reply
    (answer,) = ask(chat_server, attempts=2, timeout_s=0.3)
    assert answer.startswith(f"{code}: ") and answer.endswith("(2 attempts)")


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_request_is_recorded_and_not_repeated(chat_server: Any, status: int) -> None:
    chat_server.script = lambda n, request: {"status": status}
    (answer,) = ask(chat_server)
    assert answer.startswith(f"vlm_refused: Error code: {status}") and "as scripted" in answer
    assert len(chat_server.requests) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"<html>welcome</html>",
        b'{"choices": [',
        b"null",
        b"[]",
        b'{"choices": []}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"content": [1]}, "finish_reason": "stop"}]}',
    ],
)
def test_a_reply_that_is_none_of_the_api_is_recorded(chat_server: Any, body: bytes) -> None:
    chat_server.script = lambda n, request: {"raw": body}
    (answer,) = ask(chat_server)
    assert answer.startswith("vlm_not_an_answer: ")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "THE_KEY"),
        (402, "paid first"),
        (403, "THE_KEY"),
        (404, "vlm.model or llm.model"),
        (429, "max_concurrency"),
    ],
)
def test_what_every_clip_would_meet_stops_the_run(
    chat_server: Any, status: int, words: str
) -> None:
    chat_server.script = lambda n, request: {"status": status}
    with pytest.raises(Abort, match=words) as caught:
        ask(chat_server, clips=5, api_key_env="THE_KEY")
    assert chat_server.url in str(caught.value)


def test_the_key_comes_from_the_environment(
    chat_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEY", "secret-1")
    ask(chat_server, api_key_env="THE_KEY")
    ask(chat_server, api_key_env="ANOTHER_KEY")
    assert chat_server.keys == ["Bearer secret-1", "Bearer none"]


def test_requests_in_flight_are_bounded(chat_server: Any) -> None:
    answers = ask(chat_server, clips=24, concurrency=2, max_concurrency=3)
    assert answers == [chat_server.good] * 24
    assert chat_server.most_in_flight <= 3


def test_more_are_sent_while_none_waits_and_fewer_while_many_do(chat_server: Any) -> None:
    """A server that works on 12 at once: the others wait, and its metrics say so."""
    chat_server.waiting = lambda: max(0, chat_server.in_flight - 12)
    chat_server.script = lambda n, request: {"hold": 14} if n < 60 else {}
    assert len(ask(chat_server, clips=80, concurrency=2, queue=4)) == 80
    assert 14 <= chat_server.most_in_flight <= 12 + 4


def test_a_server_that_asks_to_wait_is_given_its_time() -> None:
    import httpx2
    from openai import RateLimitError

    response = httpx2.Response(
        429, headers={"retry-after": "7"}, request=httpx2.Request("POST", "http://x")
    )
    error = RateLimitError("slow down", response=response, body=None)
    client = Client("any", Endpoint(backoff_s=1))
    assert client._backoff_s(error, attempt=1) == 7
    assert client._backoff_s(error, attempt=20) == 60


def check(url: str, *, model: str, needs_tokens: int | None = None) -> None:
    async def run() -> None:
        async with Client(model, Endpoint(base_urls=[url])) as client:
            await client.check(needs_tokens=needs_tokens)

    asyncio.run(run())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_check_passes_where_the_model_is_served(chat_server: Any) -> None:
    check(chat_server.url, model=chat_server.model)


def test_an_address_without_its_end_is_one_sentence(chat_server: Any) -> None:
    with pytest.raises(Abort, match="has no list of models; server.base_urls end in /v1"):
        check(chat_server.url.removesuffix("/v1"), model=chat_server.model)


def test_check_names_the_models_that_are_served(chat_server: Any) -> None:
    with pytest.raises(Abort, match=f"does not serve 'other' but .*{chat_server.model}"):
        check(chat_server.url, model="other")


@pytest.mark.parametrize("body", ["<html></html>", "null", "[]", '{"data": [{}]}'])
def test_lists_that_are_no_lists_of_models(body: str) -> None:
    assert read_models(body) is None


@pytest.mark.parametrize("url", ["127.0.0.1:8100/v1", "http://me:secret@host/v1", "file:///etc"])
def test_addresses_that_are_none_are_refused_without_repeating_a_secret(url: str) -> None:
    with pytest.raises(ValueError, match="environment variable") as caught:
        Endpoint(base_urls=[url])
    assert "secret" not in str(caught.value)


def test_check_says_which_server_is_down_and_how_to_start_one() -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(
        Abort, match="make serve-vlm MODEL=any`.* server.base_urls.* llm.model"
    ) as caught:
        check(url, model="any")
    assert url in str(caught.value)


def test_a_server_that_goes_down_on_the_way_stops_the_run(chat_server: Any) -> None:
    chat_server.close()
    with pytest.raises(Abort, match="no model server answers"):
        ask(chat_server, clips=3)


def test_another_server_takes_over_from_one_that_is_down(chat_server: Any) -> None:
    dead = f"http://127.0.0.1:{free_port()}/v1"
    answers = ask(chat_server, clips=4, base_urls=[chat_server.url, dead])
    assert answers == [chat_server.good] * 4


def test_a_server_that_fails_at_once_does_not_swallow_the_requests(chat_server: Any) -> None:
    """It is always the emptier one of the two."""
    broken = type(chat_server)()
    broken.script = lambda n, request: {"status": 500}
    chat_server.script = lambda n, request: {"hold": 2} if n < 2 else {}
    urls = [broken.url, chat_server.url]
    answers = ask(chat_server, clips=40, base_urls=urls, concurrency=2, max_concurrency=2)
    broken.close()
    assert answers == [chat_server.good] * 40
    assert len(broken.requests) < 20


def test_two_servers_share_the_requests(chat_server: Any) -> None:
    other = type(chat_server)()
    for server in (chat_server, other):
        server.script = lambda n, request: {"hold": 3} if n < 3 else {}
    urls = [chat_server.url, other.url]
    assert ask(chat_server, clips=12, base_urls=urls, concurrency=3) == [chat_server.good] * 12
    other.close()
    assert len(chat_server.requests) >= 3 and len(other.requests) >= 3


def test_a_quota_a_minute_is_waited_for(chat_server: Any) -> None:
    chat_server.script = lambda n, request: {"status": 429 if n < 9 else 200}
    assert ask(chat_server, attempts=2, patience_s=20.0) == [chat_server.good]
    assert len(chat_server.requests) == 10


def test_a_server_that_comes_back_is_waited_for(chat_server: Any) -> None:
    """Killed while requests are in flight, and started again on the same port."""
    port = chat_server.http.server_port
    again: list[Any] = []

    def script(n: int, request: dict[str, Any]) -> dict[str, Any]:
        if n == 3:
            chat_server.stop_listening()
            again.append(type(chat_server)(port))
        return {"drop": n <= 3}

    chat_server.script = script
    assert ask(chat_server, clips=6, patience_s=20.0) == [chat_server.good] * 6
    assert len(again[0].requests) >= 4
    again[0].close()


def test_two_servers_that_stay_away_end_the_run_without_spinning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One is given up before the other: the wait for that one goes on, and takes no CPU."""
    waits = 0
    wait = asyncio.wait

    async def counted(*tasks: Any, **how: Any) -> Any:
        nonlocal waits
        waits += 1
        return await wait(*tasks, **how)

    monkeypatch.setattr(asyncio, "wait", counted)
    urls = [f"http://127.0.0.1:{free_port()}/v1" for _ in range(2)]
    revive = Client._revive

    async def later(client: Client, server: Any) -> None:
        if server.url == urls[1]:
            first = client.servers[0].revival
            assert first is not None
            await wait([first])
        await revive(client, server)

    monkeypatch.setattr(Client, "_revive", later)

    class Nobody:
        url, model = urls[0], "any"

    with pytest.raises(Abort, match="no model server answers"):
        ask(Nobody(), clips=2, base_urls=urls, patience_s=0.1)
    assert waits < 20


def test_a_prompt_that_the_server_has_no_room_for_is_one_sentence(chat_server: Any) -> None:
    check(chat_server.url, model=chat_server.model, needs_tokens=4096)
    with pytest.raises(Abort, match="takes 4096 tokens, but .* may need 4097; lower frames"):
        check(chat_server.url, model=chat_server.model, needs_tokens=4097)


def test_a_server_that_trusts_no_request_with_times_stops_the_run(chat_server: Any) -> None:
    words = "mm_processor_kwargs needs --trust-request-mm-kwargs"
    chat_server.script = lambda n, request: {"status": 400, "text": words}
    with pytest.raises(Abort, match="start vLLM with --trust-request-mm-kwargs"):
        ask(chat_server)
