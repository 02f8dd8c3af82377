"""What each training target would take of a dataset, and what it would reject and why.

A target is a model's diet: frames per second, frame counts of the form stride * k + 1 (a causal
video VAE turns `stride` frames into one latent and the first frame into one of its own), and sizes
in pixels. Trainers drop clips that fit none of it, most without a word; here every clip has a
bucket or a reason for every target, so that one dataset can be planned for several.

Counted on decoded frames at the target's rate. Nothing is enlarged, slowed down or repeated.
"""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import pyarrow as pa

from curation import pipeline
from curation.clip import frames_at_rate
from curation.stage import Abort, Stage, Tables, Unit

TARGETS = pa.schema(
    {
        "clip_id": pa.string(),
        "target": pa.string(),
        "bucket": pa.string(),  # <width>x<height>_<frames>f; null where rejected
        "num_frames_at_target": pa.int64(),  # decoded frames at the target's rate
        "crop_pct": pa.float32(),  # of the picture, lost to the shape of the size that fits best
        "target_fps": pa.float64(),
        "frames_needed": pa.int64(),  # the target's shortest count
        "reject": pa.string(),  # too_slow | too_short | aspect | too_small, or the clip's own
    }
)

SLOWER = 0.01  # 23.976 is 24, and stamps in whole milliseconds give 15.97 for 16; 15 is not 16


@dataclass(frozen=True)
class Target:
    """What one model is trained on."""

    name: str
    fps: float
    """Frames per second at which clips are read."""
    min_frames: int
    """Fewest frames of a sample, of the form stride * k + 1."""
    max_frames: int
    """Most frames of a sample, of the form stride * k + 1; every count between is a bucket."""
    sizes: list[str]
    """Pixels, "WIDTHxHEIGHT"; a clip goes to the one that keeps most of it."""
    stride: int = 4
    """Frames that its VAE turns into one latent."""
    multiple: int = 16
    """Pixels; its patches times its VAE's: every side is a multiple of it."""
    max_crop_pct: float = 30.0
    """Share of the picture that may be cut off to reach the size's shape. Ours: 4:3 and 2.39:1 lose
    25 % and 26 % to 16:9, upright video 68 %.
    """

    def __post_init__(self) -> None:
        where = f"target {self.name!r}"
        if self.fps <= 0 or self.stride < 1:
            raise ValueError(f"{where}: {self.fps = }, {self.stride = }; expected both above 0")
        counts = (self.min_frames, self.max_frames)
        if wrong := [n for n in counts if n < 1 or (n - 1) % self.stride]:
            raise ValueError(f"{where}: {wrong} frames are not {self.stride}k+1, as its VAE needs")
        if self.min_frames > self.max_frames:
            raise ValueError(f"{where}: {self.min_frames = } is above {self.max_frames = }")
        if not self.sizes:
            raise ValueError(f"{where}: no sizes; expected some such as 832x480")
        for size in self.sizes:
            if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", size):
                raise ValueError(f"{where}: {size!r}, expected WIDTHxHEIGHT such as 832x480")
        if odd := [f"{w}x{h}" for w, h in self.shapes if w % self.multiple or h % self.multiple]:
            raise ValueError(f"{where}: sides of {odd} are no multiples of {self.multiple}")

    @functools.cached_property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(width, height) of the sizes."""
        pairs = (size.split("x") for size in self.sizes)
        return tuple((int(width), int(height)) for width, height in pairs)


@dataclass(frozen=True)
class Targets(Stage):
    """Finds every clip's bucket for every target, or why it has none."""

    targets: list[Target] = field(default_factory=list)
    """configs/curation/targets/published.yaml has those of open models."""

    name: ClassVar[str] = "targets"
    reads: ClassVar[dict[str, list[str]]] = {
        "clips": ["clip_id", "num_frames", "fps", "width", "height", "reject", "error"]
    }
    writes: ClassVar[dict[str, pa.Schema]] = {"targets": TARGETS}
    unit: ClassVar = "dataset"

    def __post_init__(self) -> None:
        names = [target.name for target in self.targets]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"targets must have names of their own, but {twice} occur twice")

    def run(self, tables: Tables) -> Tables:
        every = [judge(tables["clips"], target) for target in self.targets]
        return {"targets": pa.concat_tables(every) if every else TARGETS.empty_table()}

    def failed(self, tables: Tables, *, error: str) -> Tables:
        raise Abort(error)  # table work of one unit: what fails here is not some clip's fault


def units(stage: Targets, *, data: str) -> list[Unit]:
    """The whole dataset as one unit: a row per clip and target come out of it."""
    if not stage.targets:
        raise ValueError(
            "no targets are given; add --config configs/curation/targets/published.yaml, "
            "or a file of your own with targets.targets (make: TARGETS=)"
        )
    (unit,) = pipeline.unit_of_dataset(stage, data=data)
    unit = Unit(
        unit.key, unit.num_rows * len(stage.targets), files=unit.files, columns=unit.columns
    )
    return [unit]


# -- judging ---------------------------------------------------------------------------------------


class Fit(NamedTuple):
    """What one target makes of one clip."""

    bucket: str | None
    num_frames_at_target: int
    crop_pct: float
    reject: str | None


class Size(NamedTuple):
    """One of a target's sizes for a picture of another."""

    width: int
    height: int
    crop_pct: float
    is_filled: bool
    """Whether the picture reaches it without being enlarged."""


def judge(clips: pa.Table, target: Target) -> pa.Table:
    """A row per clip for one target; a clip that split or its own error turned away keeps that."""
    own = _own_reasons(clips)
    names = ("width", "height", "num_frames", "fps")
    rows = zip(*(clips[name].to_pylist() for name in names), strict=True)
    fits = [
        Fit(None, num_frames or 0, 0.0, reason)
        if reason is not None
        else fit(target, width=width, height=height, num_frames=num_frames, fps=fps)
        for reason, (width, height, num_frames, fps) in zip(own, rows, strict=True)
    ]
    columns: dict[str, Any] = {
        name: [row[place] for row in fits] for place, name in enumerate(Fit._fields)
    }
    columns |= {
        "clip_id": clips["clip_id"],
        "target": [target.name] * len(fits),
        "target_fps": [target.fps] * len(fits),
        "frames_needed": [target.min_frames] * len(fits),
    }
    return pa.table({name: columns[name] for name in TARGETS.names}, schema=TARGETS)


def _own_reasons(clips: pa.Table) -> list[str | None]:
    pairs = zip(clips["reject"].to_pylist(), clips["error"].to_pylist(), strict=True)
    return [reject or (error.split(":")[0] if error else None) for reject, error in pairs]


def fit(target: Target, *, width: int, height: int, num_frames: int, fps: float | None) -> Fit:
    """The bucket that a clip fills, or the first reason why it fills none.

    width, height in pixels as displayed; num_frames decoded, fps their mean rate.
    """
    frames = frames_at_rate(num_frames, fps=fps, bucket_fps=target.fps)
    best = best_size(target.shapes, width=width, height=height, max_crop_pct=target.max_crop_pct)
    reject = None
    if num_frames > 1 and fps and fps < target.fps * (1 - SLOWER):
        reject = "too_slow"
    elif frames < target.min_frames:
        reject = "too_short"
    elif best.crop_pct > target.max_crop_pct:
        reject = "aspect"
    elif not best.is_filled:
        reject = "too_small"
    if reject:
        return Fit(None, frames, best.crop_pct, reject)
    count = largest_count(frames, stride=target.stride, max_frames=target.max_frames)
    return Fit(f"{best.width}x{best.height}_{count:03d}f", frames, best.crop_pct, None)


def largest_count(frames: int, *, stride: int, max_frames: int) -> int:
    """The largest stride * k + 1 that is at most frames and at most max_frames."""
    return (min(frames, max_frames) - 1) // stride * stride + 1


@functools.lru_cache(maxsize=4096)  # a dataset has few sizes and many clips
def best_size(
    shapes: Sequence[tuple[int, int]], *, width: int, height: int, max_crop_pct: float
) -> Size:
    """The size that keeps most: pixels times the share of the picture that its shape leaves.

    Of those that it fills and that crop little enough; where there is none, the smallest that crops
    little enough, and where there is none of these either, the one of the nearest shape.
    """
    sizes = [
        Size(w, h, crop_pct(width / height, w / h), is_filled=w <= width and h <= height)
        for w, h in shapes
    ]
    shaped = [size for size in sizes if size.crop_pct <= max_crop_pct]
    if filled := [size for size in shaped if size.is_filled]:
        return max(filled, key=lambda s: (s.width * s.height * (100 - s.crop_pct), s.width))
    if shaped:
        return min(shaped, key=lambda s: (s.width * s.height, s.crop_pct))
    return min(sizes, key=lambda s: (s.crop_pct, s.width * s.height))


def crop_pct(aspect: float, target_aspect: float) -> float:
    """Share of a picture that is cut off to give it another aspect (width / height)."""
    return 100 * (1 - min(aspect / target_aspect, target_aspect / aspect))
