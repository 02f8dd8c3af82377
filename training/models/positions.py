"""Rotary positions in three dimensions: (seconds, y, x) turn the pairs of each head by their own
frequencies.

RoFormer, Su et al. 2021, eq. 34, once per axis on its own share of the pairs. Positions are real
numbers, so any size, frame rate and gap between frames is a position like any other.
Shapes: N tokens, H heads, E values per head.
"""

import torch
from torch import Tensor

RADIANS_PER_UNIT = (8.0, 16.0, 16.0)
"""Fastest turn per second, per picture side and per picture side. 16 tokens to a side and 8 latent
frames to a second (256 pixels behind an 8-pixel autoencoder and patches of 2) turn by one radian
from token to token."""

BASE = 100.0
"""Ratio of the fastest to the slowest frequency: the slowest turns by about a sixth of a radian
over a picture.
"""


def pairs_per_axis(head_width: int) -> tuple[int, int, int]:
    """Pairs for (time, y, x): a quarter for time, the rest shared equally by y and x."""
    pairs = head_width // 2
    space = (pairs - pairs // 4) // 2
    return pairs - 2 * space, space, space


def rotary_angles(positions_N3: Tensor, *, head_width: int) -> Tensor:
    """Angle of every pair, N x head_width / 2, in float32."""
    angles = []
    for axis, pairs in enumerate(pairs_per_axis(head_width)):
        exponent = torch.arange(pairs, device=positions_N3.device, dtype=torch.float32) / max(
            pairs, 1
        )
        frequency = RADIANS_PER_UNIT[axis] * BASE**-exponent
        angles.append(positions_N3[:, axis, None].float() * frequency)
    return torch.cat(angles, dim=-1)


def rotate(x_NHE: Tensor, angles_NP: Tensor) -> Tensor:
    """Turn pair (i, i + E/2) of every head by its angle."""
    cos, sin = angles_NP.cos()[:, None], angles_NP.sin()[:, None]
    first, second = x_NHE.float().chunk(2, dim=-1)
    turned = torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
    return turned.to(x_NHE.dtype)
