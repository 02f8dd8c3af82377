"""A world of which everything is known: one coloured shape moves over a plain grey ground.

What a model of it must learn is exactly what its captions say (colour, shape, direction) and what
two frames show (where the shape goes on to), so both can be read off a picture without a learned
judge (`training/evaluate/conditions.py`). A scene is a pure function of a seed and its number. It
is first a handful of pixels, as the network looks at it, then a film at twelve times the size and
six frames per pixel of motion, cut hard from scene to scene, with timed captions beside it: real
footage for curation, which must give the same frames back.
Shapes: T frames, H rows, W columns of the view or of the film.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curation import storage
from curation.video import write_mp4
from training.evaluate.conditions import Reader
from training.randomness import rng

SIDE_PX, FRAMES, STEP_PX = 12, 4, 2
"""The view: 4 frames of 12 x 12 pixels, and motion of 2 pixels from frame to frame. The path is 6
pixels long, half the picture, so that a shape of 6 pixels goes from edge to edge, and none leaves
the picture or comes back at the other side."""

VIEW_FPS = 2.0
FPS, SCALE = 24, 12
"""The film: 144 pixels (the smallest standard bucket), 2 of them from frame to frame, 12 frames
from view frame to view frame."""

FRAMES_PER_STEP = round(FPS / VIEW_FPS)
SCENE_FRAMES = FRAMES_PER_STEP * (FRAMES - 1) + 1

COLOURS = {"red": (245, 10, 10), "green": (10, 245, 10), "blue": (10, 10, 245)}
COLOUR_SPREAD = 10
"""Levels of 255 by which each channel of a scene's colour may differ from the named one."""

GREYS = ((0, 12), (28, 40))
"""Levels of the ground in even and odd scenes: a cut between two that look alike is none. Dark, so
that a picture of the ground alone, which shows no motion, is wrong by more than 0.05."""

SHAPES = {
    "disc": ("011110", "111111", "111111", "111111", "111111", "011110"),
    "ring": ("111111", "100001", "100001", "100001", "100001", "111111"),
    "cross": ("001100", "001100", "111111", "111111", "001100", "001100"),
}
"""6 x 6 pixels, a quarter of the picture; any two differ in 12 to 24 of the 36."""

DIRECTIONS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
"""(y, x), y down."""

WORDINGS = (
    "A {colour} {shape} moves {direction} over a grey ground.",
    "On a grey ground, a {colour} {shape} slides {direction}.",
    "The picture shows a {colour} {shape} going {direction}.",
)


@dataclass(frozen=True)
class Scene:
    """One shape on its way."""

    colour: str
    shape: str
    direction: str
    rgb: tuple[int, int, int]
    grey: int
    start_px: tuple[int, int]
    """(y, x) of the shape's upper left corner in the first view frame"""
    caption: str


def mask_of(shape: str) -> np.ndarray:
    """bool H x W."""
    return np.array([[cell == "1" for cell in row] for row in SHAPES[shape]])


def make_scene(number: int, *, seed: int) -> Scene:
    """Any 36 scenes in a row, from a multiple of 36 on, show every combination once."""
    combinations = [(c, s, d) for c in COLOURS for s in SHAPES for d in DIRECTIONS]
    turn, place = divmod(number, len(combinations))
    order = rng("turn", seed, turn).permutation(len(combinations))
    colour, shape, direction = combinations[order[place]]
    random = rng("scene", seed, number)
    spread = random.integers(-COLOUR_SPREAD, COLOUR_SPREAD + 1, 3)
    rgb = np.clip(np.array(COLOURS[colour]) + spread, 0, 255)
    low, high = GREYS[number % 2]
    y, x = (start(way, random) for way in DIRECTIONS[direction])
    return Scene(
        colour=colour,
        shape=shape,
        direction=direction,
        rgb=(int(rgb[0]), int(rgb[1]), int(rgb[2])),
        grey=int(random.integers(low, high + 1)),
        start_px=(y, x),
        caption=say(colour, shape, direction, wording=int(random.integers(len(WORDINGS)))),
    )


def start(way: int, random: np.random.Generator) -> int:
    """Where along one axis a shape begins that goes `way` (-1, 0, 1): on the grid of patches, with
    its whole path inside the picture."""
    room = SIDE_PX - len(SHAPES["disc"])
    path = STEP_PX * (FRAMES - 1)
    first, last = {-1: (path, room), 0: (0, room), 1: (0, room - path)}[way]
    return int(random.integers(first // STEP_PX, last // STEP_PX + 1)) * STEP_PX


def say(colour: str, shape: str, direction: str, *, wording: int = 0) -> str:
    return WORDINGS[wording].format(colour=colour, shape=shape, direction=direction)


def view(scene: Scene) -> np.ndarray:
    """uint8 T x H x W x 3: the scene as the network is to see it."""
    frames = range(0, SCENE_FRAMES, FRAMES_PER_STEP)
    return np.stack([picture(scene, frame=frame, scale=1) for frame in frames])


def film(scenes: Sequence[Scene]) -> np.ndarray:
    """uint8 T x H x W x 3: the scenes one after another, cut hard."""
    return np.stack(
        [
            picture(scene, frame=frame, scale=SCALE)
            for scene in scenes
            for frame in range(SCENE_FRAMES)
        ]
    )


def picture(scene: Scene, *, frame: int, scale: int) -> np.ndarray:
    """One film frame at `scale` pixels per view pixel, H x W x 3."""
    mask = mask_of(scene.shape).repeat(scale, 0).repeat(scale, 1)
    image = np.full((SIDE_PX * scale, SIDE_PX * scale, 3), scene.grey, np.uint8)
    moved = frame * STEP_PX * scale // FRAMES_PER_STEP  # exact for the film and for the view
    top, left = (
        at * scale + way * moved
        for at, way in zip(scene.start_px, DIRECTIONS[scene.direction], strict=True)
    )
    image[top : top + len(mask), left : left + len(mask)][mask] = scene.rgb
    return image


def captions(scenes: Sequence[Scene]) -> str:
    """Timed WebVTT, a cue per scene."""
    cues = [
        f"{clock(number * SCENE_FRAMES)} --> {clock((number + 1) * SCENE_FRAMES)}\n"
        f"{scene.caption}\n"
        for number, scene in enumerate(scenes)
    ]
    return "\n".join(["WEBVTT\n", *cues])


def clock(frame: int) -> str:
    total_ms = round(1000 * frame / FPS)
    minutes, rest_ms = divmod(total_ms, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest_ms // 1000:02d}.{rest_ms % 1000:03d}"


def make_footage(
    folder: Path,
    *,
    truth: Path,
    films: int,
    scenes_per_film: int,
    seed: int,
    shuffled: bool = False,
) -> list[dict[str, Any]]:
    """`film-000.mp4` and `film-000.vtt` … into the folder; the true table, a row per scene, into
    the file `truth` outside it, and back.

    shuffled: the captions of a film go to its scenes in another order, so that they say nothing.
    """
    if folder.resolve() in truth.resolve().parents:
        raise ValueError(
            f"{truth = } lies in the footage folder {folder}, expected a place outside it"
        )
    folder.mkdir(parents=True, exist_ok=True)
    table = []
    for number in range(films):
        name = f"film-{number:03d}"
        first = number * scenes_per_film
        scenes = [make_scene(first + i, seed=seed) for i in range(scenes_per_film)]
        write_mp4(folder / f"{name}.mp4", film(scenes), fps=FPS)
        said_of = scenes
        if shuffled:
            order = rng("shuffled", seed, number).permutation(len(scenes))
            said_of = [scenes[place] for place in order]
        storage.commit(str(folder / f"{name}.vtt"), captions(said_of).encode())
        table += [
            {"file": f"{name}.mp4", "start_frame": i * SCENE_FRAMES, **asdict(scene)}
            for i, scene in enumerate(scenes)
        ]
    storage.commit(str(truth), json.dumps(table, indent=1).encode())
    return table


READER = Reader(
    colours=COLOURS,
    shapes={name: mask_of(name) for name in SHAPES},
    directions=DIRECTIONS,
    step_px=STEP_PX,
)
"""Reads colour, shape and direction off a video of this world."""
