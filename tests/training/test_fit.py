"""Training, stopping, resuming, validating and sampling through the real command line on real
shards.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import pytest
import torch
import yaml

from training.__main__ import main

TINY: dict[str, Any] = {
    "trainer": {
        "accelerator": "cpu",
        "max_steps": 7,
        "enable_model_summary": False,
        "logger": False,
    },
    "model": {
        "vae": {"class_path": "training.models.vae.SpaceToDepth", "init_args": {"pixels": 4}},
        "text": {
            "class_path": "training.models.text.WordText",
            "init_args": {"width": 16, "depth": 1, "heads": 2, "buckets": 64},
        },
        "network": {"width": 32, "depth": 2, "heads": 2, "absolute": True, "pooled_text": True},
        "flow": {"shift_tokens": 64},
        "optimizer": {"lr": 1e-3, "warmup_steps": 2, "decay_steps": 20, "fused": True},
    },
    "checkpoint": {"every_n_steps": 3, "keep": 9},
    "meters": {"every_n_steps": 5},
    "data": {
        "view": {"area_px": 1536, "max_frames": 5, "fps": 8},
        "budget_tokens": 200,  # 5 packs an epoch: step 7 lies in the middle of the second
        "num_workers": 0,
    },
}


@pytest.fixture
def run(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    monkeypatch.setattr("sys.argv", ["training"])  # LightningCLI warns where both are given
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(TINY))

    def call(name: str, *args: str, command: str = "fit", data: Path = dataset) -> Path:
        output = tmp_path / name
        main(
            [
                command,
                f"--config={config}",
                f"--data.data={data}",
                f"--trainer.default_root_dir={output}",
                *args,
            ]
        )
        return output

    return call


def checkpoint(output: Path, step: int) -> dict[str, Any]:
    return torch.load(output / "checkpoints" / f"step-{step:08d}.ckpt", weights_only=True)


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Weights, averages, moments and place in the plan, bit for bit."""
    assert one["global_step"] == other["global_step"]
    assert one["VideoData"] == other["VideoData"]
    for name, value in one["state_dict"].items():
        assert torch.equal(value, other["state_dict"][name]), name
    for name, value in one["ema"]["weights"].items():
        assert torch.equal(value, other["ema"]["weights"][name]), name
    moments, other_moments = (c["optimizer_states"][0]["state"] for c in (one, other))
    for number, state in moments.items():
        assert all(torch.equal(value, other_moments[number][name]) for name, value in state.items())
    assert one["lr_schedulers"] == other["lr_schedulers"]


def test_stop_and_resume_equals_an_undisturbed_run(
    run: Callable[..., Path], capfd: pytest.CaptureFixture
) -> None:
    whole = run("whole")
    first_lines = capfd.readouterr().out
    # stopped after one step, in the middle of an epoch; resumed with other workers
    stopped = run("stopped", "--trainer.max_steps=1")
    run("stopped", f"--ckpt_path={stopped}/checkpoints/last.ckpt", "--data.num_workers=2")
    assert_same(checkpoint(whole, 7), checkpoint(stopped, 7))
    # from a checkpoint that a run left behind on its way, as when it is killed
    killed = run(
        "killed", f"--ckpt_path={whole}/checkpoints/step-00000003.ckpt", "--data.num_workers=1"
    )
    assert_same(checkpoint(whole, 7), checkpoint(killed, 7))
    assert_same(checkpoint(whole, 6), checkpoint(killed, 6))
    fixed = [line for line in first_lines.splitlines() if line.startswith("fixed-batch loss:")]
    assert len(fixed) == 1
    assert fixed[0] in capfd.readouterr().out  # the resumed run remembers the loss before training


def test_resume_with_mixed_captions(run: Callable[..., Path]) -> None:
    mix = ['--data.caption_mix={"dense": 1, "short": 1, "fields": 1, "original": 1}']
    ends = "--trainer.max_steps=6"  # the second epoch's first step
    whole = run("whole", ends, *mix)
    stopped = run("stopped", "--trainer.max_steps=1", *mix)
    last = f"--ckpt_path={stopped}/checkpoints/last.ckpt"
    with pytest.raises(ValueError, match="another caption_mix and another set of captions, so"):
        run("other", ends, last)
    run("stopped", ends, last, *mix, "--data.num_workers=2")
    assert_same(checkpoint(whole, 6), checkpoint(stopped, 6))
    # the texts do reach the network
    plain = checkpoint(run("plain", ends), 6)["state_dict"]
    mixed = checkpoint(whole, 6)["state_dict"]
    assert any(not torch.equal(value, mixed[name]) for name, value in plain.items())


def test_resume_with_accumulated_packs(run: Callable[..., Path]) -> None:
    accumulate = [
        "--trainer.accumulate_grad_batches=2",
        "--data.packs_per_step=2",
        "--checkpoint.every_n_steps=1",
    ]
    whole = run("whole", "--trainer.max_steps=4", *accumulate)
    resumed = run(
        "resumed",
        f"--ckpt_path={whole}/checkpoints/step-00000001.ckpt",
        "--trainer.max_steps=4",
        *accumulate,
    )
    assert sorted(p.name for p in (whole / "checkpoints").glob("step*")) == [
        f"step-{n:08d}.ckpt" for n in (1, 2, 3, 4)
    ]
    for step in (2, 3, 4):
        assert_same(checkpoint(whole, step), checkpoint(resumed, step))


def test_accumulation_leaves_the_step_as_it_is(run: Callable[..., Path]) -> None:
    """An epoch as one pack or as five is the same samples and noise: its gradient is the same."""
    together = run("together", "--trainer.max_steps=1", "--data.budget_tokens=100000")
    apart = run(
        "apart",
        "--trainer.max_steps=1",
        "--data.packs_per_step=5",
        "--trainer.accumulate_grad_batches=5",
    )
    one, other = checkpoint(together, 1), checkpoint(apart, 1)
    moments, other_moments = (c["optimizer_states"][0]["state"] for c in (one, other))
    for number, state in moments.items():
        scale = state["exp_avg"].abs().max() + 1e-12
        assert (state["exp_avg"] - other_moments[number]["exp_avg"]).abs().max() < 1e-4 * scale


def test_another_dataset_or_plan_is_refused_on_resume(
    run: Callable[..., Path], tmp_path: Path, specs: list, make_shards: Callable[..., Path]
) -> None:
    output = run("first", "--trainer.max_steps=1")
    last = f"--ckpt_path={output}/checkpoints/last.ckpt"
    other = make_shards(tmp_path / "other", specs[:-1])
    with pytest.raises(
        ValueError, match="made with another dataset, so its place in the plan means nothing here"
    ):
        run("second", last, data=other)
    with pytest.raises(ValueError, match="made with another seed and another budget_tokens, so"):
        run("second", last, "--data.seed=1", "--data.budget_tokens=300")
    run("second", last, command="validate", data=other)  # looking is allowed


def test_mistakes_are_named(run: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"no checkpoint at /nowhere.ckpt, expected a file such as"
    ):
        run("out", "--ckpt_path=/nowhere.ckpt")
    with pytest.raises(ValueError, match=r"no checkpoint at /nowhere.ckpt, expected"):
        run("out", "--ckpt=/nowhere.ckpt", "--prompt=a", command="sample")
    with pytest.raises(ValueError, match="no index at .*make shard"):
        run("out", data=tmp_path)
    with pytest.raises(ValueError, match="make 1 packs a step, expected data.packs_per_step=4"):
        run("out", "--data.packs_per_step=4")
    with pytest.raises(ValueError, match="expected a multiple of 8 per head"):
        run("out", "--model.network.heads=5")


def test_validate_and_sample(
    run: Callable[..., Path], tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    output = run("out", "--trainer.max_steps=2")
    ckpt = output / "checkpoints" / "last.ckpt"
    run("valid", f"--ckpt_path={ckpt}", command="validate")
    losses = json.loads((tmp_path / "valid" / "timestep_loss.json").read_text())
    assert losses["loss"] == pytest.approx(
        sum(losses[f"loss_t{t}"] for t in (0.1, 0.3, 0.5, 0.7, 0.9)) / 5
    )
    run("again", f"--ckpt_path={ckpt}", "--data.num_workers=2", command="validate")
    assert json.loads((tmp_path / "again" / "timestep_loss.json").read_text()) == losses

    folder = tmp_path / "samples"
    sample = [
        f"--ckpt={ckpt}",
        f"--output={folder}",
        "--steps=2",
        "--frames=6",
        "--height=40",
        "--width=56",
        "--fps=12",
    ]
    run("sample", *sample, '--prompt=["grey clip 1", "<b>Ünï: \\"x\\"</b>"]', command="sample")
    for number in range(2):
        with av.open(str(folder / f"sample-{number:02d}.mp4")) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
            assert container.streams.video[0].average_rate == 12
        assert len(frames) == 6
        assert frames[0].shape == (40, 56, 3)
    sheet = cv2.imread(str(folder / "contact_sheet.png"))
    assert sheet is not None
    assert sheet.shape[1] == 6 * 196
    record = json.loads((folder / "sample.json").read_text())
    assert (record["trained_steps"], record["seed"], record["frames"]) == (2, 0, 6)
    assert record["prompts"][1] == '<b>Ünï: "x"</b>'

    with pytest.raises(
        ValueError, match=r"height_px = 41, width_px = 56, expected multiples of 8 and 8"
    ):
        run("sample", *sample, "--height=41", "--prompt=a", command="sample")
    with pytest.raises(ValueError, match="holds a network of another size"):
        run("sample", *sample, "--model.network.depth=1", "--prompt=a", command="sample")


def test_a_run_records_itself_and_learns(
    run: Callable[..., Path], capfd: pytest.CaptureFixture
) -> None:
    output = run(
        "out",
        "--trainer.max_steps=40",
        "--trainer.logger=null",
        "--model.optimizer.decay_steps=40",
        "--model.optimizer.lr=5e-3",
        "--model.flow.prediction=clean",
        "--model.flow.t_min=0.05",
    )
    text = capfd.readouterr().out
    assert "step 40/40  loss " in text
    line = next(line for line in text.splitlines() if line.startswith("fixed-batch loss:"))
    first, last = (float(word) for word in line.replace("->", "").split()[2:4])
    assert last < first / 5
    assert {p.name for p in output.iterdir()} == {
        "fit.yaml",
        "fit.json",
        "checkpoints",
        "tensorboard",
    }
    assert list((output / "tensorboard").glob("events*"))
    assert yaml.safe_load((output / "fit.yaml").read_text())["trainer"]["max_steps"] == 40
    assert json.loads((output / "fit.json").read_text()).keys() == {"commit", "seed"}
    names = checkpoint(output, 40)["state_dict"].keys()
    assert {name.split(".")[0] for name in names} == {"dit", "text"}


def test_a_save_that_fails_leaves_the_last_checkpoint(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = run("out", "--trainer.max_steps=3")
    before = (output / "checkpoints" / "last.ckpt").read_bytes()
    real = torch.save

    def half(checkpoint: Any, target: Any, **kwargs: Any) -> None:
        real(checkpoint, target, **kwargs)
        target.truncate(1000)
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="disk full"):
        run("out", f"--ckpt_path={output}/checkpoints/last.ckpt")
    assert (output / "checkpoints" / "last.ckpt").read_bytes() == before
    assert [p.name for p in sorted((output / "checkpoints").iterdir())] == [
        "last.ckpt",
        "step-00000003.ckpt",
    ]
