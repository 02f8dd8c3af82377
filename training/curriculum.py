"""What a run looks at, phase after phase: first many small pictures, later large and long clips, as
Sora-like joint training of images and videos goes (Open-Sora 1.2 report; Movie Gen, Polyak et al.
2024, sec. 3.1.5).

A phase says how much of a clip is seen, how long a pack is and which samples take part. Its steps
are counted in optimizer steps; the last phase has no end.
"""

from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal


@dataclass(frozen=True)
class View:
    """How much of a clip is looked at."""

    area_px: int = 256 * 256
    """pixels of a frame after resizing; the clip's own aspect is kept, small clips are not
    enlarged
    """
    max_frames: int = 129
    """frames of a sample at most"""
    fps: float | None = None
    """frames per second; null: the clip's own. A slower clip gives the frames it has"""
    window: Literal["random", "first"] = "random"
    """which part of a longer clip: another one every epoch, or always its beginning"""
    gaps: float = 0.0
    """share of clips of which any frames are seen, with gaps of any length between them, in place
    of a run at a steady rate (Flexible Diffusion Modeling); needs an autoencoder that takes every
    frame by itself"""

    def __post_init__(self) -> None:
        if self.max_frames < 1 or self.area_px < 1 or (self.fps is not None and self.fps <= 0):
            raise ValueError(
                f"view: max_frames = {self.max_frames}, area_px = {self.area_px}, "
                f"fps = {self.fps}, expected more than 0 of each"
            )


@dataclass(frozen=True)
class Phase:
    """A part of a run."""

    steps: int | None = None
    """optimizer steps; null: to the end of the run, for the last phase"""
    view: View = View()
    """how much of a clip is looked at"""
    budget_tokens: int = 32768
    """tokens of a pack at most; 4 times the longest sample fills packs to 0.995 and more"""
    image_share: float = 0.0
    """share of video clips of which one frame is seen, as an image; another choice every epoch"""
    only: Literal["all", "images", "videos"] = "all"
    """which samples take part: image files, clips of more than one frame, or both"""
    min_area_px: int = 0
    """samples with fewer pixels a frame take no part"""
    min_frames: int = 1
    """videos with fewer frames take no part"""

    def __post_init__(self) -> None:
        if not 0 <= self.image_share <= 1 or not 0 <= self.view.gaps <= 1:
            raise ValueError(
                f"image_share = {self.image_share}, view.gaps = {self.view.gaps}, expected shares "
                "from 0 to 1"
            )


def still(view: View) -> View:
    """One frame of a clip, as an image."""
    return replace(view, max_frames=1, gaps=0.0)


def ends(phases: list[Phase]) -> list[float]:
    """The optimizer step before which each phase ends, counted from the first one's beginning.

    Raises ValueError where a phase would never begin or never end.
    """
    if not phases:
        raise ValueError("data.phases is empty, expected one phase or more")
    for phase in phases[:-1]:
        if phase.steps is None or phase.steps < 1:
            raise ValueError(
                f"data.phases: a phase has steps = {phase.steps} and another follows it, expected "
                "1 or more"
            )
    steps = [phase.steps or 0 for phase in phases[:-1]]
    return [*accumulate(steps), float("inf")]
