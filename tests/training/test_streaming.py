"""Plain webdataset in place of a plan: the same clips and batches, in an order of its own."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
import yaml
from torch.utils.data import DataLoader

from tests.training.resharded import reshard
from training.curriculum import Phase, View
from training.index import load_index
from training.models.cost import Cost
from training.models.patches import Grid
from training.plan import make_plan
from training.reader import ClipReader
from training.streaming import Stream
from training.tickets import unchanged

GRID = Grid(frames=1, pixels=4, patch=(1, 2, 2))
COST = Cost(32, 2, mlp_ratio=4.0, token_width=192, attention="full", causal=True)
PHASE = Phase(view=View(area_px=1536, max_frames=5, fps=8), budget_tokens=250, image_share=0.3)
STREAM = "--data=training.streaming.StreamData"


@pytest.fixture(scope="module")
def data(
    tmp_path_factory: pytest.TempPathFactory, specs: list, make_shards: Callable[..., Path]
) -> Path:
    """24 samples in eight shards."""
    folder = tmp_path_factory.mktemp("streamed")
    return reshard(make_shards(folder / "one", specs * 4), folder / "data", samples_per_shard=3)


def stream_of(
    data: str, *, place: tuple[int, int] = (0, 1), rows: Any = None, **knobs: Any
) -> Stream:
    index = load_index(data)
    rows = np.arange(len(index)) if rows is None else rows
    plan = make_plan(index, rows=rows, phase=PHASE, grid=GRID, cost=COST, seed=0, packs_per_step=1)
    names = index.table["shard"].unique().to_pylist()
    reader = ClipReader(index, grid=GRID, seed=0, cache_mb=0)
    more = {"shuffle_samples": 4, "begun": 0, "step_targets": 500} | knobs
    urls = [f"{data}/shards/{name}" for name in names]
    return Stream(urls, reader=reader, plan=plan, place=place, **more)


def loaded(stream: Stream, workers: int) -> Any:
    return DataLoader(stream, batch_size=None, collate_fn=unchanged, num_workers=workers)


def test_clips_are_those_of_the_reader(data: Path) -> None:
    stream = stream_of(str(data))
    numbers = {f"clip-{n}": n for n in range(24)}
    for batch in islice(stream, 12):
        assert batch.step_targets == 500
        for clip in batch.clips:
            _, _, uid, epoch = clip.rng_key.split("/")
            row = numbers[uid]
            view = stream.plan.view_of(row, int(epoch))
            same = stream.reader.read(row, view=view, epoch=int(epoch), purpose="train")
            assert torch.equal(clip.video_THWC, same.video_THWC)
            assert (clip.caption, clip.error) == (f"grey clip {row}", None)


@pytest.mark.parametrize(("world", "workers"), [(1, 0), (1, 2), (2, 1), (3, 0), (2, 5)])
def test_an_epoch_is_every_sample_once(data: Path, world: int, workers: int) -> None:
    """Over all devices and workers, of which some may have no shard."""
    seen: Counter[str] = Counter()
    for rank in range(world):
        for batch in islice(loaded(stream_of(str(data), place=(rank, world)), workers), 60):
            assert sum(clip.known_THW.numel() for clip in batch.clips) <= 250
            seen.update(clip.rng_key for clip in batch.clips)
    assert set(seen.values()) == {1}
    in_first_epoch = {key.split("/")[2] for key in seen if key.endswith("/0")}
    assert in_first_epoch == {f"clip-{n}" for n in range(24)}


def test_order_and_windows_change_with_the_epoch_and_with_a_resume(data: Path) -> None:
    def order(**knobs: Any) -> list[str]:
        clips = [
            clip for batch in islice(stream_of(str(data), **knobs), 30) for clip in batch.clips
        ]
        return [clip.uid for clip in clips[:48]]

    drawn = order()
    assert drawn == order()
    assert drawn[:24] != drawn[24:] != sorted(drawn[24:])
    assert order(begun=3) != drawn
    keys = [clip.rng_key for clip in next(iter(stream_of(str(data), begun=3))).clips]
    assert all(key.endswith("/3000000") for key in keys)


def test_samples_kept_for_validation_are_left_out(data: Path) -> None:
    stream = stream_of(str(data), rows=np.array([1, 5, 6, 20]))
    uids = {clip.uid for batch in islice(stream, 6) for clip in batch.clips}
    assert uids == {"clip-1", "clip-5", "clip-6", "clip-20"}


def test_object_storage_gives_the_same(data: Path) -> None:
    remote = fsspec.filesystem("memory")
    remote.put(f"{data}/shards", "/streamed/data/shards", recursive=True)
    here, there = (
        [clip.rng_key for batch in islice(stream_of(url), 8) for clip in batch.clips]
        for url in (str(data), "memory://streamed/data")
    )
    assert here == there


def test_a_run_trains_validates_and_goes_on(
    run: Callable[..., Path], data: Path, capfd: pytest.CaptureFixture
) -> None:
    knobs = [STREAM, "--data.shuffle_samples=5", "--data.packs_per_step=2"]
    knobs += ["--data.holdout_pct=20", "--data.tasks={extend: 1}"]
    learn = ["--model.optimizer.lr=5e-3", "--data.num_workers=2"]
    output = run("out", *knobs, *learn, "--trainer.max_steps=14", data=data)
    said = capfd.readouterr().out
    assert said.count("streaming: a resumed run draws its samples anew, packs are filled in") == 1
    before, after = said.split("fixed-batch loss: ")[1].split()[0:3:2]
    assert float(after) < float(before)
    last = f"--ckpt_path={output}/checkpoints/last.ckpt"
    run("out", *knobs, last, "--trainer.max_steps=16", data=data)
    saved = torch.load(output / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 16
    assert saved["StreamData"] == {"failed": {}}
    run("valid", *knobs, last, command="validate", data=data)
    # and from a stream to a plan, which begins there
    with pytest.raises(ValueError, match="holds no place in a plan, .*data.new_phase"):
        run("planned", last, "--trainer.max_steps=18", data=data)
    planned = run("planned", last, "--trainer.max_steps=18", "--data.new_phase=true", data=data)
    saved = torch.load(planned / "checkpoints" / "last.ckpt", weights_only=True)
    cursor = saved["VideoData"]["cursor"]
    assert (cursor["begun"], cursor["step"], cursor["step_in_epoch"]) == (16, 18, 2)


def test_a_damaged_shard_is_told_and_the_others_are_streamed(
    tmp_path: Path,
    specs: list,
    make_shards: Callable[..., Path],
    capfd: pytest.CaptureFixture,
) -> None:
    one = make_shards(tmp_path / "one", specs * 2)
    damaged = reshard(one, tmp_path / "damaged", samples_per_shard=3)
    half, gone = sorted((damaged / "shards").rglob("*.tar"))[:2]
    half.write_bytes(half.read_bytes()[:700])
    gone.unlink()
    uids = {clip.uid for batch in islice(stream_of(str(damaged)), 9) for clip in batch.clips}
    assert {f"clip-{number}" for number in range(6, 12)} <= uids <= {f"clip-{n}" for n in range(12)}
    said = capfd.readouterr().err
    assert "unexpected end of data" in said and "No such file" in said
    assert "the stream goes on behind it" in said


def test_two_devices_stream_and_stay_together(
    run: Callable[..., Path], data: Path, tmp_path: Path
) -> None:
    """By gloo between processes, each with samples of its own."""
    run("one", "--trainer.max_steps=1", data=data)  # writes the config
    command = [sys.executable, "-m", "training", "fit", f"--config={tmp_path}/tiny.yaml", STREAM]
    command += [f"--data.data={data}", "--data.packs_per_step=2", "--trainer.max_steps=3"]
    command += ["--trainer.devices=2", "--trainer.strategy=ddp", "--data.num_workers=1"]
    command += [f"--trainer.default_root_dir={tmp_path}/two"]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, env=one_thread, timeout=300)
    saved = torch.load(tmp_path / "two" / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 3


def test_it_is_chosen_in_a_yaml(
    run: Callable[..., Path], data: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    overlay = tmp_path / "stream.yaml"
    chosen = {"class_path": "training.streaming.StreamData", "init_args": {"shuffle_samples": 3}}
    overlay.write_text(yaml.safe_dump({"data": chosen}))
    output = run("out", f"--config={overlay}", "--trainer.max_steps=2", data=data)
    assert "streaming: " in capfd.readouterr().out
    data_of_run = yaml.safe_load((output / "fit.yaml").read_text())["data"]
    assert data_of_run["init_args"]["shuffle_samples"] == 3
    assert data_of_run["init_args"]["budget_tokens"] == 200  # of the config below it


def test_accumulation_leaves_the_step_as_it_is(
    run: Callable[..., Path], specs: list, make_shards: Callable[..., Path], tmp_path: Path
) -> None:
    """Six clips of one length as one pack or as three: the same samples, noise and divisor."""
    data = make_shards(tmp_path / "alike", [specs[0]] * 12)
    tokens = stream_of(str(data)).plan.tokens[0]
    moments = []
    for packs in (1, 3):
        knobs = [STREAM, f"--data.budget_tokens={6 * tokens // packs}", "--trainer.max_steps=1"]
        output = run(f"out-{packs}", *knobs, f"--data.packs_per_step={packs}", data=data)
        state = torch.load(output / "checkpoints" / "last.ckpt", weights_only=True)
        moments.append([s["exp_avg"] for s in state["optimizer_states"][0]["state"].values()])
    for one, other in zip(*moments, strict=True):
        assert (one - other).abs().max() < 1e-4 * one.abs().max() + 1e-12


def test_what_needs_a_plan_is_refused(run: Callable[..., Path], data: Path) -> None:
    view = '{"view": {"area_px": 1536, "max_frames": 5}, "budget_tokens": 200'
    for knob in (f'--data.phases=[{view}, "steps": 3}}, {view}}}]', "--data.latents=auto"):
        with pytest.raises(ValueError, match="expected no data.phases and no data.latents"):
            run("out", STREAM, knob, data=data)
    with pytest.raises(ValueError, match="8 shards for 9 devices, expected one each or more"):
        stream_of(str(data), place=(3, 9))
