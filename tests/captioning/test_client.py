"""The client against a real HTTP server that answers by script."""

import asyncio
import dataclasses
import json
import socket
from typing import Any

import pytest

from captioning import prompts
from captioning.client import Answer, Client, Endpoint, Model, read_models
from curation.stage import Abort

ASKED = prompts.messages("Describe.", jpegs=[b"a jpeg"], times_s=[0.5], length_s=2.0)


def ask(server: Any, *, clips: int = 1, **knobs: Any) -> list[Answer]:
    names = {f.name for f in dataclasses.fields(Model)}
    model = Model(**{"model": server.model} | {k: v for k, v in knobs.items() if k in names})
    endpoint = {"base_urls": [server.url], "backoff_s": 0.01, "timeout_s": 10.0, "attempts": 3}
    endpoint |= {k: v for k, v in knobs.items() if k not in names}

    async def run() -> list[Answer]:
        async with Client(model, Endpoint(**endpoint)) as client:
            return await asyncio.gather(
                *(client.caption(lambda: ASKED, turn=i) for i in range(clips))
            )

    return asyncio.run(run())


def test_an_answer_becomes_one_clean_line(chat_server: Any) -> None:
    chat_server.script = lambda n, request: {"text": " A boat.\n\nIt\tmoves. "}
    assert ask(chat_server, max_tokens=77, seed=5) == [Answer("A boat. It moves.")]
    (request,) = chat_server.requests
    assert (request["model"], request["max_tokens"], request["seed"]) == (chat_server.model, 77, 5)
    assert request["messages"] == json.loads(json.dumps(ASKED))


def test_frames_travel_as_data_uris_with_their_times() -> None:
    (message,) = prompts.messages("Q?", jpegs=[b"\xff\xd8", b"x"], times_s=[0.04, 1.25], length_s=3)
    times, first, _, question = message["content"]
    assert times["text"] == "2 frames of a clip of 3.0 s, taken at 0.0, 1.2 s."
    assert first["image_url"]["url"] == "data:image/jpeg;base64,/9g="
    assert question["text"] == "Q?"
    (still,) = prompts.messages("Q?", jpegs=[b"x"], times_s=[0.0], length_s=0)
    assert still["content"][0]["text"] == "One still picture."


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_passing_faults_are_tried_again(chat_server: Any, status: int) -> None:
    chat_server.script = lambda n, request: {"status": status if n < 2 else 200}
    assert ask(chat_server) == [Answer(chat_server.good)]
    assert len(chat_server.requests) == 3


def test_a_timeout_is_tried_again(chat_server: Any) -> None:
    chat_server.script = lambda n, request: {"hang": n == 0}
    assert ask(chat_server, timeout_s=0.5) == [Answer(chat_server.good)]


@pytest.mark.parametrize(
    ("reply", "code"),
    [({"status": 500}, "vlm_server_error"), ({"hang": True}, "vlm_no_answer")],
)
def test_a_fault_that_stays_is_recorded_while_the_server_lives(
    chat_server: Any, reply: dict[str, Any], code: str
) -> None:
    chat_server.script = lambda n, request: reply
    (answer,) = ask(chat_server, attempts=2, timeout_s=0.3)
    assert answer.text is None and answer.error is not None
    assert answer.error.startswith(f"{code}: ") and answer.error.endswith("(2 attempts)")


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_request_is_recorded_and_not_repeated(chat_server: Any, status: int) -> None:
    chat_server.script = lambda n, request: {"status": status}
    (answer,) = ask(chat_server)
    assert answer.text is None and answer.error is not None
    assert answer.error.startswith(f"vlm_refused: Error code: {status}")
    assert "as scripted" in answer.error
    assert len(chat_server.requests) == 1


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ({"text": ""}, "vlm_empty"),
        ({"text": None}, "vlm_empty"),
        ({"text": "A boat cros", "finish_reason": "length"}, "vlm_truncated"),
        ({"text": "b\ufffdat"}, "vlm_garbage"),
        ({"text": "<|endoftext|>"}, "vlm_garbage"),
    ],
)
def test_what_is_no_caption_is_asked_again_and_then_recorded(
    chat_server: Any, reply: dict[str, Any], code: str
) -> None:
    chat_server.script = lambda n, request: reply
    (answer,) = ask(chat_server, answers=3, temperature=0, seed=7)
    assert answer.text is None and (answer.error or "").startswith(f"{code}: ")
    # the same seed at temperature 0 would give the same answer again
    drawn = [(request["seed"], request["temperature"]) for request in chat_server.requests]
    assert drawn == [(7, 0), (8, 0.7), (9, 0.7)]


def test_a_second_answer_that_is_good_is_taken(chat_server: Any) -> None:
    chat_server.script = lambda n, request: {"text": "" if n == 0 else "A boat."}
    assert ask(chat_server) == [Answer("A boat.")]


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
    assert (answer.error or "").startswith("vlm_not_an_answer: ")


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "THE_KEY"), (403, "THE_KEY"), (404, "vlm.model"), (429, "server.concurrency")],
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
    answers = ask(chat_server, clips=24, concurrency=3)
    assert answers == [Answer(chat_server.good)] * 24
    assert chat_server.most_in_flight <= 3


def test_a_server_that_asks_to_wait_is_given_its_time() -> None:
    import httpx2
    from openai import RateLimitError

    response = httpx2.Response(
        429, headers={"retry-after": "7"}, request=httpx2.Request("POST", "http://x")
    )
    error = RateLimitError("slow down", response=response, body=None)
    client = Client(Model(), Endpoint(backoff_s=1))
    assert client._backoff_s(error, attempt=1) == 7
    assert client._backoff_s(error, attempt=20) == 60


def check(url: str, *, model: str) -> None:
    async def run() -> None:
        async with Client(Model(model=model), Endpoint(base_urls=[url])) as client:
            await client.check()

    asyncio.run(run())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_check_passes_where_the_model_is_served(chat_server: Any) -> None:
    check(chat_server.url, model=chat_server.model)


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
    with pytest.raises(Abort, match="make serve-vlm") as caught:
        check(url, model="any")
    assert url in str(caught.value)


def test_a_server_that_goes_down_on_the_way_stops_the_run(chat_server: Any) -> None:
    chat_server.close()
    with pytest.raises(Abort, match="no model server answers"):
        ask(chat_server, clips=3)


def test_another_server_takes_over_from_one_that_is_down(chat_server: Any) -> None:
    dead = f"http://127.0.0.1:{free_port()}/v1"
    answers = ask(chat_server, clips=4, base_urls=[chat_server.url, dead])
    assert answers == [Answer(chat_server.good)] * 4
