"""A small real HTTP server that speaks the OpenAI API and answers by script."""

import json
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

MODEL = "answers-by-script"


@dataclass
class Reply:
    """What the server sends for one chat request."""

    text: str | None = "A red boat crosses a lake."
    status: int = 200
    finish_reason: str = "stop"
    raw: bytes | None = None
    hang: bool = False
    drop: bool = False
    hold: int = 0
    """Answer only when so many requests have been in flight at once."""
    prompt_tokens: int | None = None
    top_logprobs: dict[str, float] | None = None
    """Probability of each token that the first one of the answer might have been."""


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that give up close their connections; the default prints a traceback each."""


class ChatServer:
    """Listens on a port of this machine.

    `script` gives the fields of the Reply to the n-th chat request, from 0.
    """

    model = MODEL
    good = Reply().text

    def __init__(self, port: int = 0) -> None:
        self.script: Callable[[int, dict[str, Any]], dict[str, Any]] = lambda n, request: {}
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.lock = threading.Condition()
        self.release = threading.Event()
        self.in_flight = self.most_in_flight = 0
        self.waiting: Callable[[], int] | None = None  # the queue in /metrics; None: it has none
        self.handler = type("Handler", (_Handler,), {"chat": self})
        self.http = _Http(("127.0.0.1", port), self.handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def stop_listening(self) -> None:
        """As if its process were gone: connections that stand are dropped by their handlers."""
        self.http.shutdown()
        self.http.server_close()

    def close(self) -> None:
        self.release.set()
        self.stop_listening()


class _Handler(BaseHTTPRequestHandler):
    chat: ChatServer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self._send_metrics()
            return
        if self.path != "/v1/models":
            self._send(404, {})
            return
        served = {"id": MODEL, "object": "model", "max_model_len": 4096}
        self._send(200, {"object": "list", "data": [served]})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.chat.lock:
            number = len(self.chat.requests)
            self.chat.requests.append(request)
            self.chat.keys.append(self.headers["authorization"])
            self.chat.in_flight += 1
            self.chat.most_in_flight = max(self.chat.most_in_flight, self.chat.in_flight)
            self.chat.lock.notify_all()
        reply = Reply(**self.chat.script(number, request))
        if reply.hang:
            self.chat.release.wait()
        with self.chat.lock:
            self.chat.lock.wait_for(lambda: self.chat.most_in_flight >= reply.hold, timeout=30)
            self.chat.in_flight -= 1
        if reply.hang or reply.drop:
            return  # who asked has given up, or gets no answer
        if reply.raw is not None:
            self._send_bytes(reply.status, reply.raw, "text/html")
        elif reply.status != 200:
            said = "as scripted" if reply.text == ChatServer.good else reply.text
            self._send(reply.status, {"error": {"message": said}})
        else:
            message = {"role": "assistant", "content": reply.text}
            choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason}
            if reply.top_logprobs:
                likely = [
                    {"token": token, "logprob": math.log(p)}
                    for token, p in reply.top_logprobs.items()
                ]
                choice["logprobs"] = {"content": [{"top_logprobs": likely}]}
            usage = {"prompt_tokens": reply.prompt_tokens, "completion_tokens": 9}
            answer = {"id": "1", "object": "chat.completion", "choices": [choice]}
            self._send(200, answer | ({"usage": usage} if reply.prompt_tokens else {}))

    def _send_metrics(self) -> None:
        if self.chat.waiting is None:
            self._send(404, {})
            return
        with self.chat.lock:
            waiting = self.chat.waiting()
            running = self.chat.in_flight - waiting
        lines = [
            f'vllm:num_requests_running{{engine="0",model_name="m"}} {running}.0',
            f'vllm:num_requests_waiting{{engine="0",model_name="m"}} {waiting}.0',
        ]
        self._send_bytes(200, "\n".join([*lines, ""]).encode(), "text/plain")

    def _send(self, status: int, body: dict[str, Any]) -> None:
        self._send_bytes(status, json.dumps(body).encode(), "application/json")

    def _send_bytes(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def chat_server() -> Iterator[ChatServer]:
    server = ChatServer()
    yield server
    server.close()
