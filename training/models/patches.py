"""From pixels to tokens and back: the grid of latent points and the spacetime patches cut from it.

Sora's "spacetime patches" (Brooks et al. 2024): a clip of any length, size and aspect is a run of
tokens.
Shapes: C channels, T frames, H rows, W columns of the latent; N tokens, D values per token.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

Patch = tuple[int, int, int]
"""Latent points per token along (time, height, width)."""


class Grid(NamedTuple):
    """What one token covers; planning needs this and nothing else of the network."""

    frames: int
    """video frames per latent frame, after the first one (causal autoencoders keep the first frame
    alone)
    """
    pixels: int
    """pixels per latent point along height and width"""
    patch: Patch
    """latent points per token"""

    @property
    def step_frames(self) -> int:
        """Video frames of a token after the first one, which holds the first frame alone."""
        return self.frames * self.patch[0]

    def latent_frames(self, num_frames: int) -> int:
        return 1 + (num_frames - 1) // self.frames

    def fit_frames(self, num_frames: int) -> int:
        """The longest length 1 + k * step_frames that `num_frames` holds."""
        return 1 + (num_frames - 1) // self.step_frames * self.step_frames

    def counts(self, num_frames: int, height_px: int, width_px: int) -> Patch:
        """Tokens along (time, height, width) of a clip that fits the grid."""
        time, rows, columns = self.patch
        return (
            1 + (self.latent_frames(num_frames) - 1) // time,
            height_px // (self.pixels * rows),
            width_px // (self.pixels * columns),
        )

    def fit_size(self, height_px: int, width_px: int, *, area_px: int) -> tuple[int, int]:
        """The size on the grid nearest to the given aspect with about `area_px` pixels; enlarged by
        no more than half a token.
        """
        scale = min(1.0, math.sqrt(area_px / (height_px * width_px)))
        step_y, step_x = self.pixels * self.patch[1], self.pixels * self.patch[2]
        return (
            max(1, round(height_px * scale / step_y)) * step_y,
            max(1, round(width_px * scale / step_x)) * step_x,
        )


def patchify(latent_CTHW: Tensor, *, patch: Patch) -> Tensor:
    """Tokens in (time, row, column) order, of 1 + k * patch[0] latent frames.

    The first frame fills a token alone, as often as a token holds frames: so a still image and the
    first frame of a video are the same token, and either can be given.
    """
    channels, frames, height, width = latent_CTHW.shape
    time, rows, columns = patch
    assert (frames - 1) % time == 0, (latent_CTHW.shape, patch)
    assert height % rows == 0 and width % columns == 0, (latent_CTHW.shape, patch)
    if time > 1:
        latent_CTHW = pad(latent_CTHW, (0, 0, 0, 0, time - 1, 0), mode="replicate")
    cut = latent_CTHW.reshape(channels, -1, time, height // rows, rows, width // columns, columns)
    return cut.permute(1, 3, 5, 2, 4, 6, 0).reshape(-1, time * rows * columns * channels)


def unpatchify(x_ND: Tensor, *, counts: Patch, patch: Patch) -> Tensor:
    """Inverse of `patchify`: the latent CTHW. Of the first frame the last copy is taken."""
    time, rows, columns = patch
    cut = x_ND.reshape(*counts, time, rows, columns, -1).permute(6, 0, 3, 1, 4, 2, 5)
    latent_CTHW = cut.reshape(cut.shape[0], counts[0] * time, counts[1] * rows, counts[2] * columns)
    return latent_CTHW[:, time - 1 :]


def token_positions(times_s: Tensor, *, counts: Patch, patch_time: int, group: int) -> Tensor:
    """Centre of every token as (seconds, y, x), N x 3.

    Seconds are real ones, the mean over the frames that a token covers: any frame rate and any gap
    is expressible. y and x are measured from the centre of the picture in units of the side of the
    square with its area, so that another resolution falls between known positions and another
    aspect reaches beyond them."""
    latent_times_s = group_means(times_s, size=group)
    time_s = group_means(latent_times_s, size=patch_time)
    _, rows, columns = counts
    side = math.sqrt(rows * columns)
    y = (torch.arange(rows) + 0.5 - rows / 2) / side
    x = (torch.arange(columns) + 0.5 - columns / 2) / side
    mesh = torch.meshgrid(time_s.float(), y, x, indexing="ij")
    return torch.stack([axis.reshape(-1) for axis in mesh], dim=-1)


def group_means(times_s: Tensor, *, size: int) -> Tensor:
    """Mean time of the first frame alone, then of groups of `size`: what a causal autoencoder puts
    into each latent frame, and patchify into each token.
    """
    groups = times_s[1:].reshape((len(times_s) - 1) // size, size)
    return torch.cat([times_s[:1], groups.mean(1)])
