"""The readers are right about every true clip, and not right about what shows nothing."""

import numpy as np
import pytest

from training.evaluate.conditions import NONE, Answer, accuracy, table
from training.prove import world
from training.prove.world import READER

SCENES = [world.make_scene(number, seed=5) for number in range(144)]
TRUE = [Answer(scene.colour, scene.shape, scene.direction) for scene in SCENES]


@pytest.mark.parametrize("frames", [(0, 1, 2, 3), (2, 3), (1, 3)])
def test_every_true_clip_is_read_right(frames: tuple[int, ...]) -> None:
    answers = [READER.read(world.view(scene), frames=frames) for scene in SCENES]
    assert answers == TRUE


def test_noise_over_a_true_clip_changes_no_answer() -> None:
    rng = np.random.default_rng(0)
    for scene, true in zip(SCENES, TRUE, strict=True):
        noisy = world.view(scene) + rng.normal(0, 20, (4, 12, 12, 3))
        assert READER.read(noisy, frames=range(4)) == true


def test_frames_that_are_not_asked_for_are_not_read() -> None:
    first, second = world.view(SCENES[0]), world.view(SCENES[1])
    assert TRUE[0] != TRUE[1]
    mixed = np.concatenate([first[:2], second[2:]])
    assert READER.read(mixed, frames=(2, 3)) == TRUE[1]


def test_what_shows_nothing_is_read_as_nothing() -> None:
    plain = np.full((4, 12, 12, 3), 90, np.uint8)
    assert READER.read(plain, frames=range(4)) == Answer(NONE, NONE, NONE)
    smear = plain.astype(float)
    smear[..., 0] += 25  # a reddish ground has no object
    assert READER.read(smear, frames=range(4)) == Answer(NONE, NONE, NONE)


def test_a_shape_that_stands_or_jumps_goes_in_no_direction() -> None:
    still = world.view(SCENES[0])[[0, 0, 0, 0]]
    assert READER.read(still, frames=range(4)).direction == NONE
    backwards = world.view(SCENES[0])[::-1]
    opposite = {"left": "right", "right": "left", "up": "down", "down": "up"}
    assert READER.read(backwards, frames=range(4)).direction == opposite[TRUE[0].direction]
    assert READER.read(still, frames=[3]) == Answer(*TRUE[0][:2], NONE)


def test_accuracy_counts_each_attribute_and_all_of_them() -> None:
    asked = [Answer("red", "ring", "up"), Answer("blue", "disc", "left")]
    answers = [Answer("red", "ring", "down"), Answer("blue", "ring", "left")]
    found = accuracy(answers, asked=asked)
    assert found == {"colour": 1.0, "shape": 0.5, "direction": 0.5, "joint": 0.0}
    assert "| one | 1.000 | 0.500 | 0.500 | 0.000 |" in table({"one": found})
