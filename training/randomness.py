"""Random streams keyed by what they are for, never by rank, worker or order of reading.

Noise, timestep, caption drop and time window of a sample come from a hash of (seed, sample id,
epoch, purpose). So a run on another number of workers or devices, or one that was stopped and
resumed, draws the same numbers."""

import hashlib
import math
from collections.abc import Mapping

import numpy as np
import torch


def key(*parts: object) -> str:
    """One string for one sample's stream, such as `0/3/<clip id>` for seed 0, epoch 3."""
    return "/".join(str(part) for part in parts)


def seed_of(*parts: object) -> int:
    """63 bits, the same on every machine (Python's own `hash` differs between processes)."""
    digest = hashlib.sha256(key(*parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*parts: object) -> torch.Generator:
    """A CPU generator: drawing on the CPU gives equal noise on every kind of device."""
    return torch.Generator().manual_seed(seed_of(*parts))


def rng(*parts: object) -> np.random.Generator:
    """The same for numpy, which is quicker for a few small numbers."""
    return np.random.Generator(np.random.PCG64(seed_of(*parts)))


def share_of(*parts: object) -> float:
    """A number from [0, 1)."""
    return seed_of(*parts) / 2**63


def draw(weights: Mapping[str, float], *parts: object) -> str:
    """One name, as often as its weight says."""
    left = share_of(*parts) * math.fsum(weights.values())
    for name, weight in weights.items():
        left -= weight
        if left < 0:
            return name
    return next(reversed(list(weights)))  # the sum was rounded up
