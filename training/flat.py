"""Many tensors as one, on the way from a reading process. A tensor that is sent goes as a file
descriptor, which is asked of the sender: a millisecond where the cores are busy, and a batch of a
dozen clips has forty.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

ALIGNED_BYTES = 64


class Place(NamedTuple):
    """Where a tensor lies in the flat one."""

    start: int
    size: int
    shape: tuple[int, ...]
    dtype: torch.dtype


def flatten(parts: Sequence[Tensor | None]) -> tuple[Tensor, list[Place | None]]:
    """(uint8 tensor with the bytes of all parts, where each lies); they are copied once."""
    places: list[Place | None] = []
    end = 0
    for part in parts:
        if part is None:
            places.append(None)
            continue
        places.append(Place(end, part.nbytes, tuple(part.shape), part.dtype))
        end += -(-part.nbytes // ALIGNED_BYTES) * ALIGNED_BYTES
    flat = torch.empty(end, dtype=torch.uint8)
    for part, place in zip(parts, places, strict=True):
        if part is not None and place is not None and place.size:
            _part(flat, place).copy_(part)
    return flat, places


def unflatten(flat: Tensor, places: Sequence[Place | None]) -> list[Tensor | None]:
    """The parts, as views of the flat tensor."""
    return [None if place is None else _part(flat, place) for place in places]


def _part(flat: Tensor, place: Place) -> Tensor:
    return flat[place.start : place.start + place.size].view(place.dtype).reshape(place.shape)
