"""Validation loss at fixed timesteps with fixed noise.

One average over random timesteps hides which part of the way improves and moves with the draw. Here
every clip is seen at the same five timesteps with the noise of its own id, so two checkpoints
differ only by their weights. Under rectified flow a velocity of zero scores E|e - x|^2 = 1 + E|x|^2
at every t."""

import json
from typing import Any

import torch

from curation import storage

T_VALUES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Middles of five equal bins; t = 1 is pure noise."""


class TimestepLoss:
    """Sums of squared errors per timestep, over packs and devices."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.errors = [0.0] * len(T_VALUES)
        self.values = [0] * len(T_VALUES)

    def add(self, number: int, *, error: float, values: int) -> None:
        self.errors[number] += error
        self.values[number] += values

    def finish(self, trainer: Any) -> dict[str, float]:
        """Mean loss per timestep and over all, printed and written to `timestep_loss.json`; then
        start over.
        """
        sums = torch.tensor(
            [self.errors, self.values], dtype=torch.float64, device=trainer.strategy.root_device
        )
        sums = trainer.strategy.reduce(sums, reduce_op="sum")
        self.reset()
        means = (sums[0] / sums[1]).tolist()
        losses = {"loss": sum(means) / len(means)}
        losses |= {f"loss_t{t:g}": mean for t, mean in zip(T_VALUES, means, strict=True)}
        if trainer.is_global_zero:
            record = {"step": trainer.global_step, "values": int(sums[1][0]), **losses}
            storage.commit(
                f"{trainer.default_root_dir}/timestep_loss.json",
                json.dumps(record, indent=1).encode(),
            )
            per_t = "  ".join(
                f"t={t:g}: {mean:.4f}" for t, mean in zip(T_VALUES, means, strict=True)
            )
            print(f"validation loss {losses['loss']:.4f}   {per_t}", flush=True)
        return losses
