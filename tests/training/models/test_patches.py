import math

import pytest
import torch

from training.models.patches import Grid, patchify, token_positions, unpatchify


@pytest.mark.parametrize(
    ("frames", "patch"),
    [(1, (1, 2, 2)), (5, (1, 2, 4)), (5, (2, 2, 2)), (1, (2, 1, 1)), (7, (3, 4, 4))],
)
def test_patches_come_back_exactly(frames: int, patch: tuple[int, int, int]) -> None:
    latent = torch.randn(3, frames, 4, 8)
    x = patchify(latent, patch=patch)
    counts = (1 + (frames - 1) // patch[0], 4 // patch[1], 8 // patch[2])
    assert x.shape == (math.prod(counts), math.prod(patch) * 3)
    assert torch.equal(unpatchify(x, counts=counts, patch=patch), latent)


def test_tokens_run_over_columns_then_rows_then_time() -> None:
    latent = torch.arange(2 * 2 * 3.0).reshape(1, 2, 2, 3)
    assert patchify(latent, patch=(1, 1, 1)).flatten().tolist() == list(range(12))


def test_the_first_frame_is_a_token_alone_as_an_image_is() -> None:
    latent = torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1)
    assert patchify(latent, patch=(2, 1, 1)).tolist() == [[1.0, 1.0], [2.0, 3.0]]
    assert patchify(latent[:, :1], patch=(2, 1, 1)).tolist() == [[1.0, 1.0]]
    times = token_positions(torch.tensor([0.0, 0.5, 1.0]), counts=(2, 1, 1), patch_time=2, group=1)
    assert times[:, 0].tolist() == [0.0, 0.75]


def test_grid_counts() -> None:
    grid = Grid(frames=4, pixels=8, patch=(1, 2, 2))
    assert [grid.fit_frames(n) for n in (1, 4, 5, 8, 17, 100)] == [1, 1, 5, 5, 17, 97]
    assert grid.latent_frames(17) == 5
    assert grid.counts(17, 256, 448) == (5, 16, 28)
    sora = Grid(frames=4, pixels=8, patch=(2, 4, 4))  # tokens of 8 frames after the first
    assert [sora.fit_frames(n) for n in (1, 8, 9, 16, 17)] == [1, 1, 9, 9, 17]
    assert sora.counts(17, 256, 448) == (3, 8, 14)


@pytest.mark.parametrize(
    ("height", "width", "area", "expected"),
    [
        (720, 1280, 256 * 256, (192, 336)),  # 192 x 341.3 has that area
        (1280, 720, 256 * 256, (336, 192)),
        (512, 512, 256 * 256, (256, 256)),
        (64, 96, 256 * 256, (64, 96)),  # small clips are not enlarged
        (9, 300, 256, (16, 96)),  # never less than a token
    ],
)
def test_fit_size_keeps_the_aspect(
    height: int, width: int, area: int, expected: tuple[int, int]
) -> None:
    assert Grid(4, 8, (1, 2, 2)).fit_size(height, width, area_px=area) == expected


def test_positions_are_seconds_and_shares_of_the_picture() -> None:
    positions = token_positions(torch.tensor([0.0, 0.5]), counts=(2, 2, 2), patch_time=1, group=1)
    assert positions.shape == (8, 3)
    assert positions[0].tolist() == [0.0, -0.25, -0.25]
    assert positions[7].tolist() == [0.5, 0.25, 0.25]


def test_a_latent_frame_stands_at_the_mean_time_of_its_frames() -> None:
    times = torch.arange(9) / 8
    positions = token_positions(times, counts=(3, 1, 1), patch_time=1, group=4)
    assert positions[:, 0].tolist() == [0.0, 2.5 / 8, 6.5 / 8]


def test_positions_of_another_resolution_lie_between() -> None:
    coarse = token_positions(torch.zeros(1), counts=(1, 2, 2), patch_time=1, group=1)
    fine = token_positions(torch.zeros(1), counts=(1, 4, 4), patch_time=1, group=1)
    assert coarse[0, 1].item() == pytest.approx(fine[:, 1].reshape(4, 4)[:2].mean().item())
