"""Attention inside the segments of a packed run of tokens.

Patch n' Pack (Dehghani et al. 2023) without a mask: a table of offsets says which queries see which
keys. Self-attention, attention to text, attention within a frame or along time are one function
with other tables. The reference backend is torch's `scaled_dot_product_attention`, once per run of
equally long segments.
Shapes: N tokens of all segments, H heads, E values per head.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


@dataclass(frozen=True)
class Table:
    """Segment i: queries [cu_q[i], cu_q[i+1]) see keys [cu_k[i], cu_k[i+1])."""

    cu_q: tuple[int, ...]
    cu_k: tuple[int, ...]

    def runs(self) -> Iterator[tuple[int, int]]:
        """(first segment, how many) of neighbours with equal lengths: one batched call each."""
        first = 0
        for lengths, group in groupby(zip(diffs(self.cu_q), diffs(self.cu_k), strict=True)):
            count = len(list(group))
            if lengths[0]:
                yield first, count
            first += count


def diffs(offsets: tuple[int, ...]) -> list[int]:
    return [end - start for start, end in pairwise(offsets)]


def attend(q_NHE: Tensor, k_MHE: Tensor, v_MHE: Tensor, *, table: Table) -> Tensor:
    """Softmax attention of every query over the keys of its own segment; N x H x E."""
    parts = []
    for first, count in table.runs():
        q_rows = slice(table.cu_q[first], table.cu_q[first + count])
        k_rows = slice(table.cu_k[first], table.cu_k[first + count])
        q, k, v = (
            part.unflatten(0, (count, -1)).transpose(1, 2)
            for part in (q_NHE[q_rows], k_MHE[k_rows], v_MHE[k_rows])
        )
        parts.append(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(0, 1))
    return torch.cat(parts)
