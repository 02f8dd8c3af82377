"""The world is what it says: equal for equal seeds, complete, and true of every caption."""

import json
from pathlib import Path

import numpy as np
import pytest

from captioning import sidecar
from training.prove import world


def test_a_scene_is_a_function_of_seed_and_number() -> None:
    assert world.make_scene(7, seed=3) == world.make_scene(7, seed=3)
    assert world.make_scene(7, seed=3) != world.make_scene(7, seed=4)
    assert world.make_scene(7, seed=3) != world.make_scene(8, seed=3)


def test_36_scenes_show_every_combination_once() -> None:
    scenes = [world.make_scene(36 + number, seed=0) for number in range(36)]
    assert len({(s.colour, s.shape, s.direction) for s in scenes}) == 36


def test_a_caption_names_what_the_scene_is() -> None:
    for number in range(100):
        scene = world.make_scene(number, seed=0)
        words = set(scene.caption.rstrip(".").replace(",", "").split())
        named = [words & set(names) for names in (world.COLOURS, world.SHAPES, world.DIRECTIONS)]
        assert named == [{scene.colour}, {scene.shape}, {scene.direction}]


def test_no_shape_leaves_the_picture_and_each_moves_one_patch_a_frame() -> None:
    for number in range(200):
        scene = world.make_scene(number, seed=1)
        video = world.view(scene)
        assert video.shape == (4, 12, 12, 3)
        assert video.dtype == np.uint8
        object_T = (video != scene.grey).any(-1)
        assert (object_T.sum((1, 2)) == world.mask_of(scene.shape).sum()).all()
        step = tuple(world.STEP_PX * way for way in world.DIRECTIONS[scene.direction])
        for before, after in zip(object_T, object_T[1:], strict=False):
            assert np.array_equal(np.roll(before, step, axis=(0, 1)), after)


def test_two_shapes_differ_in_a_third_of_their_pixels() -> None:
    masks = [world.mask_of(name) for name in world.SHAPES]
    differing = [int((a != b).sum()) for i, a in enumerate(masks) for b in masks[:i]]
    assert min(differing) >= 12


def test_the_view_is_every_twelfth_pixel_and_frame_of_the_film() -> None:
    scenes = [world.make_scene(number, seed=0) for number in range(3)]
    film = world.film(scenes)
    assert film.shape == (3 * world.SCENE_FRAMES, 144, 144, 3)
    for number, scene in enumerate(scenes):
        first = number * world.SCENE_FRAMES
        seen = film[first : first + world.SCENE_FRAMES : world.FRAMES_PER_STEP]
        assert np.array_equal(seen[:, 6::12, 6::12], world.view(scene))
        assert np.array_equal(seen, world.view(scene).repeat(12, 1).repeat(12, 2))


def test_the_captions_beside_a_film_are_read_as_those_of_its_scenes() -> None:
    scenes = [world.make_scene(number, seed=0) for number in range(36)]
    cues = sidecar.parse_cues(world.captions(scenes))
    length_s = world.SCENE_FRAMES / world.FPS
    for number, scene in enumerate(scenes):
        start_s = number * length_s
        said = sidecar.caption_from_cues(cues, start_s=start_s, end_s=start_s + length_s)
        assert said == scene.caption


def test_the_footage_and_its_true_table(tmp_path: Path) -> None:
    folder, truth = tmp_path / "footage", tmp_path / "truth.json"
    table = world.make_footage(folder, truth=truth, films=2, scenes_per_film=2, seed=0)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["film-000.mp4", "film-000.vtt", "film-001.mp4", "film-001.vtt"]
    assert [(row["file"], row["start_frame"]) for row in table] == [
        ("film-000.mp4", 0), ("film-000.mp4", 37), ("film-001.mp4", 0), ("film-001.mp4", 37),
    ]  # fmt: skip
    assert json.loads(truth.read_text()) == json.loads(json.dumps(table))
    with pytest.raises(ValueError, match="expected a place outside it"):
        world.make_footage(folder, truth=folder / "t.json", films=1, scenes_per_film=1, seed=0)
