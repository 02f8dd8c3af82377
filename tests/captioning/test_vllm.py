"""Captions of real clips through a real vLLM server: `make test-vllm`.

The model is a Qwen3-VL of random weights, built on the spot. So this shows that frames go in, that
text comes back and is stored under the right name, and that what is no caption is recorded; it
shows nothing about how good captions are.
"""

import asyncio
import io
import json
import os
import re
import signal
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from captioning import vlm
from captioning.__main__ import main
from captioning.client import Client
from captioning.endpoint import Endpoint
from captioning.frames import Frames, Shown
from captioning.pace import read_load
from captioning.vlm import Model
from curation.dataset import load
from curation.stage import Abort
from tests.captioning.serving import (
    NAME,
    Served,
    build_model,
    real_clips,
    serve,
    stop,
    writable_schema,
)

pytestmark = pytest.mark.vllm

SENTENCE = "[A-Z][a-z]{2,7}( [a-z]{2,7}){3,8}\\."
SMALL = Frames(per_s=2, min_frames=2, max_frames=4, patch_px=32, max_pixels=64 * 32 * 32)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("vllm")
    running = serve(build_model(folder), folder / "log.txt")
    yield running
    stop(running)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return real_clips(tmp_path_factory.mktemp("data"))


def run_caption(served: Served, data: Path, *options: str) -> list[dict[str, Any]]:
    command = ["caption", "--data", str(data), "--workers", "2", "--vlm.model", NAME]
    small = ["--vlm.frames.max_frames", "4", "--vlm.frames.max_pixels", str(64 * 32 * 32)]
    command += [*small, "--server.base_urls", f"[{served.url}]"]
    assert main([*command, *options]) == 0
    table = load(str(data), "captions")
    assert table is not None
    return table.to_pylist()


def test_a_real_server_fills_every_column(served: Served, dataset: Path) -> None:
    body = json.dumps({"response_format": writable_schema()})
    options = ("--vlm.extra_body", body, "--vlm.temperature", "1", "--vlm.max_tokens", "1500")
    rows = run_caption(served, dataset, "--sources", "[vlm]", *options)
    assert len(rows) == 3
    for row in rows:
        assert (row["caption_source"], row["caption_model"]) == ("vlm", NAME)
        assert row["caption_error"] is None and row["error"] is None
        assert row["caption"] == row["caption_dense"] and len(row["caption"].split()) >= 31
        assert re.fullmatch("[A-Z][a-z]+( [a-z]+)+", row["caption_short"])
        assert json.loads(row["caption_fields"])["camera_shot"]
        # four frames of 336 x 192 in pairs, and nothing was scaled again on the way
        assert row["prompt_tokens"] > SMALL.tokens(4, (1280, 720)) and row["answer_tokens"] > 0


TOKENS = (384 // 32) * (288 // 32)  # of a frame, or of a pair in a video


def jpeg(level: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (384, 288), (level * 5 % 255, 80, 120)).save(out, "JPEG")
    return out.getvalue()


def prompt_tokens(served: Served, count: int, *, send_as: Any, **body: Any) -> int:
    """Of a request with so many frames."""
    jpegs, times_s = [jpeg(i) for i in range(count)], [i / 4 for i in range(count)]
    shown = Shown(jpegs, times_s, 12.0, (384, 288))
    body |= {"structured_outputs": {"regex": SENTENCE}}
    asked = Model(
        NAME, structured=False, prompt="What is it?", max_tokens=90, extra_body=body, answers=1,
        frames=Frames(send_as=send_as),
    )  # fmt: skip

    async def run() -> int:
        async with Client(NAME, Endpoint(base_urls=[served.url])) as client:
            return (await vlm.ask(client, asked, shown, camera=None))["prompt_tokens"]

    return asyncio.run(run())


def test_no_frame_is_left_out_silently(served: Served) -> None:
    """Left to itself, vLLM takes the first 32 frames of a video."""
    few, many = (prompt_tokens(served, count, send_as="video") for count in (32, 48))
    assert many - few >= 8 * TOKENS  # eight more pairs
    with pytest.raises(Abort, match="it leaves frames out"):
        prompt_tokens(served, 48, send_as="video", media_io_kwargs={})


def test_a_rate_may_be_told_beside_the_times(served: Served) -> None:
    plain = prompt_tokens(served, 8, send_as="video")
    told = prompt_tokens(served, 8, send_as="video", mm_processor_kwargs={"fps": 0.67})
    assert plain == told


def test_pictures_go_one_by_one(served: Served) -> None:
    one, two = (prompt_tokens(served, count, send_as="images") for count in (1, 2))
    assert two - one >= TOKENS


def test_a_request_over_the_servers_limit_is_recorded(served: Served, dataset: Path) -> None:
    options = ("--sources", "[vlm, measured]", "--vlm.frames.send_as", "images")
    for row in run_caption(served, dataset, *options):
        assert row["caption_source"] == "measured"
        assert re.match("vlm_refused: Error code: 400.*At most 2 image", row["caption_error"])


def test_noise_is_recorded_and_never_stored(served: Served, dataset: Path) -> None:
    options = ("--sources", "[vlm, measured]", "--vlm.structured", "false")
    rows = run_caption(served, dataset, *options, "--vlm.max_tokens", "60", "--vlm.temperature=0")
    for row in rows:
        assert "\ufffd" not in row["caption"]
        if row["caption_source"] == "measured":
            assert re.match("vlm_(garbage|empty|truncated): .*3 of 3 tries", row["caption_error"])
    assert any(row["caption_source"] == "measured" for row in rows)


def test_a_schema_that_is_not_met_is_recorded(served: Served, dataset: Path) -> None:
    """The random model fills 2000 characters with one word, or runs into the limit."""
    rows = run_caption(
        served,
        dataset,
        "--sources",
        "[vlm, measured]",
        "--vlm.max_tokens",
        "200",
        "--vlm.answers=2",
    )
    for row in rows:
        assert row["caption_source"] == "measured" and row["caption_attempts"] == 2
        assert re.match("vlm_truncated: .*2 of 2 tries", row["caption_error"])


def test_another_model_than_the_served_one_is_one_line(
    served: Served, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["caption", "--data", str(dataset), "--sources", "[vlm]", "--vlm.model", "other"]
    assert main([*command, "--server.base_urls", f"[{served.url}]"]) == 1
    assert f"does not serve 'other' but ['{NAME}']" in capsys.readouterr().err


def test_a_prompt_over_the_context_is_one_line(
    served: Served, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["caption", "--data", str(dataset), "--sources", "[vlm]", "--vlm.model", NAME]
    many = ["--vlm.frames.per_s", "60", "--vlm.frames.max_frames", "96"]
    assert main([*command, *many, "--server.base_urls", f"[{served.url}]"]) == 1
    assert "takes 4096 tokens, but" in capsys.readouterr().err


def test_the_clients_cost_is_measured_beside_a_plain_loop(
    served: Served, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["bench", "--data", str(dataset), "--clips", "2", "--sources", "[vlm]"]
    asked = [
        "--vlm.model",
        NAME,
        "--vlm.max_tokens",
        "8",
        "--vlm.frames={per_s: 2, min_frames: 2, max_frames: 2}",
    ]
    assert main([*command, *asked, "--server.base_urls", f"[{served.url}]"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("2 clips, 4 frames; reading them takes ")
    assert [line[:34].strip() for line in said[-2:]] == ["the stage, frames given", "the stage"]
    assert all(float(line[34:].split()[2]) > 0 for line in said[-2:])


def metrics(served: Served) -> str:
    root = served.url.removesuffix("/v1")
    with urllib.request.urlopen(f"{root}/metrics", timeout=20) as page:
        return page.read().decode()


def answered(served: Served) -> int:
    counts = re.findall(r"^vllm:request_success_total{.*} (\S+)$", metrics(served), re.M)
    return round(sum(map(float, counts)))


def test_a_server_killed_and_started_again_loses_nothing(
    served: Served, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = real_clips(tmp_path / "data", count=24)
    assert read_load(metrics(served)) is not None
    before, again = answered(served), []

    def kill_and_restart() -> None:
        while answered(served) < before + 3:  # some answers are there, others under way
            pass
        os.killpg(served.vllm_pid, signal.SIGKILL)
        served.process.wait(60)
        again.append(serve(served.model, served.log, port=served.port))

    restarting = threading.Thread(target=kill_and_restart)
    restarting.start()
    options = ("--vlm.structured", "false", "--vlm.max_tokens", "90")
    body = json.dumps({"structured_outputs": {"regex": SENTENCE}})
    rows = run_caption(
        served, data, "--sources", "[vlm]", *options, "--vlm.extra_body", body,
        "--server.concurrency", "2", "--server.queue", "1", "--server.max_concurrency", "4",
    )  # fmt: skip
    restarting.join()
    # the rest of the tests, and the fixture's end, speak to the new one
    served.process, served.vllm_pid = again[0].process, again[0].vllm_pid
    assert len(rows) == 24 and all(re.fullmatch(SENTENCE, row["caption"]) for row in rows)
    assert answered(served) <= 21  # what was answered before the kill was not asked again


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
