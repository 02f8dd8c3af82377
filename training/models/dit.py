"""The diffusion transformer on packed tokens: DiT blocks (Peebles & Xie 2023, adaLN-Zero) with
text.

Every block: self-attention inside the sample, with rotary (seconds, y, x) and normalised queries
and keys (ViT-22B, Dehghani et al. 2023: keeps the logits bounded), then attention to the caption,
then an MLP. Self-attention is full, over space and time, or factorised: blocks take turns to look
within a frame and along time (Latte, Ma et al. 2024, sec. 3.1, variant 1), which is the same call
with other offsets. The mean of the caption's states may join the timestep (SD3, Esser et al. 2024,
section 4). Nothing here knows a size, a length or a batch: a pack of many shapes and one long video
are the same call.
Shapes: N tokens of all samples, M text tokens, R conditions (rows of timesteps), D width, H heads.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from training.models.attention import HALF, Backend, Prepared, Table, attend, diffs, prepare
from training.models.cost import Attention
from training.models.positions import rotary_angles, rotate
from training.models.static import Sizes, lengthened, longer_table


@dataclass(frozen=True)
class Network:
    """Size of the transformer, and how it is computed."""

    width: int = 512
    """values per token"""
    depth: int = 12
    """blocks"""
    heads: int = 8
    """heads of attention; width / heads is a multiple of 8"""
    mlp_ratio: float = 4.0
    """width of the MLP over width"""
    patch: tuple[int, int, int] = (1, 2, 2)
    """latent points per token along time, height, width, such as [2, 4, 4]"""
    attention: Attention = "full"
    """full: every token of a sample sees every other; factorised: blocks take turns to look within
    a frame and along time"""
    causal: bool = True
    """factorised attention along time sees earlier frames only; false: all frames, which tasks with
    given later frames need"""
    positions: Literal["rotary", "sinusoidal", "both"] = "rotary"
    """how a token knows its (seconds, y, x): rotary turns queries and keys, sinusoidal adds sines
    and cosines to the token; with both a short run learns sooner where in the picture things are"""
    pooled_text: bool = False
    """the mean of a caption's states modulates every block together with the timestep, beside
    attention to the states: a short run learns sooner which caption means which picture"""
    backend: Literal["auto", "sdpa", "varlen", "flex"] = "auto"
    """attention: sdpa is the reference, a call per run of equal segments; varlen and flex are one
    call for a pack. auto: varlen on a GPU in half precision, flex on a GPU in single, else sdpa"""
    recompute: bool = False
    """forget the activations inside a block and compute them again in the backward pass: a third
    more work for a fraction of the memory"""
    compile: bool = False
    """compile the block, once for all; on a GPU with backend varlen or flex"""

    def __post_init__(self) -> None:
        if self.width % (8 * self.heads):
            raise ValueError(
                f"width = {self.width} over heads = {self.heads} is {self.width / self.heads:g}, "
                "expected a multiple of 8 per head: "
                "change model.network.width or model.network.heads"
            )
        if self.compile and self.backend == "sdpa":
            raise ValueError(
                "model.network.compile with backend sdpa would compile anew for every pack: "
                "set model.network.backend to auto, varlen or flex"
            )


class Layout(NamedTuple):
    """Which tokens of a sample see each other in one kind of block."""

    table: Table
    """offsets of segments, in the order of the tokens or in `order`"""
    order: Tensor | None = None
    """token numbers in the order that the table counts in"""


class DiT(nn.Module):
    """Predicts, for every token, a value of the token's own width."""

    def __init__(self, network: Network, *, token_width: int, text_width: int):
        super().__init__()
        width = network.width
        self.network, self.head_width = network, width // network.heads
        self.patch_in = nn.Linear(token_width, width)
        self.place_in = nn.Linear(self.head_width, width) if network.positions != "rotary" else None
        self.text_in = nn.Sequential(nn.LayerNorm(text_width), nn.Linear(text_width, width))
        self.time_in = nn.Sequential(
            nn.Linear(TIME_FEATURES, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.caption_in = (
            nn.Sequential(nn.LayerNorm(text_width), nn.Linear(text_width, width))
            if network.pooled_text
            else None
        )
        self.blocks = nn.ModuleList(Block(network) for _ in range(network.depth))
        self.norm_out = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate_out = nn.Linear(width, 2 * width)
        self.patch_out = nn.Linear(width, token_width)
        for layer in (self.modulate_out, self.patch_out):
            zero(layer)
        self.sizes = Sizes()
        if network.compile:
            for block in self.blocks:
                block.compile()

    def forward(
        self,
        x_ND: Tensor,
        *,
        t_R: Tensor,
        row_N: Tensor,
        positions_N3: Tensor,
        text_MD: Tensor,
        own: Sequence[Layout],
        cross: Table,
    ) -> Tensor:
        """
        `t_R` holds the distinct timesteps of the pack and `row_N` which of them each token has: one
        row per sample, or more where some tokens of a sample are given and clean. `own` lets tokens
        of a sample see each other, its entries in turn from block to block; `cross` lets them see
        its caption.
        """
        angles_NP = rotary_angles(positions_N3, head_width=self.head_width)
        condition_RD = self.time_in(timestep_features(t_R))
        if self.caption_in is not None:
            caption_SD = self.caption_in(segment_means(text_MD, offsets=cross.cu_k))
            condition_RD = condition_RD + caption_SD[segment_of_rows(row_N, t_R, table=cross)]
        condition_RD = nn.functional.silu(condition_RD)
        text_MD = self.text_in(text_MD)
        h_ND = self.patch_in(x_ND)
        if self.place_in is not None:
            h_ND = h_ND + self.place_in(torch.cat([angles_NP.cos(), angles_NP.sin()], dim=-1))
        if self.network.positions == "sinusoidal":
            angles_NP = torch.zeros_like(angles_NP)
        h_ND = self.through_blocks(
            h_ND, condition_RD, row_N, angles_NP, text_MD, own=own, cross=cross
        )
        shift_ND, scale_ND = rows(self.modulate_out(condition_RD), row_N).chunk(2, dim=-1)
        return self.patch_out(modulate(self.norm_out(h_ND), shift_ND, scale_ND))

    def through_blocks(
        self,
        h_ND: Tensor,
        condition_RD: Tensor,
        row_N: Tensor,
        angles_NP: Tensor,
        text_MD: Tensor,
        *,
        own: Sequence[Layout],
        cross: Table,
    ) -> Tensor:
        """All blocks; what is compiled gets sizes that stay the same from pack to pack."""
        tokens = len(h_ND)
        if self.network.compile:
            self.sizes.fit(tokens=tokens, rows=len(condition_RD), text=len(text_MD))
            h_ND, row_N, angles_NP = (
                lengthened(part, self.sizes.tokens) for part in (h_ND, row_N, angles_NP)
            )
            condition_RD = lengthened(condition_RD, self.sizes.rows)
            text_MD = lengthened(text_MD, self.sizes.text)
            own = [longer_layout(layout, self.sizes.tokens) for layout in own]
            cross = longer_table(cross, self.sizes.tokens, self.sizes.text)
        backend = self.backend(h_ND)
        seen = [prepare(layout.table, backend=backend, device=h_ND.device) for layout in own]
        orders = [layout.order for layout in own]
        backs = [order if order is None else order.argsort() for order in orders]
        text_table = prepare(cross, backend=backend, device=h_ND.device)
        for number, block in enumerate(self.blocks):
            kind = number % len(own)
            order, back = orders[kind], backs[kind]
            given = (condition_RD, row_N, angles_NP, text_MD, seen[kind], text_table, order, back)
            if self.network.recompute and torch.is_grad_enabled():
                h_ND = checkpoint(block, h_ND, *given, use_reentrant=False)
            else:
                h_ND = block(h_ND, *given)
        return h_ND[:tokens]

    def backend(self, h_ND: Tensor) -> Backend:
        """The one that the config names, or the fastest that the device has."""
        if self.network.backend != "auto":
            return self.network.backend
        if not h_ND.is_cuda:
            if self.network.compile:
                raise ValueError(
                    "model.network.compile on a CPU, where packs have no common size to compile "
                    "for: set it to false, or model.network.backend to flex for sampling"
                )
            return "sdpa"
        half = torch.is_autocast_enabled("cuda") or h_ND.dtype in HALF
        return "varlen" if half else "flex"


class Block(nn.Module):
    """Self-attention, attention to the caption, MLP."""

    def __init__(self, network: Network):
        super().__init__()
        width, self.heads = network.width, network.heads
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(3))
        self.modulation = nn.Linear(width, 6 * width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.text_q, self.text_kv = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.text_out = nn.Linear(width, width)
        self.qk_norms = nn.ModuleList(nn.RMSNorm(width // self.heads, eps=1e-6) for _ in range(4))
        hidden = int(width * network.mlp_ratio)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width)
        )
        for layer in (self.modulation, self.text_out):
            zero(layer)

    def forward(
        self,
        h_ND: Tensor,
        condition_RD: Tensor,
        row_N: Tensor,
        angles_NP: Tensor,
        text_MD: Tensor,
        own: Table | Prepared,
        cross: Table | Prepared,
        order: Tensor | None,
        back: Tensor | None,
    ) -> Tensor:
        modulation_ND = rows(self.modulation(condition_RD), row_N)
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = modulation_ND.chunk(6, dim=-1)
        norm_1, norm_text, norm_2 = self.norms
        seen_ND = self.attend_own(
            modulate(norm_1(h_ND), shift_1, scale_1), angles_NP, own, order, back
        )
        h_ND = h_ND + gate_1 * seen_ND
        h_ND = h_ND + self.attend_text(norm_text(h_ND), text_MD, cross)
        return h_ND + gate_2 * self.mlp(modulate(norm_2(h_ND), shift_2, scale_2))

    def attend_own(
        self,
        h_ND: Tensor,
        angles_NP: Tensor,
        table: Table | Prepared,
        order: Tensor | None,
        back: Tensor | None,
    ) -> Tensor:
        q, k, v = self.qkv(h_ND).unflatten(-1, (3, self.heads, -1)).unbind(1)
        q, k = (
            rotate(norm(part.float()), angles_NP).to(v.dtype)
            for norm, part in zip(self.qk_norms[:2], (q, k), strict=True)
        )
        if order is None or back is None:
            return self.out(attend(q, k, v, table=table).flatten(1))
        q, k, v = (part[order] for part in (q, k, v))
        return self.out(attend(q, k, v, table=table)[back].flatten(1))

    def attend_text(self, h_ND: Tensor, text_MD: Tensor, table: Table | Prepared) -> Tensor:
        q = self.text_q(h_ND).unflatten(-1, (self.heads, -1))
        k, v = self.text_kv(text_MD).unflatten(-1, (2, self.heads, -1)).unbind(1)
        q, k = (
            norm(part.float()).to(v.dtype)
            for norm, part in zip(self.qk_norms[2:], (q, k), strict=True)
        )
        return self.text_out(attend(q, k, v, table=table).flatten(1))


TIME_FEATURES = 256
"""Sine and cosine values of a timestep, as in DiT."""


def timestep_features(t_R: Tensor) -> Tensor:
    """Sines and cosines of 1000 t over geometric frequencies (Vaswani et al. 2017; DiT counts 1000
    steps).
    """
    half = TIME_FEATURES // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=t_R.device) / half)
    angles = 1000 * t_R.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def rows(value_RD: Tensor, row_N: Tensor) -> Tensor:
    """value_RD[row_N]; on a CPU the gradient of plain indexing takes three times as long."""
    return nn.functional.embedding(row_N, value_RD)


def longer_layout(layout: Layout, tokens: int) -> Layout:
    """The layout of a pack filled up to so many tokens, which see each other."""
    order = layout.order
    if order is not None:
        added = torch.arange(len(order), tokens, device=order.device)
        order = torch.cat([order, added])
    return Layout(longer_table(layout.table, tokens, tokens), order)


def segment_means(text_MD: Tensor, *, offsets: tuple[int, ...]) -> Tensor:
    return torch.stack([text_MD[start:end].mean(0) for start, end in pairwise(offsets)])


def segment_of_rows(row_N: Tensor, t_R: Tensor, *, table: Table) -> Tensor:
    """The segment that each row of timesteps belongs to: the one of the tokens that have it."""
    segment_N = torch.repeat_interleave(torch.tensor(diffs(table.cu_q))).to(row_N.device)
    return torch.zeros_like(t_R, dtype=torch.long).index_copy(0, row_N, segment_N)


def modulate(h_ND: Tensor, shift_ND: Tensor, scale_ND: Tensor) -> Tensor:
    return h_ND * (1 + scale_ND) + shift_ND


def zero(layer: nn.Linear) -> None:
    """adaLN-Zero: every block starts as the identity, and the network as the constant zero."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
