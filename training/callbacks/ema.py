"""Averages of the weights, which validation and sampling use."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


class Ema(Callback):
    """Exponential moving average of the trained weights, updated once per optimizer step.

    Saved in the checkpoint under `ema`; validation and sampling use these weights.
    """

    def __init__(self, decay: float = 0.9999):
        """
        Args:
            decay: share of the old average kept per step; smaller in the first steps, (1 + n) / (10
            + n).
        """
        self.decay = decay
        self.updates = 0
        self.weights: dict[str, Tensor] = {}
        self.live: dict[str, Tensor] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.weights = {name: value.detach().clone() for name, value in trained(pl_module).items()}

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if trainer.global_step == self.updates:  # inside an accumulated step
            return
        self.updates = trainer.global_step
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in trained(pl_module).items():
            self.weights[name] = like(value, self.weights[name]).lerp_(value.detach(), 1 - decay)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.live = {name: value.detach().clone() for name, value in trained(pl_module).items()}
        load_weights(pl_module, self.weights)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        load_weights(pl_module, self.live)
        self.live = {}

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        weights = {name: whole(value) for name, value in self.weights.items()}
        checkpoint["ema"] = {"weights": weights, "updates": self.updates}

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.weights, self.updates = checkpoint["ema"]["weights"], checkpoint["ema"]["updates"]


def trained(module: LightningModule) -> dict[str, Tensor]:
    return {name: value for name, value in module.named_parameters() if value.requires_grad}


@torch.no_grad()
def load_weights(module: LightningModule, weights: dict[str, Tensor]) -> None:
    for name, value in trained(module).items():
        value.copy_(like(value, weights[name]))


def like(value: Tensor, whole: Tensor) -> Tensor:
    """Weights on the device of the module's own, and spread over devices as those are."""
    if isinstance(value, DTensor) and not isinstance(whole, DTensor):
        return distribute_tensor(whole.to(value.device), value.device_mesh, value.placements)
    return whole.to(value.device)


def whole(value: Tensor) -> Tensor:
    """Weights in one piece; where they are spread over devices all of them must ask."""
    return value.full_tensor() if isinstance(value, DTensor) else value
