"""What a sample costs the transformer, in floating-point operations: packs are dealt to devices by
it, and it is what the utilisation of a GPU (MFU) is measured with.

A multiply-add is two operations. Counted are the matrix products of real tokens and what attention
needs inside each segment; norms, padding and activations computed twice are not (the model FLOPs of
PaLM, Chowdhery et al. 2022, app. B). The backward pass costs two forward ones.
"""

import math
from dataclasses import dataclass
from typing import Literal

from training.models.patches import Patch

Attention = Literal["full", "factorised"]


@dataclass(frozen=True)
class Cost:
    """Sizes of a transformer that its cost follows from."""

    width: int
    depth: int
    mlp_ratio: float
    token_width: int
    """values of a token"""
    attention: Attention
    causal: bool
    """frames see earlier ones only, in factorised attention"""

    @property
    def sees_later_frames(self) -> bool:
        """Whether a token's value follows from frames after its own."""
        return self.attention == "full" or not self.causal

    def forward(self, counts: Patch, *, text_tokens: int = 0) -> float:
        """Operations of one forward pass over a sample of T x H x W tokens and its caption."""
        d, n = self.width, math.prod(counts)
        linear = (2 * (6 + 2 * self.mlp_ratio) * d * d) * n  # qkv, out, text q and out, MLP
        text = 4 * d * d * text_tokens + 4 * d * n * text_tokens
        ends = 4 * d * self.token_width * n
        return self.depth * (linear + text) + ends + self._own(counts)

    def _own(self, counts: Patch) -> float:
        """Scores and weighted values of self-attention, over all blocks."""
        d, n = self.width, math.prod(counts)
        if self.attention == "full":
            return self.depth * 4 * d * n * n
        frames, in_frame = counts[0], counts[1] * counts[2]
        along_time = 4 * d * n * (frames + 1) / 2 if self.causal else 4 * d * n * frames
        within, along = (self.depth + 1) // 2, self.depth // 2
        return within * 4 * d * n * in_frame + along * along_time
