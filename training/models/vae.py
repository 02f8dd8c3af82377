"""Autoencoders, each named by its class path in the YAML: pixels to latents and back.

`SpaceToDepth` moves every block of pixels into channels: no weights, exactly invertible, what the
demo trains on. `DiffusersVae` loads a video autoencoder in diffusers format, such as
AutoencoderKLWan, from a folder or by hub name. An autoencoder is frozen and no part of the network:
its weights are in no checkpoint.
Shapes: C channels, T frames, H rows, W columns; B batch.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.identity import identity


class Autoencoder:
    """What the training plane asks of an autoencoder."""

    frames: int
    """Video frames per latent frame after the first."""
    pixels: int
    """Pixels per latent point along height and width."""
    channels: int
    """Values per latent point."""

    def encode(self, video_CTHW: Tensor) -> Tensor:
        """Pixels in [-1, 1] to a latent of about unit scale."""
        raise NotImplementedError

    def decode(self, latent_CTHW: Tensor) -> Tensor:
        raise NotImplementedError

    def identity(self) -> str:
        """Equal for two that give equal latents."""
        sizes = {"frames": self.frames, "pixels": self.pixels, "channels": self.channels}
        return identity(type(self), sizes, weights={})


class SpaceToDepth(Autoencoder):
    """Blocks of pixels become channels; decode(encode(x)) is x, bit for bit."""

    frames = 1

    def __init__(self, pixels: int = 4):
        """
        Args:
            pixels: side of the block in pixels.
        """
        self.pixels = pixels
        self.channels = 3 * pixels * pixels

    def encode(self, video_CTHW: Tensor) -> Tensor:
        return torch.nn.functional.pixel_unshuffle(
            video_CTHW.transpose(0, 1), self.pixels
        ).transpose(0, 1)

    def decode(self, latent_CTHW: Tensor) -> Tensor:
        return torch.nn.functional.pixel_shuffle(
            latent_CTHW.transpose(0, 1), self.pixels
        ).transpose(0, 1)


class DiffusersVae(Autoencoder):
    """A video autoencoder of diffusers, with its own latent statistics taken out."""

    def __init__(self, path: str, subfolder: str | None = None, dtype: str = "float32"):
        """
        Args:
            path: folder or hub name, such as `Wan-AI/Wan2.1-T2V-1.3B-Diffusers`.
            subfolder: folder of the autoencoder inside a pipeline, such as `vae`.
            dtype: torch type of the weights, such as `bfloat16`.
        """
        from diffusers.models.auto_model import AutoModel

        folder = Path(path, subfolder or "")
        if path.startswith((".", "/", "~")) and not (folder / "config.json").exists():
            raise ValueError(
                f"no config.json in {folder}, expected an autoencoder in diffusers format"
            )
        net: Any = AutoModel.from_pretrained(
            path, subfolder=subfolder, torch_dtype=getattr(torch, dtype)
        )
        self.net = net.eval().requires_grad_(False)
        self.channels, self.frames, self.pixels = self.measure()
        self.mean, self.std = latent_statistics(self.net.config, channels=self.channels)

    @torch.no_grad()
    def measure(self) -> tuple[int, int, int]:
        """(channels, frames, pixels) from the latent of a blank clip: configs name their factors in
        many ways.
        """
        probe = torch.zeros(1, 3, 17, 64, 64, dtype=self.net.dtype)
        _, channels, frames, height, _ = self.net.encode(probe).latent_dist.mode().shape
        if frames == 1 or 16 % (frames - 1):
            raise ValueError(
                f"{type(self.net).__name__} turns 17 frames into {frames}, expected 1 + 16 / k"
            )
        return channels, 16 // (frames - 1), 64 // height

    @torch.no_grad()
    def encode(self, video_CTHW: Tensor) -> Tensor:
        self.net.to(video_CTHW.device)
        latent = self.net.encode(video_CTHW[None].to(self.net.dtype)).latent_dist.mode()[0].float()
        return (latent - self.mean.to(latent)) / self.std.to(latent)

    @torch.no_grad()
    def decode(self, latent_CTHW: Tensor) -> Tensor:
        self.net.to(latent_CTHW.device)
        latent = latent_CTHW * self.std.to(latent_CTHW) + self.mean.to(latent_CTHW)
        return self.net.decode(latent[None].to(self.net.dtype)).sample[0].float()

    def identity(self) -> str:
        weights = self.net.state_dict() | {"latent mean": self.mean, "latent std": self.std}
        return identity(type(self.net), self.net.config, weights=weights)


def latent_statistics(config: Any, *, channels: int) -> tuple[Tensor, Tensor]:
    """(mean, std) of the latents, C x 1 x 1 x 1, from `latents_mean`/`latents_std` or the scaling
    factor.
    """

    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1, 1)

    if config.get("latents_mean") is not None:
        return column(config["latents_mean"]), column(config["latents_std"])
    shift = config.get("shift_factor") or 0.0
    return column([shift] * channels), column([1 / config.get("scaling_factor", 1.0)] * channels)
