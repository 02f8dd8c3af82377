"""What happens around the step, in real runs: steps left out, meters, videos on the way."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from training.callbacks import meters
from training.module import VideoFlow
from training.pack import Pack

Run = Callable[..., Path]


def state(output: Path, step: int) -> dict[str, Tensor]:
    path = output / "checkpoints" / f"step-{step:08d}.ckpt"
    return torch.load(path, weights_only=True)["state_dict"]


def no_number_at(steps: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise that is no number in these optimizer steps, counted from 0."""
    real = VideoFlow.noise

    def noise(self: VideoFlow, pack: Pack) -> Tensor:
        drawn = real(self, pack)
        return drawn * float("nan") if self.training and self.global_step in steps else drawn

    monkeypatch.setattr(VideoFlow, "noise", noise)


def test_a_step_without_a_gradient_changes_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    no_number_at({3}, monkeypatch)
    output = run("out", "--trainer.max_steps=5", "--checkpoint.every_n_steps=1")
    # steps are counted as they are done: the fourth takes the run from 3 to 4
    before, left_out, after = (state(output, step) for step in (3, 4, 5))
    assert all(torch.equal(before[name], left_out[name]) for name in before)
    assert any(not torch.equal(left_out[name], after[name]) for name in before)
    assert all(value.isfinite().all() for value in after.values())
    assert "step 3: the gradient is no number; left out" in capfd.readouterr().out


def test_many_steps_without_a_gradient_stop_the_run(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_number_at({2, 3, 4}, monkeypatch)
    with pytest.raises(
        RuntimeError, match="3 steps in a row had a gradient that is no number: set"
    ):
        run("out", "--nan_guard.max_in_a_row=3")


def test_videos_on_the_way_are_written_and_shown(run: Run) -> None:
    output = run(
        "out",
        "--trainer.max_steps=5",
        "--trainer.logger=null",
        '--samples.prompts=["grey clip", "another"]',
        *("--samples.every_n_steps=2", "--samples.frames=3", "--samples.steps=2"),
        *("--samples.height=32", "--samples.width=48", "--samples.fps=8"),
    )
    for step in (2, 4):
        names = {path.name for path in (output / "samples" / f"step-{step:08d}").iterdir()}
        assert names == {"sample-00.mp4", "sample-01.mp4", "contact_sheet.png", "sample.json"}
    events = EventAccumulator(str(output / "tensorboard"))
    events.Reload()
    assert {f"samples/{number}" for number in range(2)} <= set(events.Tags()["images"])
    shown = events.Images("samples/0")
    assert [image.step for image in shown] == [2, 4]
    assert all(image.encoded_image_string.startswith(b"GIF") for image in shown)
    assert [event.step for event in events.Scalars("meter/wait_share")] == [5]


def test_making_videos_changes_nothing_in_training(run: Run) -> None:
    plain = run("plain", "--trainer.max_steps=4", "--checkpoint.every_n_steps=4")
    watched = run(
        "watched",
        *("--trainer.max_steps=4", "--checkpoint.every_n_steps=4"),
        *('--samples.prompts=["a"]', "--samples.every_n_steps=1", "--samples.frames=1"),
        *("--samples.height=32", "--samples.width=32", "--samples.steps=1"),
    )
    one, other = state(plain, 4), state(watched, 4)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_share_of_the_peak(run: Run, capfd: pytest.CaptureFixture) -> None:
    """MFU times the peak is operations per second: ten times the peak, a tenth of the share."""
    shares = []
    for peak in (1e-6, 1e-5):
        run(f"out-{peak}", "--trainer.max_steps=5", f"--meters.peak_tflops={peak}")
        line = next(
            line for line in capfd.readouterr().out.splitlines() if line.startswith("step 5")
        )
        tokens_per_s = float(line.split(" tokens/s")[0].split()[-1])
        shares.append(float(line.split("MFU ")[1].rstrip("%")) * peak / tokens_per_s)
    assert shares[0] == pytest.approx(shares[1], rel=0.05)  # the same work for a token


def test_peaks_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert meters.peak_of(torch.device("cpu")) is None
    names = {"NVIDIA H200": 989, "NVIDIA A100-SXM4-80GB": 312, "Some other card": None}
    for name, peak in names.items():
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device, name=name: name)
        assert meters.peak_of(torch.device("cuda")) == peak
