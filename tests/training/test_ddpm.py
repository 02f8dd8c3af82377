"""Every equation of `ddpm.py` against an answer worked out by hand."""

import math

import pytest
import torch

from training import ddpm
from training.ddpm import Ddpm

X = torch.tensor([[1.0, -2.0]])
NOISE = torch.tensor([[3.0, 0.5]])


def test_cosine_schedule() -> None:
    """1 at the data, 0 at the noise, and cos^2(pi/4 (1 + s') ) / f(0) in the middle."""
    t = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    a = ddpm.cosine_alpha_bar(t)
    middle = math.cos(0.508 / 1.008 * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    assert a.tolist() == pytest.approx([1.0, middle, 0.0], abs=1e-12)
    assert middle == pytest.approx(0.4938, abs=1e-4)


def test_diffuse() -> None:
    assert ddpm.diffuse(X, noise=NOISE, alpha_bar=torch.tensor(0.64)).tolist() == [
        pytest.approx([0.8 * 1 + 0.6 * 3, 0.8 * -2 + 0.6 * 0.5])
    ]


def test_min_snr_weight() -> None:
    """SNR 9 is capped at 5, SNR 1/4 is not."""
    weights = ddpm.min_snr_weight(torch.tensor([0.9, 0.2]), gamma=5.0)
    assert weights.tolist() == pytest.approx([5 / 9, 1.0])


def test_one_step_along_the_true_noise_lands_on_the_data() -> None:
    x_t = ddpm.diffuse(X, noise=NOISE, alpha_bar=torch.tensor(0.36))
    back = ddpm.ddim_step(
        x_t, noise=NOISE, alpha_bar=torch.tensor(0.36), alpha_bar_next=torch.tensor(1.0)
    )
    assert torch.allclose(back, X, atol=1e-6)


def test_sampling_a_gaussian_gives_its_scale() -> None:
    """Of data N(0, s^2) the best guess of the noise is sqrt(1 - a) x / (a s^2 + 1 - a), and what
    begins as N(0, 1) ends as N(0, s^2): x_0 = s x_1, but for where the first step begins.
    """
    objective, s = Ddpm(t_max=0.9999), 0.5
    x = start = torch.tensor([[1.7]], dtype=torch.float64)
    times = objective.times(4000, tokens=1)
    for t, t_next in zip(times, times[1:], strict=False):
        a = ddpm.cosine_alpha_bar(torch.tensor(t, dtype=torch.float64))
        noise = (1 - a).clamp(min=0).sqrt() * x / (a * s**2 + 1 - a)
        x = objective.step(noise, x_t_ND=x, t=t, t_next=t_next)
    assert x.item() == pytest.approx(start.item() * s, rel=5e-3)


def test_errors_are_of_the_noise() -> None:
    t = torch.tensor([[0.3]])
    off = NOISE + torch.tensor([1.0, -2.0])
    known = {"x_ND": X, "noise_ND": NOISE, "x_t_ND": X, "t_N1": t}
    assert Ddpm(snr_gamma=None).errors(off, **known).tolist() == [pytest.approx([1.0, 4.0])]
    snr = (a := ddpm.cosine_alpha_bar(t).item()) / (1 - a)
    assert snr < 5
    assert Ddpm().errors(off, **known).tolist() == [pytest.approx([1.0, 4.0])]
    assert Ddpm(snr_gamma=1.0).errors(off, **known)[0, 0].item() == pytest.approx(1 / snr)
    at_zero = {**known, "t_N1": torch.zeros(1, 1)}
    assert Ddpm().errors(off, **at_zero).isfinite().all()


def test_timesteps_are_uniform() -> None:
    objective = Ddpm(t_max=0.9)
    z = torch.randn(20_000, generator=torch.Generator().manual_seed(0)).tolist()
    t = torch.tensor([objective.timestep(value, tokens=1) for value in z])
    assert torch.histc(t, bins=9, min=0, max=0.9).div(20_000).sub(1 / 9).abs().max() < 0.01


def test_times_fall_to_zero() -> None:
    assert Ddpm(t_max=0.8).times(4, tokens=1) == pytest.approx([0.8, 0.6, 0.4, 0.2, 0.0])
    with pytest.raises(ValueError, match="t_max = 1, expected a time between 0 and 1"):
        Ddpm(t_max=1)
