"""The diffusion transformer on packed tokens: DiT blocks (Peebles & Xie 2023, adaLN-Zero) with
text.

Every block: full 3D self-attention inside the sample, with rotary (seconds, y, x) and normalised
queries and keys (ViT-22B, Dehghani et al. 2023: keeps the logits bounded), then attention to the
caption, then an MLP. The mean of the caption's states may join the timestep (SD3, Esser et al.
2024, section 4). Nothing here knows a size, a length or a batch: a pack of many shapes and one
long video are the same call.
Shapes: N tokens of all samples, M text tokens, R conditions (rows of timesteps), D width, H heads.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from training.models.attention import Table, attend, diffs
from training.models.positions import rotary_angles, rotate


class DiT(nn.Module):
    """Predicts, for every token, a value of the token's own width."""

    def __init__(
        self,
        *,
        token_width: int,
        text_width: int,
        width: int,
        depth: int,
        heads: int,
        mlp_ratio: float,
        absolute: bool,
        pooled_text: bool,
    ):
        super().__init__()
        self.head_width = width // heads
        self.patch_in = nn.Linear(token_width, width)
        self.place_in = nn.Linear(self.head_width, width) if absolute else None
        self.text_in = nn.Sequential(nn.LayerNorm(text_width), nn.Linear(text_width, width))
        self.time_in = nn.Sequential(
            nn.Linear(TIME_FEATURES, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.caption_in = (
            nn.Sequential(nn.LayerNorm(text_width), nn.Linear(text_width, width))
            if pooled_text
            else None
        )
        self.blocks = nn.ModuleList(
            Block(width, heads=heads, mlp_ratio=mlp_ratio) for _ in range(depth)
        )
        self.norm_out = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate_out = nn.Linear(width, 2 * width)
        self.patch_out = nn.Linear(width, token_width)
        for layer in (self.modulate_out, self.patch_out):
            zero(layer)

    def forward(
        self,
        x_ND: Tensor,
        *,
        t_R: Tensor,
        row_N: Tensor,
        positions_N3: Tensor,
        text_MD: Tensor,
        own: Table,
        cross: Table,
    ) -> Tensor:
        """
        `t_R` holds the distinct timesteps of the pack and `row_N` which of them each token has: one
        row per sample, or more where some tokens of a sample are given and clean. `own` lets tokens
        of a sample see each other, `cross` lets them see its caption.
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
        for block in self.blocks:
            h_ND = block(h_ND, condition_RD, row_N, angles_NP, text_MD, own, cross)
        shift_ND, scale_ND = rows(self.modulate_out(condition_RD), row_N).chunk(2, dim=-1)
        return self.patch_out(modulate(self.norm_out(h_ND), shift_ND, scale_ND))


class Block(nn.Module):
    def __init__(self, width: int, *, heads: int, mlp_ratio: float):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(3))
        self.modulation = nn.Linear(width, 6 * width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.text_q, self.text_kv = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.text_out = nn.Linear(width, width)
        self.qk_norms = nn.ModuleList(nn.RMSNorm(width // heads, eps=1e-6) for _ in range(4))
        hidden = int(width * mlp_ratio)
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
        own: Table,
        cross: Table,
    ) -> Tensor:
        modulation_ND = rows(self.modulation(condition_RD), row_N)
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = modulation_ND.chunk(6, dim=-1)
        norm_1, norm_text, norm_2 = self.norms
        h_ND = h_ND + gate_1 * self.attend_own(
            modulate(norm_1(h_ND), shift_1, scale_1), angles_NP, own
        )
        h_ND = h_ND + self.attend_text(norm_text(h_ND), text_MD, cross)
        return h_ND + gate_2 * self.mlp(modulate(norm_2(h_ND), shift_2, scale_2))

    def attend_own(self, h_ND: Tensor, angles_NP: Tensor, table: Table) -> Tensor:
        q, k, v = self.qkv(h_ND).unflatten(-1, (3, self.heads, -1)).unbind(1)
        q, k = (
            rotate(norm(part.float()), angles_NP)
            for norm, part in zip(self.qk_norms[:2], (q, k), strict=True)
        )
        return self.out(attend(q.to(v.dtype), k.to(v.dtype), v, table=table).flatten(1))

    def attend_text(self, h_ND: Tensor, text_MD: Tensor, table: Table) -> Tensor:
        q = self.text_q(h_ND).unflatten(-1, (self.heads, -1))
        k, v = self.text_kv(text_MD).unflatten(-1, (2, self.heads, -1)).unbind(1)
        q, k = (norm(part.float()) for norm, part in zip(self.qk_norms[2:], (q, k), strict=True))
        return self.text_out(attend(q.to(v.dtype), k.to(v.dtype), v, table=table).flatten(1))


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
