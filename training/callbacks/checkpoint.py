"""Checkpoints that appear whole or not at all."""

import io
import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from curation import storage


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

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            storage.sweep(str(Path(trainer.default_root_dir) / "checkpoints"))

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
        count_packs_anew(checkpoint, packs_per_step=packs_of_a_device(trainer))


def packs_of_a_device(trainer: Trainer) -> int:
    """Packs that a device takes in an optimizer step."""
    data: Any = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
    return data.packs_per_step // trainer.world_size


def count_packs_anew(checkpoint: dict[str, Any], *, packs_per_step: int) -> None:
    """Lightning counts the packs of a device and ends a step where their number is a multiple of
    those in a step: the number that another number of devices came to would end it too early.
    """
    done = checkpoint["global_step"] * packs_per_step
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    for kind in ("total", "current"):
        progress[kind] = dict.fromkeys(progress[kind], done)


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
