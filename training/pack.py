"""Samples of any shape as one run of tokens: the batch contract of the training plane.

There is no batch dimension and no padding: a pack is N tokens, and offsets say where each sample
begins and ends. One sample, as when sampling, is a pack of one.
Shapes: N tokens, S samples, M text tokens, D values per token; C, T, H, W of a video.
"""

from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor

from training.models.attention import Table
from training.models.patches import Grid, Patch, patchify, token_positions


@dataclass(frozen=True)
class Clip:
    """One sample as read."""

    uid: str
    rng_key: str
    """names the sample's random streams"""
    video_THWC: Tensor
    """uint8"""
    times_s: Tensor
    """T, from the sample's first frame on"""
    caption: str


@dataclass(frozen=True)
class ClipBatch:
    """What the loader hands over: the clips of one pack."""

    clips: list[Clip]
    step_tokens: int
    """tokens of all packs of the global step"""

    def to(self, device: torch.device) -> "ClipBatch":
        clips = [
            replace(clip, video_THWC=clip.video_THWC.to(device, non_blocking=True))
            for clip in self.clips
        ]
        return replace(self, clips=clips)


@dataclass(frozen=True)
class Pack:
    """Tokens of several samples, one after another."""

    x_ND: Tensor
    """clean latent patches, in (time, row, column) order inside a sample"""
    cu: tuple[int, ...]
    """S + 1 offsets of the samples"""
    sample_N: Tensor
    """which sample a token belongs to"""
    positions_N3: Tensor
    """(seconds, y, x) of every token"""
    text_ids_M: Tensor
    cu_text: tuple[int, ...]
    rng_keys: tuple[str, ...]
    counts: tuple[Patch, ...]
    """tokens along (time, height, width) of every sample"""

    @property
    def own(self) -> Table:
        """Tokens of a sample see each other."""
        return Table(self.cu, self.cu)

    @property
    def cross(self) -> Table:
        """Tokens of a sample see its caption."""
        return Table(self.cu, self.cu_text)

    @property
    def lengths(self) -> list[int]:
        return [end - start for start, end in zip(self.cu, self.cu[1:], strict=False)]


def make_pack(
    latents: list[Tensor],
    *,
    times_s: list[Tensor],
    text_ids_M: Tensor,
    cu_text: tuple[int, ...],
    rng_keys: list[str],
    grid: Grid,
) -> Pack:
    """Pack latents C x T x H x W with the times of their video frames."""
    device = latents[0].device
    x = [patchify(latent, patch=grid.patch) for latent in latents]
    counts = [patch_counts(latent, patch=grid.patch) for latent in latents]
    positions = [
        token_positions(times.cpu(), counts=count, patch_time=grid.patch[0], group=grid.frames)
        for times, count in zip(times_s, counts, strict=True)
    ]
    lengths = [len(part) for part in x]
    return Pack(
        x_ND=torch.cat(x),
        cu=(0, *accumulate(lengths)),
        sample_N=torch.repeat_interleave(torch.tensor(lengths)).to(device),
        positions_N3=torch.cat(positions).to(device),
        text_ids_M=text_ids_M.to(device),
        cu_text=cu_text,
        rng_keys=tuple(rng_keys),
        counts=tuple(counts),
    )


def patch_counts(latent_CTHW: Tensor, *, patch: Patch) -> Patch:
    _, frames, height, width = latent_CTHW.shape
    return -(-frames // patch[0]), height // patch[1], width // patch[2]


def pixels_to_unit(video_THWC: Tensor) -> Tensor:
    """uint8 T x H x W x C to C x T x H x W in [-1, 1]."""
    return video_THWC.permute(3, 0, 1, 2).float() / 127.5 - 1


def unit_to_pixels(video_CTHW: Tensor) -> Tensor:
    """Inverse of `pixels_to_unit`; values outside are clipped."""
    return ((video_CTHW.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 3, 0).cpu()
