"""Samples of any shape as one run of tokens: the batch contract of the training plane.

There is no batch dimension and no padding: a pack is N tokens, and offsets say where each sample
begins and ends. One sample, as when sampling, is a pack of one. Which tokens see each other is a
matter of offsets too: of samples for full attention, of frames for attention within a frame, and of
places, in another order of the tokens, for attention along time.
Shapes: N tokens, S samples, M text tokens, D values per token; C, T, H, W of a video.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from training.flat import Place, flatten, unflatten
from training.models.attention import Table, diffs
from training.models.dit import Layout, Network
from training.models.patches import Grid, Patch, patchify, token_positions


@dataclass(frozen=True)
class Clip:
    """One sample as read."""

    uid: str
    rng_key: str
    """names the sample's random streams"""
    video_THWC: Tensor | None
    """uint8; null where the latent was cached"""
    times_s: Tensor
    """T, from the sample's first frame on"""
    caption: str
    known_THW: Tensor
    """bool over the sample's tokens: given ones"""
    latent_CTHW: Tensor | None = None
    """as `training encode` wrote it"""
    text_MD: Tensor | None = None
    """states of the caption, as `training encode` wrote them"""
    empty_text_MD: Tensor | None = None
    """states of the empty caption, likewise"""
    error: str | None = None
    """why there is nothing to see; the sample keeps its place in the pack and its tokens are in no
    loss
    """


TENSORS = [field.name for field in fields(Clip) if "Tensor" in str(field.type)]


@dataclass(frozen=True)
class ClipBatch:
    """What the loader hands over: the clips of one pack."""

    clips: list[Clip]
    step_targets: int
    """tokens that are predicted in all packs of the global step"""
    budget_tokens: int
    """tokens that the pack might hold"""
    balance: float = 1.0
    """mean over largest cost of a device in the global step"""

    def __reduce__(self) -> tuple[Any, ...]:
        """Between processes all its tensors travel as one."""
        parts = [getattr(clip, name) for clip in self.clips for name in TENSORS]
        bare = [replace(clip, **dict.fromkeys(TENSORS)) for clip in self.clips]
        return _arrived, (replace(self, clips=[]).__dict__, bare, *flatten(parts))

    def to(self, device: torch.device) -> "ClipBatch":
        def moved(part: Tensor | None) -> Tensor | None:
            return None if part is None else part.to(device, non_blocking=True)

        clips = [
            replace(
                clip,
                video_THWC=moved(clip.video_THWC),
                latent_CTHW=moved(clip.latent_CTHW),
                text_MD=moved(clip.text_MD),
                empty_text_MD=moved(clip.empty_text_MD),
            )
            for clip in self.clips
        ]
        return replace(self, clips=clips)


def _arrived(
    knobs: dict[str, Any], bare: list[Clip], flat: Tensor, places: list[Place | None]
) -> ClipBatch:
    parts = iter(unflatten(flat, places))
    clips = [replace(clip, **{name: next(parts) for name in TENSORS}) for clip in bare]
    knobs["clips"] = clips
    return ClipBatch(**knobs)


@dataclass(frozen=True)
class Pack:
    """Tokens of several samples, one after another."""

    x_ND: Tensor
    """clean latent patches, in (time, row, column) order inside a sample"""
    known_N: Tensor
    """bool: a given token, which is clean and in no loss"""
    cu: tuple[int, ...]
    """S + 1 offsets of the samples"""
    sample_N: Tensor
    """which sample a token belongs to"""
    positions_N3: Tensor
    """(seconds, y, x) of every token"""
    text: Tensor
    """M token ids, or M x D states where they were cached"""
    cu_text: tuple[int, ...]
    rng_keys: tuple[str, ...]
    counts: tuple[Patch, ...]
    """tokens along (time, height, width) of every sample"""

    @property
    def cross(self) -> Table:
        """Tokens of a sample see its caption."""
        return Table(self.cu, self.cu_text)

    @property
    def lengths(self) -> list[int]:
        return diffs(self.cu)

    def own(self, network: Network) -> list[Layout]:
        """Who sees whom inside a sample, in the blocks of a network in turn."""
        if network.attention == "full":
            return [Layout(Table(self.cu, self.cu))]
        device = self.x_ND.device
        return [within_frames(self.counts), along_time(self.counts, network.causal, device)]

    def conditions(self, t_S: Tensor) -> tuple[Tensor, Tensor]:
        """(timesteps of the pack's rows, row of every token): given tokens have a row of t = 0."""
        if not bool(self.known_N.any()):
            return t_S, self.sample_N
        rows_N = self.sample_N + len(t_S) * self.known_N
        return torch.cat([t_S, torch.zeros_like(t_S)]), rows_N


def make_pack(
    latents: Sequence[Tensor],
    *,
    known: Sequence[Tensor],  # bool, T x H x W tokens each
    times_s: Sequence[Tensor],
    text: Tensor,
    cu_text: tuple[int, ...],
    rng_keys: Sequence[str],
    grid: Grid,
) -> Pack:
    """Pack latents C x T x H x W with their given tokens and the times of their video frames."""
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
        known_N=torch.cat([part.flatten() for part in known]).to(device),
        cu=(0, *accumulate(lengths)),
        sample_N=torch.repeat_interleave(torch.tensor(lengths)).to(device),
        positions_N3=torch.cat(positions).to(device),
        text=text.to(device),
        cu_text=cu_text,
        rng_keys=tuple(rng_keys),
        counts=tuple(counts),
    )


def patch_counts(latent_CTHW: Tensor, *, patch: Patch) -> Patch:
    """Tokens along (time, height, width); the first latent frame has tokens of its own."""
    _, frames, height, width = latent_CTHW.shape
    return 1 + (frames - 1) // patch[0], height // patch[1], width // patch[2]


def within_frames(counts: Sequence[Patch]) -> Layout:
    """Tokens of a frame see each other."""
    lengths = [rows * columns for frames, rows, columns in counts for _ in range(frames)]
    cu = (0, *accumulate(lengths))
    return Layout(Table(cu, cu))


def along_time(counts: Sequence[Patch], causal: bool, device: torch.device) -> Layout:
    """Tokens at one place of the picture see each other; causal: the earlier ones only."""
    lengths, orders, start = [], [], 0
    for frames, rows, columns in counts:
        places = rows * columns
        lengths += [frames] * places
        order = torch.arange(start, start + frames * places).reshape(frames, places)
        orders.append(order.T.flatten())
        start += frames * places
    cu = (0, *accumulate(lengths))
    return Layout(Table(cu, cu, causal), torch.cat(orders).to(device))


def pixels_to_unit(video_THWC: Tensor) -> Tensor:
    """uint8 T x H x W x C to C x T x H x W in [-1, 1]."""
    return video_THWC.permute(3, 0, 1, 2).float() / 127.5 - 1


def unit_to_pixels(video_CTHW: Tensor) -> Tensor:
    """Inverse of `pixels_to_unit`; values outside are clipped."""
    return ((video_CTHW.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 3, 0).cpu()
