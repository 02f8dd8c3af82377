"""Captions through vLLM behind Ray Serve: configs/captioning/ray-serve.yaml, sized for a CPU.

The model is the tiny one of test_vllm.py. Needs `python -m captioning install --env .venv-vllm-ray
--ray`.
"""

import asyncio
import contextlib
import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from captioning.__main__ import main
from captioning.client import Client
from captioning.endpoint import Endpoint
from captioning.frames import Frames
from captioning.install import has_ray
from captioning.pace import Pace
from captioning.serve import Server, environment
from curation.dataset import load
from tests.captioning.serving import NAME, ROOT, START_S, real_clips, writable_schema

pytestmark = pytest.mark.vllm

ENV = ROOT / ".venv-vllm-ray"
CONFIG = ROOT / "configs" / "captioning" / "ray-serve.yaml"
MAX_MODEL_LEN = 4096
ONGOING = 2  # requests at the replica, and as many waiting for it
CPU_KWARGS = {  # as captioning.serve has them
    "enforce_eager": True,
    "enable_chunked_prefill": False,
    "max_num_batched_tokens": MAX_MODEL_LEN,
}
SMALL = Frames(per_s=2, min_frames=2, max_frames=4, patch_px=32, max_pixels=64 * 32 * 32)
BUILD = """
import json, sys, yaml
from ray.serve.llm import LLMConfig, build_openai_app
from ray.serve.schema import ServeDeploySchema

schema = ServeDeploySchema.model_validate(yaml.safe_load(open(sys.argv[1])))
arguments = schema.applications[0].args
build_openai_app(arguments)
engine = LLMConfig.model_validate(arguments["llm_configs"][0]).get_engine_config()
print(json.dumps([engine.placement_bundles, engine.frontend_kwargs]))
"""


@dataclass
class Served:
    url: str


def sized_for_a_cpu(model: Path, port: int) -> dict[str, Any]:
    """The config with one replica of the tiny model on a CPU, and short queues."""
    config = yaml.safe_load(CONFIG.read_text())
    config["http_options"] = {"host": "127.0.0.1", "port": port}
    arguments = config["applications"][0]["args"]
    (llm,) = arguments["llm_configs"]
    llm["model_loading_config"] = {"model_id": NAME, "model_source": str(model)}
    llm["placement_group_config"] = {"bundles": [{"CPU": 1}]}
    on_cpu = environment(Server(model=str(model), cpu_cache_gb=1), device="cpu")
    llm["runtime_env"]["env_vars"] |= on_cpu
    deployment = llm["deployment_config"]
    deployment["autoscaling_config"] |= {"min_replicas": 1, "max_replicas": 1}
    deployment |= {"max_ongoing_requests": ONGOING, "max_queued_requests": ONGOING}
    deployment["backpressure_config"]["retry_after_s"] = 1
    sizes = {"max_model_len": MAX_MODEL_LEN, "limit_mm_per_prompt": {"image": 2, "video": 1}}
    llm["engine_kwargs"] |= sizes | CPU_KWARGS
    no_core_of_its_own = {"num_replicas": 1, "ray_actor_options": {"num_cpus": 0}}
    arguments["ingress_deployment_config"] |= no_core_of_its_own
    return config


def need_environment() -> None:
    if not has_ray(ENV):
        made_by = f"python -m captioning install --env {ENV.name} --ray"
        pytest.skip(f"{ENV} holds no vLLM with Ray Serve; make it with: {made_by}")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    need_environment()
    folder = tmp_path_factory.mktemp("ray-serve")
    builder = Path(__file__).with_name("tiny_vlm.py")
    subprocess.run([ENV / "bin" / "python", builder, folder / "model"], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config, log = folder / "serve.yaml", folder / "log.txt"
    config.write_text(yaml.safe_dump(sized_for_a_cpu(folder / "model", port)))
    serve = [ENV / "bin" / "python", ENV / "bin" / "serve", "run", "--address", "local", config]
    with log.open("w") as out:
        process = subprocess.Popen(
            serve, cwd=folder, stdout=out, stderr=out, start_new_session=True
        )
    try:
        wait_until_it_answers(process, f"http://127.0.0.1:{port}/v1", log)
        yield Served(f"http://127.0.0.1:{port}/v1")
    finally:
        process.terminate()
        process.wait(60)


def wait_until_it_answers(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """/v1/models is there before the model; a question waits in Serve until there is a replica."""
    asked = {"model": NAME, "messages": [{"role": "user", "content": "?"}], "max_tokens": 1}
    request = urllib.request.Request(
        f"{url}/chat/completions", json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    until = time.monotonic() + float(START_S)
    while time.monotonic() < until:
        with contextlib.suppress(OSError):  # nobody listens yet, or there is no route
            urllib.request.urlopen(request, timeout=float(START_S)).close()
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.5)
            break
    pytest.fail(log.read_text()[-3000:])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return real_clips(tmp_path_factory.mktemp("data"))


def command(served: Served, data: Path, *options: str, model: str = NAME) -> list[str]:
    small = ["--vlm.frames.max_frames", "4", "--vlm.frames.max_pixels", str(64 * 32 * 32)]
    line = ["caption", "--data", str(data), "--workers", "2", "--vlm.model", model, *small]
    return [*line, "--server.base_urls", f"[{served.url}]", *options]


def test_the_config_as_it_is_asks_for_a_gpu_per_replica() -> None:
    need_environment()
    built = subprocess.run(
        [ENV / "bin" / "python", "-c", BUILD, CONFIG], stdout=subprocess.PIPE, check=True, text=True
    )
    bundles, frontend = json.loads(built.stdout.splitlines()[-1])
    assert bundles == [{"GPU": 1}]
    assert frontend == {"trust_request_mm_kwargs": True}


def test_frames_and_schema_reach_the_model(served: Served, dataset: Path) -> None:
    body = json.dumps({"response_format": writable_schema()})
    options = ("--vlm.extra_body", body, "--vlm.temperature", "1", "--vlm.max_tokens", "1500")
    assert main(command(served, dataset, "--sources", "[vlm]", *options)) == 0
    table = load(str(dataset), "captions")
    assert table is not None and table.num_rows == 3
    for row in table.to_pylist():
        assert (row["caption_source"], row["caption_model"]) == ("vlm", NAME)
        assert row["caption_error"] is None and len(row["caption_dense"].split()) >= 31
        assert json.loads(row["caption_fields"])["camera_shot"]
        # frames with their times: vLLM took the request's own media_io_kwargs
        assert row["prompt_tokens"] > SMALL.tokens(4, (1280, 720)) and row["answer_tokens"] > 0


def test_a_request_over_the_servers_limit_is_recorded(served: Served, dataset: Path) -> None:
    options = ("--sources", "[vlm, measured]", "--vlm.frames.send_as", "images")
    assert main(command(served, dataset, *options)) == 0
    table = load(str(dataset), "captions")
    assert table is not None and table.num_rows == 3
    for row in table.to_pylist():
        assert row["caption_source"] == "measured"
        assert row["caption_error"].startswith("vlm_refused: Error code: 400")
        assert "At most 2 image" in row["caption_error"]


@pytest.mark.parametrize(
    ("options", "model", "words"),
    [
        ([], "other", f"does not serve 'other' but ['{NAME}']"),
        (
            ["--vlm.frames.per_s", "60", "--vlm.frames.max_frames", "96"],
            NAME,
            f"takes {MAX_MODEL_LEN} tokens, but",
        ),
    ],
)
def test_what_every_clip_would_meet_is_one_line(
    served: Served,
    dataset: Path,
    options: list[str],
    model: str,
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(command(served, dataset, "--sources", "[vlm]", *options, model=model)) == 1
    assert words in capsys.readouterr().err


def test_refusals_slow_the_client_down_and_every_request_is_answered(served: Served) -> None:
    question = {"role": "user", "content": "Describe this clip."}
    long = {"messages": [question], "max_tokens": 200, "extra_body": {"ignore_eos": True}}
    at_once = 4 * ONGOING

    async def run() -> tuple[list[int | None], Pace]:
        endpoint = Endpoint(base_urls=[served.url], concurrency=at_once)
        async with Client(NAME, endpoint) as client:
            pace = client.servers[0].pace
            replies = await asyncio.gather(*(client.chat(lambda: long) for _ in range(at_once)))
            return [reply.answer_tokens for reply in replies], pace

    lengths, pace = asyncio.run(run())
    assert lengths == [200] * at_once
    assert not pace.is_metered and pace.limit < at_once
