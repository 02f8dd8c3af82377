"""Training, stopping, resuming, validating and sampling through the real command line on real
shards.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import pyarrow.parquet as pq
import pytest
import torch
import yaml


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
        ValueError, match="made with another dataset, so that going on from it would be another"
    ):
        run("second", last, data=other)
    with pytest.raises(
        ValueError, match="made with another seed and another view, budget or phases, so"
    ):
        run("second", last, "--data.seed=1", "--data.budget_tokens=300")
    with pytest.raises(ValueError, match="made with another objective, optimizer or text_drop, so"):
        run("second", last, "--model.text_drop=0.5")
    run("second", last, command="validate", data=other)  # looking is allowed


def test_other_learning_is_a_new_phase_in_the_same_plan(run: Callable[..., Path]) -> None:
    output = run("first", "--trainer.max_steps=3")
    last = f"--ckpt_path={output}/checkpoints/last.ckpt"
    knobs = ["--model.optimizer.lr=1e-5", "--data.new_phase=true", "--trainer.max_steps=5"]
    run("first", last, *knobs)
    saved = checkpoint(output, 5)
    cursor = saved["VideoData"]["cursor"]
    undisturbed = checkpoint(run("whole", "--trainer.max_steps=5"), 5)
    assert cursor == undisturbed["VideoData"]["cursor"]
    assert [entry["ended"] for entry in saved["VideoData"]["history"]] == [3]
    (group,) = saved["optimizer_states"][0]["param_groups"]
    assert group["initial_lr"] == 1e-5
    assert group["lr"] == pytest.approx(1e-5 * (1 - 5 / 20))  # TINY falls to zero at step 20


def test_a_run_is_not_begun_in_the_folder_of_another(run: Callable[..., Path]) -> None:
    output = run("out", "--trainer.max_steps=1")
    with pytest.raises(ValueError, match=r"out holds the checkpoints of a run: go on .*RESUME=1"):
        run("out", "--trainer.max_steps=1")
    assert checkpoint(output, 1)["global_step"] == 1


def test_a_checkpoint_that_does_not_fit_is_named(run: Callable[..., Path], tmp_path: Path) -> None:
    last = run("out", "--trainer.max_steps=1") / "checkpoints" / "last.ckpt"
    with pytest.raises(ValueError, match="holds a network of another size than the config"):
        run("other", f"--ckpt_path={last}", "--model.network.depth=3")
    half = tmp_path / "half.ckpt"
    half.write_bytes(last.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"half.ckpt is no checkpoint, or not a whole one: give"):
        run("other", f"--ckpt_path={half}")
    sample = ["--prompt=a", f"--output={tmp_path}/made", "--frames=6", "--height=40", "--width=56"]
    with pytest.raises(ValueError, match=r"half.ckpt is no checkpoint, or not a whole one: give"):
        run("other", f"--ckpt={half}", *sample, command="sample")
    for knob in ("--steps=0", "--fps=0", "--guidance=-1"):
        with pytest.raises(ValueError, match="expected at least 1 step, more than 0 frames"):
            run("other", f"--ckpt={last}", *sample, knob, command="sample")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_asked_to_stop_saves_and_says_so(
    run: Callable[..., Path], dataset: Path, tmp_path: Path, number: int
) -> None:
    run("one", "--trainer.max_steps=1")  # writes the config
    output = tmp_path / "asked"
    command = [sys.executable, "-m", "training", "fit", f"--config={tmp_path}/tiny.yaml"]
    command += [f"--data.data={dataset}", f"--trainer.default_root_dir={output}"]
    command += ["--trainer.max_steps=1000000", "--checkpoint.every_n_steps=1000000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    for line in process.stdout:
        if line.startswith("step "):
            process.send_signal(number)
            break
    said = process.stdout.read()
    assert process.wait() == 128 + number
    step = torch.load(output / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
    assert f"stopped at step {step}, as asked: go on with --ckpt_path {output}/checkp" in said


def test_validation_looks_at_the_same_packs_however_a_step_is_made_up(
    run: Callable[..., Path], tmp_path: Path
) -> None:
    last = run("out", "--trainer.max_steps=1") / "checkpoints" / "last.ckpt"
    losses = []
    for packs in (1, 4):
        knobs = [f"--data.packs_per_step={packs}", "--data.val_packs=2", f"--ckpt_path={last}"]
        run(f"valid-{packs}", *knobs, command="validate")
        losses.append(json.loads((tmp_path / f"valid-{packs}/timestep_loss.json").read_text()))
    assert losses[0] == losses[1]
    assert losses[0]["values"] > 0


def test_mistakes_are_named(run: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"no checkpoint at /nowhere.ckpt, expected a file such as"
    ):
        run("out", "--ckpt_path=/nowhere.ckpt")
    with pytest.raises(ValueError, match=r"no checkpoint at /nowhere.ckpt, expected"):
        run("out", "--ckpt=/nowhere.ckpt", "--prompt=a", command="sample")
    with pytest.raises(ValueError, match="no index at .*make shard"):
        run("out", data=tmp_path)
    with pytest.raises(
        ValueError, match="packs_per_step = 3 over 1 devices .* = 2, expected a mul"
    ):
        run("out", "--data.packs_per_step=3", "--trainer.accumulate_grad_batches=2")
    with pytest.raises(ValueError, match="expected a multiple of 8 per head"):
        run("out", "--model.network.heads=5")
    with pytest.raises(ValueError, match="limit_train_batches = 2, expected 1.0: the plan has no"):
        run("out", "--trainer.limit_train_batches=2")
    causal = ["--model.network.attention=factorised", "--data.tasks.interpolate=1"]
    with pytest.raises(ValueError, match="data.tasks has interpolate, which give later frames"):
        run("out", *causal)
    with pytest.raises(ValueError, match="height_px = 250, width_px = 256, expected multiples"):
        run("out", "--samples.prompts=[a dog]", "--samples.height=250", "--samples.frames=1")
    for knob in ("--checkpoint.keep=0", "--checkpoint.every_n_steps=0", "--meters.every_n_steps=0"):
        with pytest.raises(ValueError, match="expected 1 or more"):
            run("out", knob)


def test_sentences_are_told_however_they_are_wrapped(
    run: Callable[..., Path], dataset: Path, tmp_path: Path
) -> None:
    run("one", "--trainer.max_steps=1")  # writes the config
    command = [sys.executable, "-m", "training", "fit", f"--config={tmp_path}/tiny.yaml"]
    for knob, sentence in (
        ("--data.tasks.text_to_video=0", "expected weights of 0 or more, text_to_video above 0"),
        ("--data.image_share=33", "expected shares from 0 to 1"),
        ("--data.view.max_frames=0", "view: max_frames = 0, area_px = 1536, fps = 8"),
        ("--data.budget_token=3", "budget_token"),
    ):
        done = subprocess.run(
            [*command, f"--data.data={dataset}", knob], capture_output=True, text=True, check=False
        )
        assert done.returncode != 0
        assert sentence in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
        assert "usage:" not in done.stderr


def test_only_a_runs_own_checkpoints_make_room_for_newer_ones(
    run: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "out" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "step-00099000.ckpt").write_bytes(b"of another run")
    run("out", "--checkpoint.every_n_steps=1", "--checkpoint.keep=2", "--trainer.max_steps=4")
    steps = [int(path.stem[5:]) for path in sorted(folder.glob("step-*"))]
    assert steps == [3, 4, 99000]


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
        "--model.objective.prediction=clean",
        "--model.objective.t_min=0.05",
    )
    text = capfd.readouterr().out
    assert "step 40/40  loss " in text
    line = next(line for line in text.splitlines() if line.startswith("fixed-batch loss:"))
    first, last = (float(word) for word in line.replace("->", "").split()[2:4])
    assert last < first / 2
    assert {p.name for p in output.iterdir()} == {
        "fit.yaml",
        "fit.json",
        "checkpoints",
        "tensorboard",
    }
    assert list((output / "tensorboard").glob("events*"))
    assert yaml.safe_load((output / "fit.yaml").read_text())["trainer"]["max_steps"] == 40
    record = json.loads((output / "fit.json").read_text())
    assert record.keys() == {"commit", "seed", "ckpt_path"} and record["ckpt_path"] is None
    # the file is a config like any other
    last = output / "checkpoints" / "last.ckpt"
    knobs = [f"--config={output}/fit.yaml", f"--ckpt={last}", "--prompt=a", "--steps=1"]
    size = ["--frames=6", "--height=40", "--width=56", f"--output={output}/made"]
    run("sampled", *knobs, *size, command="sample")
    assert (output / "made" / "sample-00.mp4").exists()
    names = checkpoint(output, 40)["state_dict"].keys()
    assert {name.split(".")[0] for name in names} == {"dit", "text"}


def test_a_save_that_fails_leaves_the_last_checkpoint(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = run("out", "--trainer.max_steps=3")
    before = (output / "checkpoints" / "last.ckpt").read_bytes()
    real = torch.save

    def half(checkpoint: Any, target: Path, **kwargs: Any) -> None:
        real(checkpoint, target, **kwargs)
        os.truncate(target, 1000)
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="disk full"):
        run("out", f"--ckpt_path={output}/checkpoints/last.ckpt")
    assert (output / "checkpoints" / "last.ckpt").read_bytes() == before
    assert [p.name for p in sorted((output / "checkpoints").iterdir())] == [
        "last.ckpt",
        "step-00000003.ckpt",
    ]


def test_a_sample_that_cannot_be_read_is_masked_and_recorded(
    run: Callable[..., Path], tmp_path: Path, specs: list, make_shards: Callable[..., Path]
) -> None:
    data = make_shards(tmp_path / "data", specs)
    tar = data / "shards" / "bucket" / "bucket-000000.tar"
    row = pq.read_table(data / "shards" / "index.parquet").to_pylist()[2]
    with tar.open("r+b") as file:
        file.seek(row["offset_media"])
        file.write(bytes(row["size_media"]))
    for workers in (0, 2):
        output = run(f"out-{workers}", f"--data.num_workers={workers}", data=data)
        failed = checkpoint(output, 7)["VideoData"]["failed"]
        assert list(failed) == ["clip-2"]
        assert failed["clip-2"].startswith("sample clip-2 of bucket/bucket-000000.tar cannot be")
    assert_same(checkpoint(tmp_path / "out-0", 7), checkpoint(tmp_path / "out-2", 7))


def test_too_many_unreadable_samples_stop_the_run(
    run: Callable[..., Path], tmp_path: Path, specs: list, make_shards: Callable[..., Path]
) -> None:
    data = make_shards(tmp_path / "data", specs * 2)
    tar = data / "shards" / "bucket" / "bucket-000000.tar"
    tar.write_bytes(bytes(tar.stat().st_size))
    with pytest.raises(RuntimeError, match="12 samples could not be read, more than data.max_fail"):
        run("out", "--data.budget_tokens=9000", data=data)
    few = make_shards(tmp_path / "few", specs[:4])  # fewer than may fail in a large dataset
    tar = few / "shards" / "bucket" / "bucket-000000.tar"
    tar.unlink()
    with pytest.raises(RuntimeError, match=r"could not be read, .* of bucket/.*.tar cannot"):
        run("few", "--data.budget_tokens=9000", data=few)


def test_phases_follow_one_another_and_resume(run: Callable[..., Path]) -> None:
    view = {"area_px": 1536, "max_frames": 5, "fps": 8}
    phases = [
        {"steps": 3, "view": view | {"area_px": 800}, "budget_tokens": 150, "image_share": 0.5},
        {"view": view, "budget_tokens": 250},
    ]
    knobs = [f"--data.phases={json.dumps(phases)}", "--data.tasks.extend=1"]
    whole = run("whole", *knobs)
    cursor = checkpoint(whole, 7)["VideoData"]["cursor"]
    assert (cursor["phase"], cursor["step"]) == (1, 7)
    for stop in (2, 3, 4):  # inside the first phase, at its end, inside the second
        name = f"stopped-{stop}"
        stopped = run(name, f"--trainer.max_steps={stop}", *knobs)
        run(name, f"--ckpt_path={stopped}/checkpoints/last.ckpt", *knobs)
        assert_same(checkpoint(whole, 7), checkpoint(stopped, 7))


def test_a_new_phase_goes_on_with_other_data(
    run: Callable[..., Path], tmp_path: Path, specs: list, make_shards: Callable[..., Path]
) -> None:
    output = run("first", "--trainer.max_steps=3")
    last = f"--ckpt_path={output}/checkpoints/last.ckpt"
    other = make_shards(tmp_path / "other", specs[:-1])
    run("first", last, "--trainer.max_steps=5", "--data.new_phase=true", data=other)
    state = checkpoint(output, 5)["VideoData"]
    assert (state["cursor"]["begun"], state["cursor"]["step"]) == (3, 5)
    assert [entry["ended"] for entry in state["history"]] == [3]
    # from here on it is a checkpoint like any other
    run("first", f"--ckpt_path={output}/checkpoints/last.ckpt", data=other)
    assert checkpoint(output, 7)["VideoData"]["cursor"]["begun"] == 3


@pytest.mark.parametrize("objective", ["Flow", "Ddpm"])
def test_every_objective_trains_with_given_frames(
    run: Callable[..., Path], capfd: pytest.CaptureFixture, objective: str
) -> None:
    classes = {"Flow": "training.flow.Flow", "Ddpm": "training.ddpm.Ddpm"}
    run(
        "out",
        f"--model.objective={classes[objective]}",
        '--data.tasks={"image_to_video": 1, "subset": 1, "inpaint": 1}',
        "--model.network.attention=factorised",
        "--model.network.causal=false",
        "--model.network.recompute=true",
        "--trainer.max_steps=10",
    )
    losses = [line for line in capfd.readouterr().out.splitlines() if line.startswith("step")]
    assert len(losses) == 2
    assert all(0 < float(line.split("loss ")[1].split()[0]) < 10 for line in losses)
