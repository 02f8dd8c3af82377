"""Sizes that stay the same from pack to pack, which a compiled block and its kernels need.

What is filled up forms a segment of its own, which no sample sees and no loss counts.
Shapes: N tokens, M text tokens.
"""

import torch
from torch import Tensor

from training.models.attention import Table, round_up

TOKENS_STEP = 512
"""What numbers of tokens are rounded up to: planned packs differ by less."""


class Sizes:
    """The sizes that a pack is filled up to. They grow and never shrink, so that a run meets few of
    them, all in its first steps.
    """

    def __init__(self) -> None:
        self.tokens = self.rows = self.text = 0

    def fit(self, *, tokens: int, rows: int, text: int) -> None:
        """Make room. There is always a text token more: what is filled up has to see something."""
        self.tokens = max(self.tokens, -(-tokens // TOKENS_STEP) * TOKENS_STEP)
        self.rows = max(self.rows, round_up(rows))
        self.text = max(self.text, round_up(text + 1))


def lengthened(part: Tensor, length: int) -> Tensor:
    """The tensor with rows of zeros behind it."""
    return torch.cat([part, part.new_zeros(length - len(part), *part.shape[1:])])


def longer_table(table: Table, queries: int, keys: int) -> Table:
    """The table with one more segment, of all that was filled up."""
    return Table((*table.cu_q, queries), (*table.cu_k, keys), table.causal)
