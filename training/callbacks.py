"""What happens around the training step: EMA weights, checkpoints, meters, the loss on a fixed
batch.
"""

import io
import os
import time
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from curation import storage
from training.data import VideoData


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
            self.weights[name] = (
                self.weights[name].to(value.device).lerp_(value.detach(), 1 - decay)
            )

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.live = {name: value.detach().clone() for name, value in trained(pl_module).items()}
        load_weights(pl_module, self.weights)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        load_weights(pl_module, self.live)
        self.live = {}

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["ema"] = {"weights": self.weights, "updates": self.updates}

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.weights, self.updates = checkpoint["ema"]["weights"], checkpoint["ema"]["updates"]


def trained(module: LightningModule) -> dict[str, Tensor]:
    return {name: value for name, value in module.named_parameters() if value.requires_grad}


@torch.no_grad()
def load_weights(module: LightningModule, weights: dict[str, Tensor]) -> None:
    for name, value in trained(module).items():
        value.copy_(weights[name])


class SaveCheckpoint(Checkpoint):
    """Checkpoints at optimizer steps into `<output>/checkpoints`, the newest also as
    `last.ckpt`.
    """

    def __init__(self, every_n_steps: int = 1000, keep: int = 2):
        """
        Args:
            every_n_steps: optimizer steps between two checkpoints; the end of training is saved
            too.
            keep: newest checkpoints kept.
        """
        self.every_n_steps, self.keep, self.saved_step = every_n_steps, keep, 0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if trainer.global_step % self.every_n_steps == 0:
            self.save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        if trainer.global_step == self.saved_step:  # inside the next accumulated step
            return
        self.saved_step = trainer.global_step
        folder = Path(trainer.default_root_dir) / "checkpoints"
        path = folder / f"step-{self.saved_step:08d}.ckpt"
        trainer.save_checkpoint(path, weights_only=False)
        if trainer.is_global_zero:
            link = folder / f"{storage.TEMPORARY}last"
            link.unlink(missing_ok=True)
            os.link(path, link)
            link.replace(folder / "last.ckpt")
            for old in sorted(folder.glob("step-*.ckpt"))[: -self.keep]:
                old.unlink()

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.saved_step = checkpoint["global_step"]


class AtomicCheckpointIO(TorchCheckpointIO):
    """A checkpoint appears whole or not at all: Lightning's own writer may copy from another disk,
    without fsync.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        storage.commit(str(path), buffer.getvalue())


class Meters(Callback):
    """Loss and speed, as one line and to the logger."""

    def __init__(self, every_n_steps: int = 50):
        """
        Args:
            every_n_steps: optimizer steps between two lines.
        """
        self.every_n_steps = every_n_steps
        self.reset()
        self.ended_s: float | None = None

    def reset(self) -> None:
        self.started_s = time.perf_counter()
        self.waited_s, self.tokens, self.packs, self.loss_sum = 0.0, 0, 0, 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.reset()
        self.ended_s = self.started_s
        self.step = trainer.global_step

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        if self.ended_s is not None:
            self.waited_s += time.perf_counter() - self.ended_s

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any
    ) -> None:
        self.tokens += outputs["tokens"]
        self.packs += 1
        self.loss_sum = self.loss_sum + outputs["pack_loss"] * outputs["tokens"]
        if trainer.global_step != self.step and trainer.global_step % self.every_n_steps == 0:
            self.report(trainer, pl_module)
            self.reset()
        self.step = trainer.global_step
        self.ended_s = time.perf_counter()

    def report(self, trainer: Trainer, pl_module: LightningModule) -> None:
        seconds = time.perf_counter() - self.started_s
        data: VideoData = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        meters = {
            "train/loss": float(self.loss_sum) / self.tokens,
            "meter/tokens_per_s": trainer.world_size * self.tokens / seconds,
            "meter/non_pad_fraction": self.tokens / (self.packs * data.budget_tokens),
            "meter/wait_share": self.waited_s / seconds,
        }
        pl_module.log_dict(meters, rank_zero_only=True)
        if trainer.is_global_zero:
            print(
                f"step {trainer.global_step}/{trainer.max_steps}  loss {meters['train/loss']:.4f}  "
                f"{meters['meter/tokens_per_s']:.0f} tokens/s  "
                f"pack fill {meters['meter/non_pad_fraction']:.3f}  "
                f"waited for data {meters['meter/wait_share']:.1%}",
                flush=True,
            )


class FixedBatch(Callback):
    """Loss on one pack with fixed noise and timesteps, before and after training."""

    def __init__(self) -> None:
        self.first: float | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.first is None:
            self.first = self.measure(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        last = self.measure(trainer, pl_module)
        if trainer.is_global_zero and self.first is not None:
            print(
                f"fixed-batch loss: {self.first:.4f} -> {last:.4f} ({self.first / last:.1f} fold)",
                flush=True,
            )

    @torch.no_grad()
    def measure(self, trainer: Trainer, pl_module: Any) -> float:
        data: VideoData = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        pack = pl_module.pack(data.fixed_batch().to(pl_module.device).clips, text_drop=0.0)
        error = pl_module.error(pack, t_S=pl_module.timesteps(pack), noise_ND=pl_module.noise(pack))
        return float(error) / pack.x_ND.numel()

    def state_dict(self) -> dict[str, Any]:
        return {"first": self.first}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.first = state_dict["first"]
