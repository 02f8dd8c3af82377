"""The benchmark's packs are full and its step is a training step, on a tiny network."""

import pytest
import torch

from training.bench import throughput
from training.models.text import WordText
from training.models.vae import SpaceToDepth
from training.module import VideoFlow


def test_packs_hold_whole_samples_and_little_less_than_the_budget() -> None:
    module = VideoFlow(SpaceToDepth(2), WordText(512, depth=0), network=throughput.SIZES["tiny"])
    source = throughput.packs(module, budget_tokens=16_000)
    for pack in (next(source) for _ in range(3)):
        assert 16_000 - 1024 < len(pack.x_ND) <= 16_000
        assert set(pack.counts) <= set(throughput.COUNTS)
        assert pack.cu_text == tuple(120 * n for n in range(len(pack.counts) + 1))


@pytest.mark.parametrize("attention", ["full", "factorised"])
def test_it_prints_a_speed(attention: str, capsys: pytest.CaptureFixture) -> None:
    throughput.run(
        size="tiny",
        attention=attention,  # pyright: ignore[reportArgumentType]
        budget_tokens=2500,
        steps=1,
        warm_up=1,
    )
    (line,) = capsys.readouterr().out.splitlines()
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    assert line.startswith(f"{where}: 2 x 64, {attention} attention, not compiled: ")
