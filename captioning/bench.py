"""What the client costs: the stage beside a plain loop that sends the same requests.

The loop has every request ready before it starts and keeps a fixed number in flight, tried for
several numbers: the fastest is the server's ceiling. The stage reads the frames from the source,
finds its own number and keeps its answers. Both ask the same running server, in turns, after one
round that warms its caches for both.
"""

import asyncio
import dataclasses
import statistics
import tempfile
import time
from typing import Any

from captioning import vlm
from captioning.describe import Describe, from_model, read_frames
from captioning.driver import units
from curation import storage
from curation.stage import Abort

IN_FLIGHT = 4, 8, 16, 32, 64


def bench(stage: Describe, *, data: str, clips: int = 48, rounds: int = 3) -> None:
    """Print clips per second of both and what the stage loses. Raises Abort without a server."""
    stage = dataclasses.replace(stage, vlm=dataclasses.replace(stage.vlm, answers=1))
    rows = _rows(stage, data=data)[:clips]
    if not rows:
        raise ValueError(f"{data} holds no clips that filter found eligible; run make split filter")
    before = time.process_time()
    read = [(row, shown) for row, shown in read_frames(rows, stage.vlm.frames)]
    decode_s = time.process_time() - before
    frames = sum(len(shown.jpegs) for _, shown in read if not isinstance(shown, str))
    print(f"{len(rows)} clips, {frames} frames; reading them takes {decode_s:.2f} s of CPU")
    requests = [
        vlm.request(stage.vlm, shown, camera=row.get("camera_motion"), attempt=0)
        for row, shown in read
        if not isinstance(shown, str)
    ]
    _timed(lambda: _loop(stage, requests, in_flight=IN_FLIGHT[0]))
    best = min(IN_FLIGHT, key=lambda n: _timed(lambda: _loop(stage, requests, in_flight=n)))
    found: dict[str, list[float]] = {"loop": [], "stage": []}
    for _ in range(rounds):
        found["loop"].append(_timed(lambda: _loop(stage, requests, in_flight=best)))
        found["stage"].append(_timed(lambda: _stage(stage, rows)))
    loop_s, stage_s = (statistics.median(found[name]) for name in ("loop", "stage"))
    print(f"{'':<34}{'s':>8}{'clips/s':>9}")
    print(f"{f'plain loop, {best} in flight':<34}{loop_s:>8.2f}{len(requests) / loop_s:>9.2f}")
    print(f"{'the stage':<34}{stage_s:>8.2f}{len(rows) / stage_s:>9.2f}")
    print(f"stage / loop {stage_s / loop_s:.3f} (goal: <= 1.10)")


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
    async with AsyncOpenAI(base_url=url, api_key="none", timeout=stage.server.timeout_s) as api:

        async def one(request: dict[str, Any]) -> None:
            async with places:
                await api.chat.completions.create(model=stage.vlm.model, **request)

        try:
            await asyncio.gather(*(one(request) for request in requests))
        except APIError as error:
            raise Abort(f"{url} does not answer: {error}") from error


async def _stage(stage: Describe, rows: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory(prefix="dailies-") as folder:
        await from_model(rows, dataclasses.replace(stage, answers=folder))
