"""Which tokens of a sample are given: one mechanism for every task with known frames.

A given token keeps its clean value, has timestep 0 and takes no part in the loss; the others are
noised and predicted. So image-to-video, extension in both directions, interpolation, loops,
in-painting and any subset of frames (Flexible Diffusion Modeling, Harvey et al. 2022, sec. 3.1) are
one network with other masks. A task is drawn by a hash of the sample and the epoch.
Shapes: T, H, W tokens of a sample along time, height, width.
"""

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from training.models.patches import Patch
from training.randomness import draw, rng


@dataclass(frozen=True)
class TaskMix:
    """How often each task is trained on, as weights. One that needs more frames than a sample has
    leaves its weight to the others.
    """

    text_to_video: float = 1.0
    """nothing is given but the text"""
    image_to_video: float = 0.0
    """the first frame is given"""
    extend: float = 0.0
    """some frames at the beginning are given"""
    extend_back: float = 0.0
    """some frames at the end are given, and what came before is asked for"""
    interpolate: float = 0.0
    """some frames at both ends are given; a loop is this with the same frame at both"""
    inpaint: float = 0.0
    """all is given but a region that stands at one place through all frames"""
    subset: float = 0.0
    """any subset of the frames is given"""

    def __post_init__(self) -> None:
        weights = dataclasses.asdict(self)
        if min(weights.values()) < 0 or sum(weights.values()) <= 0 or self.text_to_video <= 0:
            raise ValueError(
                f"tasks = {weights}, expected weights of 0 or more, text_to_video above 0: a "
                "single image has no other task"
            )

    @cached_property
    def weights(self) -> dict[str, float]:
        return {name: weight for name, weight in dataclasses.asdict(self).items() if weight}

    @property
    def text_only(self) -> bool:
        return list(self.weights) == ["text_to_video"]

    @property
    def with_later_frames(self) -> list[str]:
        """Tasks in which frames are asked for that come before given ones."""
        return [name for name in ("extend_back", "interpolate", "subset") if name in self.weights]


NEEDS_FRAMES = {
    "image_to_video": 2,
    "extend": 2,
    "extend_back": 2,
    "interpolate": 3,
    "subset": 2,
}
"""Frames, in tokens, that a sample must have for a task to be one."""


def draw_known(counts: Patch, *, tasks: TaskMix, rng_key: str) -> np.ndarray:
    """bool T x H x W: the given tokens of a sample in an epoch. At least one token is not given.

    rng_key: `randomness.key(seed, purpose, sample id, epoch)`.
    """
    frames, rows, columns = counts
    weights = {
        name: weight
        for name, weight in tasks.weights.items()
        if frames >= NEEDS_FRAMES.get(name, 1) and (name != "inpaint" or rows * columns > 1)
    }
    task = draw(weights, rng_key, "task")
    known_THW = np.zeros(counts, dtype=bool)
    if task == "text_to_video":
        return known_THW
    random = rng(rng_key, "known")
    if task == "inpaint":
        known_THW[:] = True
        top, bottom = _interval(rows, random)
        left, right = _interval(columns, random)
        known_THW[:, top:bottom, left:right] = False
        return known_THW
    known_THW[_known_frames(task, frames, random)] = True
    return known_THW


def _known_frames(task: str, frames: int, random: np.random.Generator) -> np.ndarray:
    """bool T: the given frames; at least one is given and one is not."""
    known = np.zeros(frames, dtype=bool)
    if task == "image_to_video":
        known[0] = True
    elif task == "extend":
        known[: random.integers(1, frames)] = True
    elif task == "extend_back":
        known[frames - random.integers(1, frames) :] = True
    elif task == "interpolate":
        first = random.integers(1, frames - 1)
        known[:first] = True
        known[random.integers(first + 1, frames) :] = True
    else:
        number = random.integers(1, frames)
        known[random.permutation(frames)[:number]] = True
    return known


def _interval(length: int, random: np.random.Generator) -> tuple[int, int]:
    """A part of `length` tokens, between one token and a bit less than all of several."""
    size = int(random.integers(1, max(2, length)))
    start = int(random.integers(0, length - size + 1))
    return start, start + size
