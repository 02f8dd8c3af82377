"""Checkpoints that appear whole or not at all, also where a run is asked to stop."""

import os
import signal
import threading
import zipfile
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
        if every_n_steps < 1 or keep < 1:
            raise ValueError(f"checkpoint.{every_n_steps = }, {keep = }, expected 1 or more")
        self.every_n_steps, self.keep, self.saved_step = every_n_steps, keep, 0
        self.asked: int | None = None
        """the signal that asked this process to stop"""
        self.stopped = False
        """the run ended early because a device was asked to"""
        self.handlers: dict[int, Any] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = folder_of(trainer)
        if trainer.is_global_zero:
            storage.sweep(str(folder))
        if trainer.ckpt_path is None and (folder / "last.ckpt").exists():
            raise ValueError(
                f"{trainer.default_root_dir} holds the checkpoints of a run: go on from it with "
                f"--ckpt_path {folder / 'last.ckpt'} (make train RESUME=1), or give another "
                "--trainer.default_root_dir (RUN=)"
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.handlers[number] = signal.signal(number, self.ask)

    def ask(self, number: int, frame: Any) -> None:
        """Stop after this step; the same signal again has its usual effect."""
        self.asked = number
        signal.signal(number, self.handlers[number])

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        if trainer.global_step % self.every_n_steps == 0:
            self.save(trainer)
        # devices stop together, or one would wait for the others for ever
        if trainer.strategy.reduce_boolean_decision(self.asked is not None, all=False):
            self.stopped = trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        self.save(trainer)
        if self.stopped and trainer.is_global_zero:
            folder = folder_of(trainer)
            print(
                f"stopped at step {trainer.global_step}, as asked: go on with --ckpt_path "
                f"{folder / 'last.ckpt'} (make train RESUME=1)",
                flush=True,
            )

    def save(self, trainer: Trainer) -> None:
        if trainer.global_step == self.saved_step:  # inside the next accumulated step
            return
        self.saved_step = trainer.global_step
        folder = folder_of(trainer)
        path = folder / f"step-{self.saved_step:08d}.ckpt"
        trainer.save_checkpoint(path, weights_only=False)
        if trainer.is_global_zero:
            link = folder / f"{storage.TEMPORARY}last"
            link.unlink(missing_ok=True)
            os.link(path, link)
            link.replace(folder / "last.ckpt")
            # later ones are of a run that was here before, and are left to their owner
            own = [old for old in sorted(folder.glob("step-*.ckpt")) if old <= path]
            for old in own[: -self.keep]:
                old.unlink()

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.saved_step = checkpoint["global_step"]
        count_packs_anew(checkpoint, packs_per_step=packs_of_a_device(trainer))


def folder_of(trainer: Trainer) -> Path:
    return Path(trainer.default_root_dir) / "checkpoints"


def require_checkpoint(path: str) -> None:
    """Raise ValueError where there is none, or a part of one."""
    if not Path(path).is_file():
        raise ValueError(
            f"no checkpoint at {path}, expected a file such as "
            "<output>/checkpoints/last.ckpt: train first"
        )
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path} is no checkpoint, or not a whole one: give another, such as the newest "
            "step-*.ckpt beside it"
        )


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
        folder = Path(path).parent
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"{storage.TEMPORARY}{os.getpid()}.ckpt"
        try:
            torch.save(checkpoint, temporary)
            storage.commit(str(path), temporary)
        finally:
            temporary.unlink(missing_ok=True)
