"""Loss and speed, as one line on the terminal and to the logger.

Speed is counted on real tokens: what is filled up and what is computed twice does not make a run
look faster. Time is all that passes between two lines, validation and saving too. Of what devices
differ in, the worst is told.
"""

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

PEAK_TFLOPS = {"H200": 989, "H100": 989, "H20": 148, "A100": 312, "L40S": 362, "RTX 4090": 165}
"""Dense bf16 operations per second by the makers' data sheets, for devices whose name holds the
key; the SXM boards where there are several."""


class Meters(Callback):
    """Loss, tokens per second, share of the device's peak (MFU), fill of packs, balance of devices
    and share of time waited for data.
    """

    def __init__(self, every_n_steps: int = 50, peak_tflops: float | None = None):
        """
        Args:
            every_n_steps: optimizer steps between two lines.
            peak_tflops: operations per second that a device can do, in 10^12; null: by its name,
                and no MFU where that is unknown.
        """
        if every_n_steps < 1:
            raise ValueError(f"meters.{every_n_steps = }, expected 1 or more")
        self.every_n_steps, self.peak_tflops = every_n_steps, peak_tflops
        self.reset()

    def reset(self, loader: Any = None) -> None:
        self.started_s = time.perf_counter()
        self.waited_before_s = getattr(loader, "waited_s", 0.0)
        self.tokens, self.room, self.flops = 0, 0, 0.0
        self.error, self.values, self.balance, self.packs = 0.0, 0, 0.0, 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.reset(trainer.train_dataloader)
        self.step = trainer.global_step
        if self.peak_tflops is None:
            self.peak_tflops = peak_of(pl_module.device)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *args: Any
    ) -> None:
        self.tokens += outputs["tokens"]
        self.flops += outputs["flops"]
        self.values += outputs["values"]
        self.error = self.error + outputs["error"]
        self.room += batch.budget_tokens
        self.balance += batch.balance
        self.packs += 1
        if trainer.global_step != self.step and trainer.global_step % self.every_n_steps == 0:
            self.report(trainer, pl_module)
            self.reset(trainer.train_dataloader)
        self.step = trainer.global_step

    def report(self, trainer: Trainer, pl_module: LightningModule) -> None:
        waited_s = getattr(trainer.train_dataloader, "waited_s", 0.0) - self.waited_before_s
        meters = self.measure(pl_module, waited_s=waited_s)
        for logger in trainer.loggers:  # at our own steps, not Lightning's every 50
            logger.log_metrics(meters, step=trainer.global_step)
        if trainer.is_global_zero:
            print(line(meters, step=trainer.global_step, steps=trainer.max_steps), flush=True)

    def measure(self, pl_module: LightningModule, *, waited_s: float) -> dict[str, float]:
        """Meters since the last report, over all devices."""
        error = float(self.error)  # waits for the device, so that the time is its time too
        seconds = time.perf_counter() - self.started_s
        own = [error, self.values, self.tokens, self.room, self.flops, waited_s, seconds]
        every: Tensor = pl_module.all_gather(torch.tensor(own, dtype=torch.float64).float())  # pyright: ignore
        every_RK = every.reshape(-1, len(own)).double().cpu()
        error, values, tokens, room, flops, _, _ = every_RK.sum(0).tolist()
        seconds = float(every_RK[:, 6].max())
        meters = {
            "train/loss": error / max(1.0, values),
            "meter/tokens_per_s": tokens / seconds,
            "meter/non_pad_fraction": tokens / room,
            "meter/rank_balance": self.balance / self.packs,
            "meter/wait_share": float((every_RK[:, 5] / every_RK[:, 6]).max()),
        }
        if self.peak_tflops:
            peak = self.peak_tflops * 1e12 * len(every_RK)
            meters["meter/mfu"] = flops / seconds / peak
        return meters


def line(meters: dict[str, float], *, step: int, steps: int) -> str:
    """The meters in words."""
    text = (
        f"step {step}/{steps}  loss {meters['train/loss']:.4f}  "
        f"{meters['meter/tokens_per_s']:.0f} tokens/s  "
        f"pack fill {meters['meter/non_pad_fraction']:.3f}  "
        f"waited for data {meters['meter/wait_share']:.1%}"
    )
    if meters["meter/rank_balance"] < 1:
        text += f"  balance {meters['meter/rank_balance']:.3f}"
    if "meter/mfu" in meters:
        text += f"  MFU {meters['meter/mfu']:.1%}"
    return text


def peak_of(device: torch.device) -> float | None:
    """Peak of a device in 10^12 operations per second, where its name tells."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((float(peak) for key, peak in PEAK_TFLOPS.items() if key in name), None)
