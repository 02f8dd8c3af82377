"""A sample of the index becomes frames, times and a caption: read by offset, decoded to the planned
size.

Nothing here keeps a state but an optional cache of decoded clips, which changes the speed and
nothing else."""

import json
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from curation.video import read_frames, read_image
from training.captions import CaptionMix, training_text
from training.curriculum import View
from training.index import Index, Part
from training.latents import Latents
from training.masks import TaskMix, draw_known
from training.models.patches import Grid, Patch
from training.pack import Clip
from training.plan import Shape, sample_shape
from training.randomness import key, rng, seed_of, share_of

IMAGES = ("jpg", "png", "webp")
Read = Callable[[Part], bytes]
"""Gives one file of a sample."""


class ClipReader:
    """Reads samples of one index for one grid; caption_mix: None gives every sample its primary
    caption.
    """

    def __init__(
        self,
        index: Index,
        *,
        grid: Grid,
        seed: int,
        cache_mb: int,
        caption_mix: CaptionMix | None = None,
        tasks: TaskMix = TaskMix(),  # noqa: B008 - frozen
        latents: Latents | None = None,
    ):
        self.index, self.grid, self.seed = index, grid, seed
        self.caption_mix, self.tasks, self.latents = caption_mix, tasks, latents
        self.cache = ClipCache(cache_mb << 20)

    def read(
        self,
        row_number: int,
        *,
        view: View,
        epoch: int,
        purpose: str,
        members: Mapping[Part, bytes] | None = None,
    ) -> Clip:
        """The sample as it appears in an epoch; one that cannot be read is black, and all of it is
        given, so that it is in no loss.

        members: its media, json and txt, where they were read already.
        """
        row = self.index.row(row_number)
        read: Read = partial(self.index.read, row) if members is None else members.__getitem__
        shape = shape_of(row, grid=self.grid, view=view)
        rng_key = self.rng_key(row["key"], epoch=epoch, purpose=purpose)
        indices = frame_indices(row, frames=shape.frames, view=view, rng_key=rng_key)
        frames = latent = text = empty = error = None
        caption = ""
        try:
            if self.latents is not None:
                latent = self.latent(row_number, view=view)
            else:
                frames = self.frames(row, indices=indices, shape=shape, read=read)
            caption = self.caption(read, purpose=purpose, rng_key=rng_key)
            if self.latents is not None:
                text, empty = self.latents.states(row["key"], caption)
        except (ValueError, OSError) as problem:
            said = str(problem)
            if isinstance(problem, OSError):
                said = f"sample {row['key']} of {row['shard']} cannot be read: {said}"
            error, latent = said, None
            frames = np.zeros((shape.frames, shape.height_px, shape.width_px, 3), np.uint8)
        known_THW = self.known(shape.counts, rng_key=rng_key, purpose=purpose)
        return Clip(
            uid=row["key"],
            rng_key=rng_key,
            video_THWC=None if frames is None else torch.from_numpy(frames),
            times_s=torch.tensor([(i - indices[0]) / (row["fps"] or 1.0) for i in indices]),
            caption=caption,
            known_THW=torch.from_numpy(known_THW) if not error else torch.ones(shape.counts) > 0,
            latent_CTHW=latent,
            text_MD=text,
            empty_text_MD=empty,
            error=error,
        )

    def first_frames(self, row: dict[str, Any], *, view: View) -> np.ndarray:
        """uint8 T x H x W x 3: what is seen of a sample where the view is of its beginning. Raises
        ValueError where it cannot be decoded.
        """
        shape = shape_of(row, grid=self.grid, view=view)
        indices = frame_indices(row, frames=shape.frames, view=view, rng_key="")
        return self.frames(row, indices=indices, shape=shape, read=partial(self.index.read, row))

    def rng_key(self, uid: str, *, epoch: int, purpose: str) -> str:
        """Names the random streams of a sample in an epoch."""
        return key(self.seed, purpose, uid, epoch)

    def known(self, counts: Patch, *, rng_key: str, purpose: str) -> np.ndarray:
        """bool T x H x W: the given tokens; outside training none are."""
        if purpose != "train":
            return np.zeros(counts, dtype=bool)
        return draw_known(counts, tasks=self.tasks, rng_key=rng_key)

    def num_targets(self, row_number: int, *, view: View, epoch: int) -> int:
        """Tokens of a sample that training predicts, known before anything is read."""
        row = self.index.row(row_number)
        counts = shape_of(row, grid=self.grid, view=view).counts
        if self.tasks.text_only:
            return math.prod(counts)
        rng_key = self.rng_key(row["key"], epoch=epoch, purpose="train")
        return int((~self.known(counts, rng_key=rng_key, purpose="train")).sum())

    def frames(
        self, row: dict[str, Any], *, indices: list[int], shape: Shape, read: Read
    ) -> np.ndarray:
        """uint8 T x H x W x 3, out of the cache where it was decoded before."""
        size = (shape.height_px, shape.width_px)
        cache_key = (row["key"], *size, *indices)
        frames = self.cache.get(cache_key)
        if frames is None:
            frames = decode(read("media"), row=row, indices=indices, size=size)
            self.cache.put(cache_key, frames)
        return frames

    def latent(self, row_number: int, *, view: View) -> Tensor:
        """C x T x H x W, likewise."""
        assert self.latents is not None
        latent = self.cache.get((row_number, view))
        if latent is None:
            latent = self.latents.latent(row_number, view=view)
            self.cache.put((row_number, view), latent)
        return latent

    def caption(self, read: Read, *, purpose: str, rng_key: str) -> str:
        """What the mix draws in training; elsewhere the primary caption, so that losses of two runs
        can be compared.
        """
        if self.caption_mix is not None and purpose == "train":
            sample = json.loads(read("json"))
            text = training_text(sample, mix=self.caption_mix, rng_key=rng_key)
            if text is not None:
                return text
        return read("txt").decode()


def shape_of(row: dict[str, Any], *, grid: Grid, view: View) -> Shape:
    """How much is seen of a row of the index."""
    shape = (row["num_frames"], row["fps"], row["height"], row["width"])
    return sample_shape(*shape, grid=grid, view=view)


def frame_indices(row: dict[str, Any], *, frames: int, view: View, rng_key: str) -> list[int]:
    """Frames of the media file: `frames` of them, at the view's rate, from a window inside the
    clip; or, for a view with gaps, any frames of it.
    """
    last, first = row["num_frames"] - 1, row["first_frame"]
    if view.gaps and frames > 1 and share_of(rng_key, "gaps") < view.gaps:
        chosen = rng(rng_key, "frames").permutation(row["num_frames"])[:frames]
        return sorted(first + int(frame) for frame in chosen)
    stride = max(1.0, row["fps"] / view.fps) if view.fps and row["fps"] else 1.0
    span = math.ceil((frames - 1) * stride - 1e-6)  # the same hair that `frames_at_rate` allows
    starts = row["num_frames"] - span
    start = seed_of(rng_key, "window") % max(1, starts) if view.window == "random" else 0
    return [first + min(last, start + round(i * stride)) for i in range(frames)]


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


class ClipCache:
    """Decoded clips, or latents, up to a number of bytes; the one used longest ago goes first."""

    def __init__(self, max_bytes: int):
        self.free_bytes = max_bytes
        self.clips: OrderedDict[tuple, Any] = OrderedDict()

    def get(self, name: tuple) -> Any:
        if name in self.clips:
            self.clips.move_to_end(name)
        return self.clips.get(name)

    def put(self, name: tuple, clip: np.ndarray | Tensor) -> None:
        self.clips[name] = clip
        self.free_bytes -= clip.nbytes
        while self.free_bytes < 0:
            self.free_bytes += self.clips.popitem(last=False)[1].nbytes
