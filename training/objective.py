"""What the training plane asks of an objective: how data is noised, what the network is scored by,
and how a sample is taken back from noise.

Time runs from t = 0, clean data, to t = 1, noise; a token with t = 0 is clean under every
objective, which is what given frames rest on. `flow.Flow` is rectified flow and `ddpm.Ddpm` is
noise prediction. Both are named by class path in the YAML.
Shapes: N tokens, D values per token; t is N x 1, or one number.
"""

from torch import Tensor


class Objective:
    """One way to train and sample."""

    def timestep(self, z: float, *, tokens: int) -> float:
        """t of one training sample of so many tokens, from one standard normal number."""
        raise NotImplementedError

    def noised(self, x_ND: Tensor, *, noise_ND: Tensor, t_N1: Tensor) -> Tensor:
        """The data at t."""
        raise NotImplementedError

    def errors(
        self, out_ND: Tensor, *, x_ND: Tensor, noise_ND: Tensor, x_t_ND: Tensor, t_N1: Tensor
    ) -> Tensor:
        """Squared error of every value that the network puts out, weighted, N x D in float32.

        Where t = 0 it is finite and means nothing.
        """
        raise NotImplementedError

    def times(self, steps: int, *, tokens: int) -> list[float]:
        """steps + 1 falling times of sampling, the last one 0."""
        raise NotImplementedError

    def step(self, out_ND: Tensor, *, x_t_ND: Tensor, t: float, t_next: float) -> Tensor:
        """The data at t_next < t."""
        raise NotImplementedError


def guide(out_text: Tensor, *, out_empty: Tensor, scale: float) -> Tensor:
    """out_empty + w (out_text - out_empty); w = 1 leaves out_text as it is (Ho & Salimans 2022, eq.
    6). Velocity, noise and clean data are linear in each other at one x_t and t, so that guiding
    one of them guides all.
    """
    return out_empty + scale * (out_text - out_empty)
