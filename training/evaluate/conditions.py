"""Analytic readers: what colour, shape and direction a video shows, and how often that is what was
asked for.

No learned judge. The object is what has chroma (a pixel's RGB minus its mean), for the ground is
grey. Colour: along which named colour's chroma lies most of the energy. Shape: the template that
matches best, frame by frame, wherever it lies: a matched filter of unit norm (Turin 1960), so that
a template of many pixels gains nothing by its size. Direction: the mean step of that best place
from one read frame to the next. "none" is a wrong answer: nothing as strong as `MIN_STRENGTH`, or a
step that is no direction's. On true clips all three are always right (tested); a caption that says
nothing is answered right by chance only.
Frames that were given to the network must not be read: an image-to-video model that has learned
nothing would score with them.
Shapes: T frames, H rows, W columns, K places of a template, P its pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

MIN_STRENGTH = 0.35
"""Of the true chroma, mean over frames, at the best place: true clips read 0.8 and more after an
mp4 round trip, a smear of the right colour below 0.2."""

MAX_STEP_ERROR = 0.3
"""Of a step: the mean step may be this far from a direction's in y and in x."""

NONE = "none"


class Answer(NamedTuple):
    """What a video shows."""

    colour: str
    shape: str
    direction: str


@dataclass(frozen=True)
class Reader:
    """What there is to be read."""

    colours: Mapping[str, tuple[int, int, int]]
    """name to RGB, 0-255"""
    shapes: Mapping[str, np.ndarray]
    """name to bool H x W"""
    directions: Mapping[str, tuple[int, int]]
    """name to the sign of (y, x), y down"""
    step_px: int
    """pixels from frame to frame"""

    def read(self, video_THWC: np.ndarray, *, frames: Sequence[int]) -> Answer:
        """The answers of the given frames alone; uint8 or 0-255 float. One shows no direction."""
        video_THWC = np.asarray(video_THWC)[list(frames)].astype(np.float64)
        chroma_THWC = video_THWC - video_THWC.mean(-1, keepdims=True)
        along = {name: chroma_THWC @ unit(chroma(rgb)) for name, rgb in self.colours.items()}
        colour = max(along, key=lambda name: float((along[name].clip(0) ** 2).sum()))
        found = {
            name: best_places(along[colour], template=mask) for name, mask in self.shapes.items()
        }
        shape = max(found, key=lambda name: float(found[name][0].sum()))
        match_T, places_T2 = found[shape]
        # a true object has its colour's chroma in each of its pixels
        whole = float(np.linalg.norm(chroma(self.colours[colour])))
        strength = match_T.mean() / (whole * np.sqrt(self.shapes[shape].sum()))
        if strength < MIN_STRENGTH:
            return Answer(NONE, NONE, NONE)
        if len(frames) < 2:
            return Answer(colour, shape, NONE)
        step = (places_T2[-1] - places_T2[0]) / ((frames[-1] - frames[0]) * self.step_px)
        return Answer(colour, shape, self.direction_of(step))

    def direction_of(self, step: np.ndarray) -> str:
        for name, way in self.directions.items():
            if np.abs(step - np.array(way)).max() <= MAX_STEP_ERROR:
                return name
        return NONE


def best_places(strength_THW: np.ndarray, *, template: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(match T, place T x 2 as (y, x)) of the template of unit norm in every frame."""
    windows = np.lib.stride_tricks.sliding_window_view(strength_THW, template.shape, axis=(1, 2))
    match_TYX = np.einsum("tyxhw,hw->tyx", windows, template / np.linalg.norm(template))
    flat_TK = match_TYX.reshape(len(match_TYX), -1)
    best_T = flat_TK.argmax(1)
    places_T2 = np.stack(np.unravel_index(best_T, match_TYX.shape[1:]), axis=-1)
    return flat_TK.max(1), places_T2


def chroma(rgb: tuple[int, int, int]) -> np.ndarray:
    value = np.array(rgb, np.float64)
    return value - value.mean()


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def accuracy(answers: Sequence[Answer], *, asked: Sequence[Answer]) -> dict[str, float]:
    """Share of right answers per attribute, and of videos right in all of them (`joint`)."""
    if len(answers) != len(asked) or not asked:
        raise ValueError(f"{len(answers)} answers to {len(asked)} questions, expected as many")
    right = np.array(
        [[a == b for a, b in zip(x, y, strict=True)] for x, y in zip(answers, asked, strict=True)]
    )
    shares = {name: float(right[:, i].mean()) for i, name in enumerate(Answer._fields)}
    return shares | {"joint": float(right.all(1).mean())}


def table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown: a row per name, a column per measure, in the order of the first row."""
    columns = list(next(iter(rows.values())))
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (1 + len(columns)) + "|"]
    for name, values in rows.items():
        lines.append(f"| {name} | " + " | ".join(f"{values[c]:.3f}" for c in columns) + " |")
    return "\n".join(lines)
