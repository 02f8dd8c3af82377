"""Attention inside the segments of a packed run of tokens.

Patch n' Pack (Dehghani et al. 2023) without a mask: a table of offsets says which queries see which
keys. Self-attention, attention to text, attention within a frame and causal attention along time
are one function with other tables. There are three backends that give the same answer: `sdpa`, the
reference, calls torch's `scaled_dot_product_attention` once per run of equally long segments;
`varlen` is one FlashAttention call on a GPU (Dao 2023) in half precision; `flex` is one
FlexAttention call (He et al. 2024) for other GPUs and precisions.
Shapes: N tokens of all segments, M keys, H heads, E values per head.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import groupby, pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

Backend = Literal["sdpa", "varlen", "flex"]
HALF = (torch.bfloat16, torch.float16)
"""Types that FlashAttention takes."""


@dataclass(frozen=True)
class Table:
    """Segment i: queries [cu_q[i], cu_q[i+1]) see keys [cu_k[i], cu_k[i+1]).

    causal: query j of a segment sees the keys up to the j-th only; both sides are equally long.
    """

    cu_q: tuple[int, ...]
    cu_k: tuple[int, ...]
    causal: bool = False

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


def attend(q_NHE: Tensor, k_MHE: Tensor, v_MHE: Tensor, *, table: "Table | Prepared") -> Tensor:
    """Softmax attention of every query over the keys of its own segment; N x H x E."""
    if isinstance(table, Flash):
        return attend_flash(q_NHE, k_MHE, v_MHE, table=table)
    if isinstance(table, Flex):
        return attend_flex(q_NHE, k_MHE, v_MHE, table=table)
    parts = []
    for first, count in table.runs():
        q_rows = slice(table.cu_q[first], table.cu_q[first + count])
        k_rows = slice(table.cu_k[first], table.cu_k[first + count])
        q, k, v = (
            part.unflatten(0, (count, -1)).transpose(1, 2)
            for part in (q_NHE[q_rows], k_MHE[k_rows], v_MHE[k_rows])
        )
        seen = scaled_dot_product_attention(q, k, v, is_causal=table.causal)
        parts.append(seen.transpose(1, 2).flatten(0, 1))
    return torch.cat(parts)


# -- tables made ready for one call over the whole pack --------------------------------------------


class Flash(NamedTuple):
    """A table as FlashAttention takes it: static numbers and shapes, so that a compiled block is
    compiled once.
    """

    cu_q: Tensor
    cu_k: Tensor
    longest_q: int
    longest_k: int
    causal: bool


class Flex(NamedTuple):
    """A table as FlexAttention takes it."""

    mask: Any
    """A BlockMask."""


Prepared = Flash | Flex


def prepare(table: Table, *, backend: Backend, device: torch.device) -> Table | Prepared:
    """The table for a backend, made once per forward pass and used by every block."""
    if backend == "sdpa":
        return table
    if backend == "varlen":
        cu_q, cu_k = (offsets_tensor(cu, device=device) for cu in (table.cu_q, table.cu_k))
        longest_q, longest_k = (round_up(max(diffs(cu))) for cu in (table.cu_q, table.cu_k))
        return Flash(cu_q, cu_k, longest_q, longest_k, table.causal)
    from torch.nn.attention.flex_attention import create_block_mask

    segment_q, segment_k = (segments(cu, device=device) for cu in (table.cu_q, table.cu_k))
    seen = partial(_sees, segment_q=segment_q, segment_k=segment_k, causal=table.causal)
    mask = create_block_mask(seen, None, None, len(segment_q), len(segment_k), device=device)
    return Flex(mask)


def _sees(
    batch: Tensor,
    head: Tensor,
    query: Tensor,
    key: Tensor,
    *,
    segment_q: Tensor,
    segment_k: Tensor,
    causal: bool,
) -> Tensor:
    same = segment_q[query] == segment_k[key]
    return same & (key <= query) if causal else same  # the two sides of a causal table are one


def offsets_tensor(cu: tuple[int, ...], *, device: torch.device) -> Tensor:
    """int32 offsets, filled up with empty segments to a power of two: few shapes, few compiles."""
    filled = [*cu, *[cu[-1]] * (round_up(len(cu)) - len(cu))]
    return torch.tensor(filled, dtype=torch.int32).to(device, non_blocking=True)


def segments(cu: tuple[int, ...], *, device: torch.device) -> Tensor:
    """The segment of every token."""
    return torch.repeat_interleave(torch.tensor(diffs(cu))).to(device)


def round_up(number: int) -> int:
    """The next power of two, at least 16."""
    return max(16, 1 << (number - 1).bit_length())


def attend_flash(q_NHE: Tensor, k_MHE: Tensor, v_MHE: Tensor, *, table: Flash) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    if q_NHE.dtype not in HALF:
        raise ValueError(
            f"attention backend varlen was given {q_NHE.dtype}, expected bfloat16 or float16: "
            "set trainer.precision to bf16-mixed or model.network.backend to flex"
        )
    window = (-1, 0) if table.causal else (-1, -1)
    return varlen_attn(  # pyright: ignore[reportReturnType] - one tensor without return_aux
        q_NHE,
        k_MHE,
        v_MHE,
        table.cu_q,
        table.cu_k,
        table.longest_q,
        table.longest_k,
        window_size=window,
    )


def attend_flex(q_NHE: Tensor, k_MHE: Tensor, v_MHE: Tensor, *, table: Flex) -> Tensor:
    from torch.nn.attention.flex_attention import flex_attention

    q, k, v = (part.transpose(0, 1)[None] for part in (q_NHE, k_MHE, v_MHE))
    call = _compiled_flex() if q.is_cuda else flex_attention
    return call(q, k, v, block_mask=table.mask)[0].transpose(0, 1)


@cache
def _compiled_flex() -> Any:
    """FlexAttention is a kernel only when it is compiled; by itself it holds all scores."""
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention)
