"""A step whose gradient is no number changes nothing: one bad batch would end a run for good."""

import math
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from training.callbacks.ema import whole


class NanGuard(Callback):
    """Leaves out optimizer steps with a gradient that is infinite or no number.

    All devices see the same gradient, so all of them leave out the same steps.
    """

    def __init__(self, max_in_a_row: int = 10):
        """
        Args:
            max_in_a_row: steps left out one after another before the run stops.
        """
        self.max_in_a_row, self.in_a_row, self.left_out = max_in_a_row, 0, 0

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        if math.isfinite(gradient_norm(pl_module)):
            self.in_a_row = 0
            return
        self.in_a_row += 1
        self.left_out += 1
        if trainer.is_global_zero:
            print(f"step {trainer.global_step}: the gradient is no number; left out", flush=True)
        if self.in_a_row >= self.max_in_a_row:
            raise RuntimeError(
                f"{self.in_a_row} steps in a row had a gradient that is no number: set "
                "trainer.gradient_clip_val, or lower model.optimizer.lr and set data.new_phase to "
                "true, and go on from the last checkpoint"
            )
        optimizer.zero_grad(set_to_none=True)  # an optimizer skips weights without a gradient

    def state_dict(self) -> dict[str, Any]:
        return {"left_out": self.left_out, "in_a_row": self.in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.left_out, self.in_a_row = state_dict["left_out"], state_dict["in_a_row"]


def gradient_norm(module: LightningModule) -> float:
    """Norm of the whole gradient, over all devices where weights are spread over them."""
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    return float(whole(torch.nn.utils.get_total_norm(gradients)))
