"""A sample of the index becomes frames, times and a caption: read by offset, decoded to the planned
size.

Nothing here keeps a state but an optional cache of decoded clips, which changes the speed and
nothing else."""

import json
import math
from collections import OrderedDict
from typing import Any

import numpy as np
import torch

from curation.video import read_frames, read_image
from training.captions import CaptionMix, training_text
from training.index import Index
from training.models.patches import Grid
from training.pack import Clip
from training.plan import View, sample_shape
from training.randomness import key, seed_of

IMAGES = ("jpg", "png", "webp")


class ClipReader:
    """Reads samples of one index for one grid and view; caption_mix: None gives every sample its
    primary caption.
    """

    def __init__(
        self,
        index: Index,
        *,
        grid: Grid,
        view: View,
        seed: int,
        cache_mb: int,
        caption_mix: CaptionMix | None = None,
    ):
        self.index, self.grid, self.view, self.seed = index, grid, view, seed
        self.caption_mix = caption_mix
        self.cache = FrameCache(cache_mb << 20)

    def read(self, row_number: int, *, epoch: int, purpose: str) -> Clip:
        """The sample as it appears in an epoch."""
        row = self.index.row(row_number)
        shape = sample_shape(
            row["num_frames"],
            row["fps"],
            row["height"],
            row["width"],
            grid=self.grid,
            view=self.view,
        )
        rng_key = key(self.seed, purpose, row["key"], epoch)
        indices = frame_indices(row, frames=shape.frames, view=self.view, rng_key=rng_key)
        size = (shape.height_px, shape.width_px)
        cache_key = (row["key"], indices[0])
        frames = self.cache.get(cache_key)
        if frames is None:
            frames = decode(self.index.read(row, "media"), row=row, indices=indices, size=size)
            self.cache.put(cache_key, frames)
        return Clip(
            uid=row["key"],
            rng_key=rng_key,
            video_THWC=torch.from_numpy(frames),
            times_s=torch.tensor([(i - indices[0]) / (row["fps"] or 1.0) for i in indices]),
            caption=self.caption(row, purpose=purpose, rng_key=rng_key),
        )

    def caption(self, row: dict[str, Any], *, purpose: str, rng_key: str) -> str:
        """What the mix draws in training; elsewhere the primary caption, so that losses of two runs
        can be compared.
        """
        if self.caption_mix is not None and purpose == "train":
            sample = json.loads(self.index.read(row, "json"))
            text = training_text(sample, mix=self.caption_mix, rng_key=rng_key)
            if text is not None:
                return text
        return self.index.read(row, "txt").decode()


def frame_indices(row: dict[str, Any], *, frames: int, view: View, rng_key: str) -> list[int]:
    """Frames of the media file: `frames` of them, at the view's rate, from a window inside the
    clip.
    """
    stride = max(1.0, row["fps"] / view.fps) if view.fps and row["fps"] else 1.0
    span = math.ceil((frames - 1) * stride - 1e-6)  # the same hair that `frames_at_rate` allows
    starts = row["num_frames"] - span
    start = seed_of(rng_key, "window") % max(1, starts) if view.window == "random" else 0
    last = row["num_frames"] - 1
    return [row["first_frame"] + min(last, start + round(i * stride)) for i in range(frames)]


def decode(
    media: bytes, *, row: dict[str, Any], indices: list[int], size: tuple[int, int]
) -> np.ndarray:
    """uint8 T x H x W x 3, covering `size` and cut to it about the centre, so that no aspect is
    bent.
    """
    scale = max(size[0] / row["height"], size[1] / row["width"])
    height, width = (
        max(side, round(row[name] * scale))
        for side, name in zip(size, ("height", "width"), strict=True)
    )
    try:
        if row["media"] in IMAGES:
            frames = read_image(media, size=(height, width))
        else:
            frames = read_frames(media, indices=indices, size=(height, width))
    except ValueError as error:
        raise ValueError(
            f"sample {row['key']} of {row['shard']} cannot be decoded: {error}"
        ) from error
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return np.ascontiguousarray(frames[:, top : top + size[0], left : left + size[1]])


class FrameCache:
    """Decoded clips up to a number of bytes; the one used longest ago goes first."""

    def __init__(self, max_bytes: int):
        self.free_bytes = max_bytes
        self.clips: OrderedDict[tuple[str, int], np.ndarray] = OrderedDict()

    def get(self, name: tuple[str, int]) -> np.ndarray | None:
        if name in self.clips:
            self.clips.move_to_end(name)
        return self.clips.get(name)

    def put(self, name: tuple[str, int], frames: np.ndarray) -> None:
        self.clips[name] = frames
        self.free_bytes -= frames.nbytes
        while self.free_bytes < 0:
            self.free_bytes += self.clips.popitem(last=False)[1].nbytes
