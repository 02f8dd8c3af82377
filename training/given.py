"""Frames that a sampled video is to hold: a first image, the end of a clip, both, or all but a
region.

Given files are laid into the video at their frame numbers. A token counts as given when all of its
frames are; what lies between is filled with the nearest given frame, so that an autoencoder that
joins several frames has something near to join them with.
Shapes: T, H, W of a video in pixels; tokens along time, height and width in `counts`.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from curation.video import read_frames, read_image
from training.models.patches import Grid, Patch

IMAGES = (".jpg", ".jpeg", ".png", ".webp")
Region = tuple[float, float, float, float]
"""(left, top, right, bottom) as shares of the picture's width and height."""


@dataclass(frozen=True)
class Given:
    """A file whose frames the video holds."""

    path: str
    """an image or a video"""
    at: int = 0
    """frame of the video at which it begins; below 0 it ends there, counted from the end: -1 ends
    it with the video's last frame"""


def load_given(path: str, *, size: tuple[int, int]) -> np.ndarray:
    """uint8 T x H x W x 3: an image or a video, cut about its centre to the aspect and size.

    Raises ValueError.
    """
    if not Path(path).is_file():
        raise ValueError(f"no file at {path}, expected an image or a video to be given")
    try:
        if path.lower().endswith(IMAGES):
            frames = read_image(Path(path).read_bytes())
        else:
            frames = read_frames(path)
    except ValueError as error:
        raise ValueError(f"{path} cannot be given: {error}") from error
    height, width = size
    scale = max(height / frames.shape[1], width / frames.shape[2])
    cover = (
        max(width, round(frames.shape[2] * scale)),
        max(height, round(frames.shape[1] * scale)),
    )
    top, left = (cover[1] - height) // 2, (cover[0] - width) // 2
    resized = [cv2.resize(frame, cover, interpolation=cv2.INTER_AREA) for frame in frames]
    return np.stack(resized)[:, top : top + height, left : left + width]


def lay_out(
    given: list[tuple[np.ndarray, int]], *, num_frames: int
) -> tuple[np.ndarray, np.ndarray]:
    """(video T x H x W x 3 with every frame filled, bool T: the given frames).

    given: frames and where they begin, as in `Given.at`. Of a video that is longer than what it is
    laid into, the end is cut off, or the beginning where it is laid at the end. Raises ValueError.
    """
    at: dict[int, np.ndarray] = {}
    for frames, begin in given:
        start = begin if begin >= 0 else num_frames + begin - len(frames) + 1
        inside = {start + i: frame for i, frame in enumerate(frames) if 0 <= start + i < num_frames}
        if not inside:
            raise ValueError(
                f"given frames at {begin} lie outside the video's {num_frames} frames, expected "
                f"{-num_frames} to {num_frames - 1}"
            )
        at |= inside
    known = np.array([number in at for number in range(num_frames)])
    numbers = np.flatnonzero(known)
    nearest = [numbers[np.abs(numbers - number).argmin()] for number in range(num_frames)]
    return np.stack([at[int(number)] for number in nearest]), known


def known_tokens(
    known: np.ndarray, *, counts: Patch, grid: Grid, region: Region | None = None
) -> np.ndarray:
    """bool over the tokens: those whose frames are all given and that lie outside the region.

    known: bool T. Raises ValueError for given frames that fill no token, and a region of nothing.
    """
    _, rows, columns = counts
    groups = [known[:1], *known[1:].reshape(-1, grid.step_frames)]
    whole = np.array([group.all() for group in groups])
    if not whole.any() or (np.array([group.any() for group in groups]) & ~whole).any():
        raise ValueError(
            f"frames {np.flatnonzero(known).tolist()} are given, expected frame 0 or whole groups "
            f"of {grid.step_frames} after it (1 to {grid.step_frames}, …), such as a video of "
            f"{grid.step_frames} frames at the end: a token of this model holds so many"
        )
    tokens_THW = np.broadcast_to(whole[:, None, None], counts).copy()
    if region is not None:
        left, top, right, bottom = region
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise ValueError(
                f"region = {list(region)}, expected left, top, right, bottom between 0 and 1"
            )
        y = slice(int(top * rows), int(np.ceil(bottom * rows)))
        x = slice(int(left * columns), int(np.ceil(right * columns)))
        tokens_THW[:, y, x] = False
    if tokens_THW.all():
        raise ValueError("every frame is given, expected some to be made: ask for more frames")
    return tokens_THW
