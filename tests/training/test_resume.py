"""Exact resume: a run stopped at any step, with any number of workers and devices before and after,
sees the same samples with the same noise in every step.
"""

import hashlib
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch.utils.data import DataLoader

from curation.storage import TEMPORARY
from training.__main__ import main
from training.curriculum import Phase, View, ends
from training.index import load_index
from training.masks import TaskMix
from training.models.cost import Cost
from training.models.patches import Grid
from training.plan import make_plan
from training.randomness import generator
from training.reader import ClipReader
from training.schedule import Cursor, Schedule
from training.tickets import PackDataset, PlanSampler, unchanged

WORLDS, WORKERS, PACKS = (1, 2, 4), (0, 1, 3), 4
STEPS = 9
STOPS = {"step 1": 1, "step 7": 7, "mid-window": 5, "epoch end": 3}
GRID = Grid(frames=1, pixels=4, patch=(1, 2, 2))
COST = Cost(32, 2, mlp_ratio=4.0, token_width=192, attention="full", causal=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, specs: list, make_shards: Any) -> Path:
    return make_shards(tmp_path_factory.mktemp("data"), specs * 3)


def sampler_of(data: Path, cursor: Cursor, *, rank: int, world: int) -> tuple[Any, PlanSampler]:
    index = load_index(str(data))
    tasks = TaskMix(extend=1, inpaint=1, subset=1)
    reader = ClipReader(index, grid=GRID, seed=0, cache_mb=8, tasks=tasks)
    phase = Phase(view=View(area_px=1536, max_frames=5, fps=8), budget_tokens=200, image_share=0.3)
    rows = np.arange(len(index))
    knobs = {"grid": GRID, "cost": COST, "seed": 0, "packs_per_step": PACKS}
    plan = make_plan(index, rows=rows, phase=phase, **knobs)
    schedule = Schedule([plan], ends([phase]))
    sampler = PlanSampler(schedule, reader, cursor, rank=rank, world_size=world)
    return PackDataset(reader, [plan]), sampler


def seen(data: Path, cursor: Cursor, *, world: int, workers: int) -> list[str]:
    """Per optimizer step from the cursor on: a hash of all samples, masks, noise and the divisor of
    the loss, whichever device has them.
    """
    steps: list[list[str]] = []
    for rank in range(world):
        dataset, sampler = sampler_of(data, cursor, rank=rank, world=world)
        loader = DataLoader(
            dataset,
            sampler=sampler,
            batch_size=None,
            collate_fn=unchanged,
            num_workers=workers,
        )
        each = PACKS // world
        packs = islice(loader, (STEPS - cursor.step) * each)
        for number, batch in enumerate(packs):
            if number // each == len(steps):
                steps.append([])
            for clip in batch.clips:
                noise = torch.randn(4, generator=generator(clip.rng_key, "noise")).tolist()
                pixels = int(clip.video_THWC.long().sum())
                known = clip.known_THW.numpy().tobytes()
                fields = (clip.uid, pixels, clip.caption, known, noise, batch.step_targets)
                steps[number // each].append(repr(fields))
    return [hashlib.sha256("".join(sorted(step)).encode()).hexdigest() for step in steps]


def cursor_after(data: Path, stop: int, *, ahead: int) -> Cursor:
    """What a checkpoint at a step holds, with packs fetched ahead of it."""
    _, sampler = sampler_of(data, Cursor(), rank=0, world=1)
    for _ in islice(sampler, (stop + ahead) * PACKS):
        pass
    return sampler.trail.at(stop)


@pytest.mark.parametrize("stop", STOPS)
def test_the_matrix_of_stops_workers_and_devices(data: Path, stop: str) -> None:
    """Before and after: 4 stops x (3 numbers of workers x 3 of devices) twice, 324 pairs in all."""

    @cache
    def run(step: int, world: int, workers: int) -> list[str]:
        cursor = Cursor() if not step else cursor_after(data, step, ahead=workers)
        return seen(data, cursor, world=world, workers=workers)

    step = STOPS[stop]
    kinds = list(itertools.product(WORLDS, WORKERS))
    for before, after in itertools.product(kinds, kinds):
        together = run(0, *before)[:step] + run(step, *after)
        assert together == run(0, 1, 0), (before, after)
    assert len(set(run(0, 1, 0))) == STEPS


def test_the_stops_lie_where_they_are_meant_to(data: Path) -> None:
    _, sampler = sampler_of(data, Cursor(), rank=0, world=1)
    epochs = [c.epoch for c, _ in islice(sampler.schedule.walk(Cursor()), STEPS)]
    assert epochs.index(1) == STOPS["epoch end"]
    assert epochs.index(2) == 2 * STOPS["epoch end"]  # an epoch is one window of three steps


# -- real runs -------------------------------------------------------------------------------------


SPREAD = {
    "class_path": "lightning.pytorch.strategies.ModelParallelStrategy",
    "init_args": {
        "data_parallel_size": 2,
        "tensor_parallel_size": 1,
        "save_distributed_checkpoint": False,
    },
}


def config(folder: Path, **trainer: Any) -> Path:
    knobs = {
        "trainer": {
            "accelerator": "cpu",
            "max_steps": 6,
            "enable_model_summary": False,
            "logger": False,
            **trainer,
        },
        "model": {
            "vae": {"class_path": "training.models.vae.SpaceToDepth"},
            "text": {"class_path": "training.models.text.WordText", "init_args": {"width": 32}},
            "network": {"width": 64, "depth": 2, "heads": 2},
            "optimizer": {"lr": 1e-3, "warmup_steps": 2},
        },
        "checkpoint": {"every_n_steps": 3, "keep": 9},
        "meters": {"every_n_steps": 1},
        "data": {
            "view": {"area_px": 1536, "max_frames": 5, "fps": 8},
            "budget_tokens": 200,
            "packs_per_step": 4,
            "tasks": {"extend": 0.5},
            "num_workers": 0,
        },
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(knobs))
    return path


def command(folder: Path, data: Path, *args: str, output: str) -> list[str]:
    return [
        *(sys.executable, "-m", "training", "fit", f"--config={config(folder)}"),
        *(f"--data.data={data}", f"--trainer.default_root_dir={folder / output}", *args),
    ]


def losses(text: str) -> list[float]:
    """Of a run's lines, one per step."""
    lines = [line for line in text.splitlines() if line.startswith("step ")]
    return [float(line.split("loss ")[1].split()[0]) for line in lines]


def fit_apart(folder: Path, data: Path, *args: str, output: str) -> list[float]:
    """Losses of a run in processes of its own."""
    done = subprocess.run(
        command(folder, data, *args, output=output),
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-9000:]
    return losses(done.stdout)


Fit = Callable[..., list[float]]


@pytest.fixture
def fit(capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Fit:
    """Losses of a run in this process."""
    monkeypatch.setattr("sys.argv", ["training"])  # LightningCLI warns where both are given

    def call(folder: Path, data: Path, *args: str, output: str) -> list[float]:
        capfd.readouterr()
        main(command(folder, data, *args, output=output)[3:])
        return losses(capfd.readouterr().out)

    return call


def weights(folder: Path, output: str, step: int) -> dict[str, torch.Tensor]:
    path = folder / output / "checkpoints" / f"step-{step:08d}.ckpt"
    return torch.load(path, weights_only=True)["state_dict"]


def test_devices_change_only_the_order_of_sums(tmp_path: Path, data: Path, fit: Fit) -> None:
    """One device; and two between which the weights are spread (FSDP2), then four with copies of
    them (DDP), by gloo between processes.
    """
    whole = fit(tmp_path, data, output="one")
    spread = tmp_path / "spread.yaml"
    spread.write_text(yaml.safe_dump({"trainer": {"strategy": SPREAD, "devices": 2}}))
    stop = ["--trainer.max_steps=3", f"--config={spread}"]
    first = fit_apart(tmp_path, data, *stop, output="many")
    copies = ["--trainer.strategy=ddp", "--trainer.devices=4"]
    last = f"--ckpt_path={tmp_path}/many/checkpoints/last.ckpt"
    second = fit_apart(tmp_path, data, *copies, last, output="many")
    assert first + second == pytest.approx(whole, rel=1e-4)  # as they are printed
    for name, value in weights(tmp_path, "one", 6).items():
        other = weights(tmp_path, "many", 6)[name]
        assert (value - other).norm() <= 1e-4 * value.norm() + 1e-6, name


def test_weights_in_half_precision_are_spread_as_well(tmp_path: Path, data: Path) -> None:
    """Near the run in single precision, with the fixed batch before and after."""
    spread = tmp_path / "spread.yaml"
    spread.write_text(yaml.safe_dump({"trainer": {"strategy": SPREAD, "devices": 2}}))
    knobs = [f"--config={spread}", "--model.optimizer.lr=1e-2"]
    single = fit_apart(tmp_path, data, *knobs, output="single")
    half = fit_apart(tmp_path, data, *knobs, "--trainer.precision=bf16-mixed", output="half")
    assert half != single and half == pytest.approx(single, rel=0.02)


def saves(folder: Path) -> Iterator[Path]:
    return folder.glob(f"{TEMPORARY}*")


def test_kill_9_while_saving_leaves_the_last_checkpoint_whole(
    tmp_path: Path, data: Path, fit: Fit
) -> None:
    """Killed while the file of its second checkpoint is being written, a run goes on from the
    first to the same end.
    """
    slow = ["--checkpoint.every_n_steps=1", "--model.network.width=256"]
    fit(tmp_path, data, *slow, output="whole")
    folder = tmp_path / "killed" / "checkpoints"
    process = subprocess.Popen(
        command(tmp_path, data, *slow, output="killed"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None:
        if (folder / "last.ckpt").exists() and any(saves(folder)):
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL
    last = torch.load(folder / "last.ckpt", weights_only=True)
    assert 1 <= last["global_step"] < 6
    fit(tmp_path, data, *slow, f"--ckpt_path={folder}/last.ckpt", output="killed")
    for name, value in weights(tmp_path, "whole", 6).items():
        assert torch.equal(value, weights(tmp_path, "killed", 6)[name]), name
    assert not list(saves(folder))
