"""Lines about servers that a run waits for, from the driver, which has the terminal."""

import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from captioning import watch
from captioning.driver import caption
from captioning.endpoint import Endpoint
from captioning.watch import watching
from tests.captioning.test_client import free_port
from tests.captioning.test_describe import captions, dataset, vlm_stage
from tests.curation.killing import wait_for

__all__ = ["dataset"]  # a fixture


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(watch, "REVIVAL_POLL_S", 0.05)


def test_a_run_says_for_which_server_it_waits_and_that_it_is_back(
    dataset: Path, chat_server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    port = chat_server.http.server_port
    again: list[Any] = []

    def restart() -> None:
        again.append(type(chat_server)(port))
        again[0].script = lambda n, request: time.sleep(1) or {}

    def script(n: int, request: dict[str, Any]) -> dict[str, Any]:
        if n == 0:
            chat_server.stop_listening()
            threading.Timer(1.5, restart).start()
        return {"drop": True}

    chat_server.script = script
    stage = vlm_stage(chat_server, sources=["vlm"], patience_s=60.0)
    caption(stage, data=str(dataset), workers=1)
    again[0].close()
    assert {row["caption"] for row in captions(dataset).values()} == {chat_server.good}
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("http")]
    assert len(said) == 2
    assert re.fullmatch(
        rf"{chat_server.url} does not answer \(.+\); waiting for it, up to 60 s", said[0]
    )
    assert said[1] == f"{chat_server.url} answers again"


def test_each_server_is_told_of_once_and_one_that_answers_never(
    chat_server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = f"http://127.0.0.1:{free_port()}/v1"
    with watching("another model", Endpoint(base_urls=[chat_server.url, dead])):
        time.sleep(1)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 1 and said[0].startswith(f"{dead} does not answer (")


def test_a_server_that_keeps_who_asks_waiting_is_told_of_and_ends_with_the_run(
    chat_server: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("captioning.client.CHECK_TIMEOUT_S", 0.2)
    answer = chat_server.handler.do_GET
    chat_server.handler.do_GET = lambda handler: time.sleep(0.5) or answer(handler)
    said: list[str] = []

    def is_told() -> bool:
        said.extend(capsys.readouterr().out.splitlines())
        return bool(said)

    with watching(chat_server.model, Endpoint(base_urls=[chat_server.url])):
        wait_for("a line about the server", is_told)
        started = time.monotonic()
    assert time.monotonic() - started < 0.4
    assert "timed out" in said[0] and "waiting" not in said[0]
