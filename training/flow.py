"""Rectified flow, one function per equation. t = 0 is data, t = 1 is noise.

Rectified flow, Liu et al. 2022, eq. 1; timestep sampling and shift, Esser et al. 2024 (SD3),
sections 3.1 and 5.3.2; prediction of clean data under the velocity loss, Li & He 2025 (JiT).
Shapes: N tokens, D values per token.
"""

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from training.objective import Objective

T_FLOOR = 1e-6
"""Keeps the velocity of a clean token finite; it is in no loss."""


@dataclass(frozen=True)
class Flow(Objective):
    """Knobs of rectified flow."""

    prediction: Literal["velocity", "clean"] = "velocity"
    """what the network puts out; `clean` suits patches wider than the network (raw pixels), where
    noise does not pass through its width"""
    t_mean: float = 0.0
    """mean of logit(t)"""
    t_std: float = 1.0
    """standard deviation of logit(t)"""
    t_min: float = 0.0
    """smallest t in training; above 0 for `clean`, whose loss is divided by t squared"""
    shift_tokens: int = 0
    """a sample of this many tokens has shift 1, larger ones see more noise; 0: no shift"""

    def timestep(self, z: float, *, tokens: int) -> float:
        t = logit_normal(z, mean=self.t_mean, std=self.t_std)
        return max(self.t_min, shift_timestep(t, shift=self.shift(tokens)))

    def shift(self, tokens: int) -> float:
        return shift_for_tokens(tokens, base=self.shift_tokens) if self.shift_tokens else 1.0

    def noised(self, x_ND: Tensor, *, noise_ND: Tensor, t_N1: Tensor) -> Tensor:
        return interpolate(x_ND, noise=noise_ND, t=t_N1)

    def errors(
        self, out_ND: Tensor, *, x_ND: Tensor, noise_ND: Tensor, x_t_ND: Tensor, t_N1: Tensor
    ) -> Tensor:
        v_ND = self.velocity_of(out_ND.float(), x_t_ND=x_t_ND, t=t_N1.clamp(min=T_FLOOR))
        return (v_ND - velocity(x_ND, noise=noise_ND)) ** 2

    def velocity_of(self, out_ND: Tensor, *, x_t_ND: Tensor, t: Tensor | float) -> Tensor:
        """The network's answer as a velocity."""
        if self.prediction == "clean":
            return velocity_from_clean(out_ND, x_t=x_t_ND, t=t)
        return out_ND

    def times(self, steps: int, *, tokens: int) -> list[float]:
        """From 1 to 0, dense where the shift says that most is decided."""
        shift = self.shift(tokens)
        return [shift_timestep(1 - step / steps, shift=shift) for step in range(steps + 1)]

    def step(self, out_ND: Tensor, *, x_t_ND: Tensor, t: float, t_next: float) -> Tensor:
        v_ND = self.velocity_of(out_ND, x_t_ND=x_t_ND, t=t)
        return euler_step(x_t_ND, v=v_ND, t=t, t_next=t_next)


def logit_normal(z: float, *, mean: float, std: float) -> float:
    """t = sigmoid(mean + std z), z ~ N(0, 1) (SD3, eq. 19)."""
    return 1 / (1 + math.exp(-(mean + std * z)))


def shift_for_tokens(tokens: int, *, base: int) -> float:
    """sqrt(m / n): the shift that leaves as much doubt about m tokens as t did about n (SD3, eq.
    23).
    """
    return math.sqrt(tokens / base)


def shift_timestep(t: float, *, shift: float) -> float:
    """t' = s t / (1 + (s - 1) t) (SD3, eq. 23)."""
    return shift * t / (1 + (shift - 1) * t)


def interpolate(x: Tensor, *, noise: Tensor, t: Tensor) -> Tensor:
    """x_t = (1 - t) x + t e."""
    return (1 - t) * x + t * noise


def velocity(x: Tensor, *, noise: Tensor) -> Tensor:
    """dx_t/dt = e - x."""
    return noise - x


def velocity_from_clean(clean: Tensor, *, x_t: Tensor, t: Tensor | float) -> Tensor:
    """e - x = (x_t - x) / t."""
    return (x_t - clean) / t


def euler_step(x_t: Tensor, *, v: Tensor, t: float, t_next: float) -> Tensor:
    """x_t' = x_t + (t' - t) v."""
    return x_t + (t_next - t) * v
