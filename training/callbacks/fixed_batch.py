"""The loss on one pack with fixed noise, before and after training: was anything learned?"""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from training.data import VideoData


class FixedBatch(Callback):
    """Loss on one pack with fixed noise and timesteps, before and after training."""

    def __init__(self) -> None:
        self.first: float | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.first is None:
            self.first = self.measure(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        last = self.measure(trainer, pl_module)
        if trainer.is_global_zero and self.first and last:
            print(
                f"fixed-batch loss: {self.first:.4f} -> {last:.4f} ({self.first / last:.1f} fold)",
                flush=True,
            )

    @torch.no_grad()
    def measure(self, trainer: Trainer, pl_module: Any) -> float:
        data: VideoData = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        pack = pl_module.pack(data.fixed_batch().to(pl_module.device).clips)
        t_S, noise_ND = pl_module.timesteps(pack), pl_module.noise(pack)
        with trainer.precision_plugin.forward_context():  # as in a step
            error = pl_module.error(pack, t_S=t_S, noise_ND=noise_ND)
        return float(error) / pack.x_ND.numel()  # nothing is given in it

    def state_dict(self) -> dict[str, Any]:
        return {"first": self.first}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.first = state_dict["first"]
