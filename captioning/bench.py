"""What the client costs: the stage beside a plain loop that sends the same requests.

The loop has every request ready before it starts and keeps a fixed number in flight, tried for
several numbers: the fastest is the server's ceiling. The stage finds its own number and keeps its
answers; once it is given the frames, which leaves what the client costs, and once it reads them
from the sources meanwhile, which costs nothing as long as there is a core for it. All ask the same
running server, in turns, after one round that warms its caches for them.
"""

import asyncio
import dataclasses
import os
import statistics
import tempfile
import time
from typing import Any

from captioning import vlm
from captioning.asking import ask_all
from captioning.client import Client
from captioning.describe import Describe, from_model, read_frames
from captioning.driver import units
from captioning.frames import Shown
from curation import pipeline, storage
from curation.stage import Abort

IN_FLIGHT = 4, 8, 16, 32, 64


def bench(stage: Describe, *, data: str, clips: int = 48, rounds: int = 3) -> None:
    """Print clips per second of both and what the stage loses. Raises Abort without a server."""
    stage = dataclasses.replace(stage, vlm=dataclasses.replace(stage.vlm, answers=1))
    if len(stage.server.base_urls) > 1:
        raise ValueError(f"base_urls = {stage.server.base_urls}, expected one server to measure")
    pipeline.check([stage], data=data)
    rows = _rows(stage, data=data)[:clips]
    if not rows:
        raise ValueError(f"{data} holds no clips that filter found eligible; run make split filter")
    before = time.process_time()
    found = read_frames(rows, stage.vlm.frames)
    read = [(row, shown) for row, shown in found if isinstance(shown, Shown)]
    decode_s = time.process_time() - before
    frames = sum(len(shown.jpegs) for _, shown in read)
    print(f"{len(read)} clips, {frames} frames; reading them takes {decode_s:.2f} s of CPU")
    requests = [
        vlm.request(stage.vlm, shown, camera=row.get("camera_motion"), attempt=0)
        for row, shown in read
    ]
    _timed(lambda: _loop(stage, requests, in_flight=IN_FLIGHT[0]))
    best = min(IN_FLIGHT, key=lambda n: _timed(lambda: _loop(stage, requests, in_flight=n)))
    ways = {
        f"plain loop, {best} in flight": lambda: _loop(stage, requests, in_flight=best),
        "the stage, frames given": lambda: _asking(stage, read),
        "the stage": lambda: _stage(stage, [row for row, _ in read]),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            taken[name].append(_timed(way))
    loop_s, *_ = medians = [statistics.median(seconds) for seconds in taken.values()]
    print(f"{'':<34}{'s':>8}{'clips/s':>9}{'/ loop':>8}  goal")
    for name, seconds in zip(ways, medians, strict=True):
        goal = "" if name.startswith("plain") else "  <= 1.10"
        rate = len(read) / seconds
        print(f"{name:<34}{seconds:>8.2f}{rate:>9.2f}{seconds / loop_s:>8.3f}{goal}")


def _rows(stage: Describe, *, data: str) -> list[dict[str, Any]]:
    """The eligible clips as a worker gets them, none of them answered yet."""
    found, _ = units(dataclasses.replace(stage, answers=None), data=data)
    rows = []
    for unit in found:
        assert unit.rows is not None
        tables = [storage.read_table(file).to_pylist() for file in unit.files["clips"]]
        clips = {clip["clip_id"]: clip for table in tables for clip in table}
        rows += [clips[row["clip_id"]] | row for row in unit.rows.to_pylist()]
    for row in rows:
        row["key"] = stage.vlm.key(row["clip_id"], camera=row.get("camera_motion"))
    return rows


def _timed(run: Any) -> float:
    started = time.perf_counter()
    asyncio.run(run())
    return time.perf_counter() - started


async def _loop(stage: Describe, requests: list[dict[str, Any]], *, in_flight: int) -> None:
    from openai import APIError, AsyncOpenAI

    places = asyncio.Semaphore(in_flight)
    url = stage.server.base_urls[0]
    key = os.environ.get(stage.server.api_key_env) or "none"
    async with AsyncOpenAI(base_url=url, api_key=key, timeout=stage.server.timeout_s) as api:

        async def one(request: dict[str, Any]) -> None:
            async with places:
                await api.chat.completions.create(model=stage.vlm.model, **request)

        try:
            await asyncio.gather(*(one(request) for request in requests))
        except APIError as error:
            raise Abort(f"{url} does not answer: {error}") from error


async def _asking(stage: Describe, read: list[tuple[dict[str, Any], Shown]]) -> None:
    async def ask(client: Client, item: tuple[dict[str, Any], Shown]) -> dict[str, Any]:
        row, shown = item
        return await vlm.ask(client, stage.vlm, shown, camera=row.get("camera_motion"))

    items = ((item[0]["key"], item) for item in read)
    with tempfile.TemporaryDirectory(prefix="dailies-") as folder:
        await ask_all(items, ask, model=stage.vlm.model, server=stage.server, kept=folder)


async def _stage(stage: Describe, rows: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory(prefix="dailies-") as folder:
        await from_model(rows, dataclasses.replace(stage, answers=folder))
