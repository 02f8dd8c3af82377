"""Noise prediction under a variance-preserving diffusion, one function per equation.

DDPM, Ho et al. 2020, eq. 4 and 14; cosine schedule, Nichol & Dhariwal 2021, eq. 17, here of a
continuous t = step / T; min-SNR weights, Hang et al. 2023, sec. 3.4; the deterministic sampler,
Song et al. 2021 (DDIM), eq. 12 with sigma = 0.
Shapes: N tokens, D values per token.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from training.objective import Objective

OFFSET = 0.008
"""s of the cosine schedule: noise of the first step is about one level of a pixel."""


@dataclass(frozen=True)
class Ddpm(Objective):
    """Knobs of noise prediction."""

    snr_gamma: float | None = 5.0
    """largest signal-to-noise ratio that counts (min-SNR); null: every t weighs the same"""
    t_max: float = 0.995
    """largest t: beyond it next to nothing of the data is left to divide by"""

    def __post_init__(self) -> None:
        if not 0 < self.t_max < 1:
            raise ValueError(f"t_max = {self.t_max}, expected a time between 0 and 1")

    def timestep(self, z: float, *, tokens: int) -> float:
        return self.t_max * normal_cdf(z)

    def noised(self, x_ND: Tensor, *, noise_ND: Tensor, t_N1: Tensor) -> Tensor:
        return diffuse(x_ND, noise=noise_ND, alpha_bar=cosine_alpha_bar(t_N1))

    def errors(
        self, out_ND: Tensor, *, x_ND: Tensor, noise_ND: Tensor, x_t_ND: Tensor, t_N1: Tensor
    ) -> Tensor:
        errors_ND = (out_ND.float() - noise_ND) ** 2
        if self.snr_gamma is None:
            return errors_ND
        return min_snr_weight(cosine_alpha_bar(t_N1), gamma=self.snr_gamma) * errors_ND

    def times(self, steps: int, *, tokens: int) -> list[float]:
        return [self.t_max * (1 - step / steps) for step in range(steps + 1)]

    def step(self, out_ND: Tensor, *, x_t_ND: Tensor, t: float, t_next: float) -> Tensor:
        now, after = (cosine_alpha_bar(torch.tensor(time)) for time in (t, t_next))
        return ddim_step(x_t_ND, noise=out_ND, alpha_bar=now, alpha_bar_next=after)


def normal_cdf(z: float) -> float:
    """A standard normal number as a uniform one."""
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))


def cosine_alpha_bar(t: Tensor) -> Tensor:
    """f(t) / f(0), f(t) = cos^2((t + s) / (1 + s) pi / 2) (Nichol & Dhariwal 2021, eq. 17)."""
    start = math.cos(OFFSET / (1 + OFFSET) * math.pi / 2) ** 2
    return torch.cos((t + OFFSET) / (1 + OFFSET) * math.pi / 2) ** 2 / start


def diffuse(x: Tensor, *, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """x_t = sqrt(a) x + sqrt(1 - a) e (DDPM, eq. 4)."""
    return alpha_bar.sqrt() * x + (1 - alpha_bar).clamp(min=0).sqrt() * noise


def min_snr_weight(alpha_bar: Tensor, *, gamma: float) -> Tensor:
    """min(SNR, gamma) / SNR with SNR = a / (1 - a), for noise prediction (Hang et al. 2023)."""
    snr = alpha_bar / (1 - alpha_bar).clamp(min=1e-8)
    return snr.clamp(max=gamma) / snr


def ddim_step(x_t: Tensor, *, noise: Tensor, alpha_bar: Tensor, alpha_bar_next: Tensor) -> Tensor:
    """x_t' = sqrt(a') (x_t - sqrt(1 - a) e) / sqrt(a) + sqrt(1 - a') e (DDIM, eq. 12)."""
    clean = (x_t - (1 - alpha_bar).clamp(min=0).sqrt() * noise) / alpha_bar.sqrt()
    return diffuse(clean, noise=noise, alpha_bar=alpha_bar_next)
