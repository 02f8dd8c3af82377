"""A whole run on one GPU: half precision, compiled blocks, the loss before and after, a sample."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

HALF = ["--trainer.accelerator=gpu", "--trainer.devices=1", "--trainer.precision=bf16-mixed"]


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["varlen", "flex", "sdpa"])
@pytest.mark.parametrize("compiled", [False, True])
def test_a_run_trains_and_samples(
    run: Callable[..., Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture,
    *,
    backend: str,
    compiled: bool,
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    if compiled and backend == "sdpa":
        pytest.skip("refused")
    network = [f"--model.network.backend={backend}", f"--model.network.compile={compiled}"]
    output = run("out", *HALF, *network, "--model.optimizer.lr=5e-3", "--trainer.max_steps=40")
    before, _, after = capfd.readouterr().out.split("fixed-batch loss: ")[1].split()[:3]
    assert float(after) < 0.8 * float(before)
    ckpt = [f"--ckpt={output}/checkpoints/last.ckpt", f"--output={tmp_path}/made", "--prompt=a"]
    size = ["--frames=6", "--height=40", "--width=56", "--steps=2"]
    run("made", *HALF, *network, *ckpt, *size, command="sample")
    assert (tmp_path / "made" / "sample-00.mp4").exists()
