"""Sampling with given frames: what is given comes back, whatever the network says."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from curation.video import write_mp4
from training.ddpm import Ddpm
from training.flow import Flow
from training.given import Given, known_tokens, lay_out, load_given
from training.models.dit import Network
from training.models.patches import Grid
from training.models.text import WordText
from training.models.vae import SpaceToDepth
from training.module import VideoFlow
from training.objective import Objective
from training.sample import Shot, generate, pixels_of

GRID = Grid(frames=1, pixels=4, patch=(2, 2, 2))  # tokens of frame 0, then of two frames each


def module(objective: Objective, *, attention: str = "full") -> VideoFlow:
    torch.manual_seed(0)
    made = VideoFlow(
        SpaceToDepth(pixels=4),
        WordText(width=16, depth=1, heads=2, buckets=64),
        network=Network(32, 2, 2, patch=(2, 2, 2), attention=attention, causal=False),  # pyright: ignore
        objective=objective,
    )
    with torch.no_grad():
        for parameter in made.parameters():  # away from the zero that a new network puts out
            parameter += 0.1 * torch.randn_like(parameter)
    return made.eval()


def frames(number: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (number, 16, 24, 3), dtype=np.uint8)


FIRST, LAST = frames(1, seed=1), frames(2, seed=2)
TASKS = {
    "image to video": ([(FIRST, 0)], [0]),
    "extend": ([(frames(3), 0)], [0, 1, 2]),
    "extend back": ([(LAST, -1)], [3, 4]),
    "interpolate": ([(FIRST, 0), (LAST, -1)], [0, 3, 4]),
    "loop": ([(FIRST, 0), (np.repeat(FIRST, 2, axis=0), -1)], [0, 3, 4]),
    "subset": ([(LAST, 1)], [1, 2]),
}


@pytest.mark.parametrize("objective", [Flow(prediction="clean"), Flow(), Ddpm()], ids=str)
@pytest.mark.parametrize("task", TASKS)
def test_given_frames_come_back_exactly(objective: Objective, task: str) -> None:
    given, known = TASKS[task]
    net = module(objective)
    shot = Shot(frames=5, height_px=16, width_px=24, fps=8, given=given)
    latents = generate(net, ["a", "b"], shot=shot, steps=3, guidance=2.0, seed=0)
    made = [number for number in range(5) if number not in known]
    laid, _ = lay_out(given, num_frames=5)
    for latent in latents:
        video = pixels_of(net, latent)
        assert np.array_equal(video[known], laid[known])
        assert not np.array_equal(video[made], laid[made])
    assert not torch.equal(latents[0], latents[1])  # another prompt, another noise


def test_in_painting_keeps_what_lies_outside_the_region() -> None:
    net, video = module(Flow()), frames(5)
    shot = Shot(5, 16, 24, 8, given=[(video, 0)], region=(0.0, 0.0, 0.34, 1.0))
    (latent,) = generate(net, ["a"], shot=shot, steps=2, guidance=1.0, seed=0)
    made = pixels_of(net, latent)
    # tokens of 8 pixels: a third and a bit of three columns touches the first two
    assert np.array_equal(made[:, :, 16:], video[:, :, 16:])
    assert (made[:, :, :16] != video[:, :, :16]).mean() > 0.5


def test_nothing_given_is_text_to_video_and_noise_decides() -> None:
    net = module(Flow(), attention="factorised")
    shot = Shot(5, 16, 24, 8)
    one, again, other = (
        generate(net, ["a"], shot=shot, steps=2, guidance=1.5, seed=seed)[0] for seed in (0, 0, 1)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_lay_out_fills_what_is_not_given_with_the_nearest() -> None:
    video, known = lay_out([(FIRST, 0), (LAST, -1)], num_frames=6)
    assert known.tolist() == [True, False, False, False, True, True]
    assert all(np.array_equal(video[n], FIRST[0]) for n in (0, 1, 2))
    assert all(np.array_equal(video[n], LAST[0]) for n in (3, 4))
    # longer than the video: laid at the beginning it loses its end, at the end its beginning
    long = frames(8)
    assert np.array_equal(lay_out([(long, 0)], num_frames=3)[0], long[:3])
    assert np.array_equal(lay_out([(long, -1)], num_frames=3)[0], long[-3:])
    with pytest.raises(ValueError, match="given frames at 6 lie outside the video's 6 frames"):
        lay_out([(FIRST, 6)], num_frames=6)


def test_tokens_are_given_whole() -> None:
    counts = (3, 2, 3)
    known = known_tokens(np.array([True, True, True, False, False]), counts=counts, grid=GRID)
    assert known[:, 0, 0].tolist() == [True, True, False]
    with pytest.raises(ValueError, match=r"frames \[0, 1\] are given, expected frame 0 or whole"):
        known_tokens(np.array([True, True, False, False, False]), counts=counts, grid=GRID)
    with pytest.raises(ValueError, match="every frame is given"):
        known_tokens(np.ones(5, bool), counts=counts, grid=GRID)
    with pytest.raises(ValueError, match=r"region = \[0.5, 0, 0.2, 1\], expected left, top"):
        known_tokens(np.ones(5, bool), counts=counts, grid=GRID, region=(0.5, 0, 0.2, 1))


def test_files_are_cut_to_the_size(tmp_path: Path) -> None:
    """A picture of 40 x 80 whose left half is black, seen as a square, keeps its middle."""
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:, 40:] = 255
    cv2.imwrite(str(tmp_path / "half.png"), picture)
    (square,) = load_given(str(tmp_path / "half.png"), size=(16, 16))
    assert square[:, :7].max() == 0
    assert square[:, 9:].min() == 255
    write_mp4(tmp_path / "clip.mp4", np.repeat(picture[None], 3, axis=0), fps=8)
    assert load_given(str(tmp_path / "clip.mp4"), size=(16, 16)).shape == (3, 16, 16, 3)
    with pytest.raises(ValueError, match=r"no file at .*nothing.png, expected an image or a video"):
        load_given(str(tmp_path / "nothing.png"), size=(16, 16))
    assert Given("a.png").at == 0
