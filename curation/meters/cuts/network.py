"""The network that reads the measures: small enough that NumPy's matrix product runs it.

Two parts. Every block of the picture goes through the same temporal convolutions, with the mean of
all blocks beside it; what the blocks say is pooled and goes through temporal convolutions of the
whole frame. Nothing knows where a block lies, so a wipe from any side is one thing. It sees no
picture, only how much changed over 1 to 32 frames, so it can be trained on few scenes.
"""

import functools
from pathlib import Path

import numpy as np

from curation.clip import hash_128
from curation.meters.cuts import tiny

WEIGHTS = Path(__file__).with_name("weights.safetensors")
BLOCK_DILATIONS = 1, 2, 4
FRAME_DILATIONS = 1, 2, 4, 8
BLOCK_CHANNELS, FRAME_CHANNELS, HEAD_CHANNELS = 24, 64, 32
NET_REACH = sum(BLOCK_DILATIONS) + sum(FRAME_DILATIONS)
CHUNK_FRAMES = 256
"""Output frames at a time: what is computed on stays in the processor's cache."""

Weights = dict[str, np.ndarray]


@functools.cache
def load() -> Weights:
    from safetensors.numpy import load_file

    return {name: value.astype(np.float32) for name, value in load_file(WEIGHTS).items()}


@functools.cache
def weights_digest() -> str:
    """Of the weights' file: what was scored by others is scored again."""
    return hash_128(WEIGHTS.read_bytes().hex())


def probabilities(
    luma_THW: np.ndarray, u_Thw: np.ndarray, v_Thw: np.ndarray, *, weights: Weights
) -> np.ndarray:
    """float32 (T, 2): of a hard cut before each frame, and of it being inside a gradual transition.

    The first and last pictures are repeated beyond the ends.
    """
    before, after = tiny.BACK + NET_REACH, tiny.AHEAD + NET_REACH
    num_frames = len(luma_THW)
    found = []
    for start in range(0, num_frames, CHUNK_FRAMES):
        end = min(start + CHUNK_FRAMES, num_frames)
        at = np.clip(np.arange(start - before, end + after), 0, num_frames - 1)
        blocks, frames = tiny.measures(luma_THW[at], u_Thw[at], v_Thw[at])
        found.append(forward(blocks, frames, weights=weights))
    logits = np.concatenate(found)
    return 1 / (1 + np.exp(-logits.clip(-30, 30)))


def forward(x_TBM: np.ndarray, y_TM: np.ndarray, *, weights: Weights) -> np.ndarray:
    """Logits (T - 2 NET_REACH, 2) from the measures of blocks and frames."""
    h_TBC = linear(x_TBM, weights, "block_in")
    np.maximum(h_TBC, 0, out=h_TBC)
    for d in BLOCK_DILATIONS:
        g_TC = linear(h_TBC.mean(1), weights, f"context_{d}")[d:-d]
        new = convolved(h_TBC, weights[f"block_{d}.weight"], dilation=d)
        new += g_TC[:, None]
        np.maximum(new, 0, out=new)
        new += h_TBC[d:-d]
        h_TBC = new
    edge = sum(BLOCK_DILATIONS)
    pooled = np.concatenate([h_TBC.mean(1), h_TBC.max(1), y_TM[edge:-edge]], axis=1)
    f_TC = np.maximum(linear(pooled, weights, "frame_in"), 0)
    for d in FRAME_DILATIONS:
        new = convolved(f_TC, weights[f"frame_{d}.weight"], dilation=d)
        new += weights[f"frame_{d}.bias"]
        f_TC = np.maximum(new, 0) + f_TC[d:-d]
    return linear(np.maximum(linear(f_TC, weights, "head"), 0), weights, "out")


def linear(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    return _product(x, weights[f"{name}.weight"]) + weights[f"{name}.bias"]


def convolved(x: np.ndarray, kernel_OIK: np.ndarray, *, dilation: int) -> np.ndarray:
    """Along the first axis, three taps, without the ends that lack a neighbour."""
    length = len(x) - 2 * dilation
    out = _product(x[:length], kernel_OIK[:, :, 0])
    for k in (1, 2):
        out += _product(x[k * dilation : k * dilation + length], kernel_OIK[:, :, k])
    return out


def _product(x: np.ndarray, weight_OI: np.ndarray) -> np.ndarray:
    """Over the last axis, as one matrix: NumPy multiplies a stack of matrices one by one."""
    return (x.reshape(-1, x.shape[-1]) @ weight_OI.T).reshape(*x.shape[:-1], -1)
