"""What happens around the training step."""

from training.callbacks.checkpoint import AtomicCheckpointIO, SaveCheckpoint
from training.callbacks.ema import Ema, load_weights
from training.callbacks.fixed_batch import FixedBatch
from training.callbacks.meters import Meters
from training.callbacks.nan_guard import NanGuard
from training.callbacks.samples import Samples

__all__ = [
    "AtomicCheckpointIO",
    "Ema",
    "FixedBatch",
    "Meters",
    "NanGuard",
    "Samples",
    "SaveCheckpoint",
    "load_weights",
]
