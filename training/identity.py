"""What a frozen part of the model is, in one short name: two that give the same numbers have the
same, wherever they were loaded from. What `encode` writes lies under such names.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

PRIVATE = ("_", "transformers_version", "dtype", "torch_dtype")
"""Beginnings of config entries that say where and by what it was saved, and not what it is."""


def identity(kind: type, knobs: Mapping[str, Any], *, weights: Mapping[str, Tensor]) -> str:
    """32 hex digits of a class, its knobs and every byte of its weights; about a second per
    gigabyte.
    """
    digest = hashlib.blake2b(f"{kind.__module__}.{kind.__qualname__}".encode(), digest_size=16)
    known = {name: value for name, value in knobs.items() if not name.startswith(PRIVATE)}
    digest.update(json.dumps(known, sort_keys=True, default=str).encode())
    for name, weight in sorted(weights.items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        content = weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        digest.update(content.tobytes())
    return digest.hexdigest()
