import pytest
import torch

from training.models.positions import pairs_per_axis, rotary_angles, rotate


@pytest.mark.parametrize(
    ("width", "expected"), [(64, (8, 12, 12)), (48, (6, 9, 9)), (16, (2, 3, 3)), (8, (2, 1, 1))]
)
def test_all_pairs_are_used(width: int, expected: tuple[int, int, int]) -> None:
    assert pairs_per_axis(width) == expected
    assert sum(expected) == width // 2


def test_rotation_keeps_lengths_and_the_origin() -> None:
    x = torch.randn(5, 2, 32)
    positions = torch.randn(5, 3)
    turned = rotate(x, rotary_angles(positions, head_width=32))
    assert torch.allclose(turned.norm(dim=-1), x.norm(dim=-1), atol=1e-5)
    assert torch.equal(rotate(x, rotary_angles(torch.zeros(5, 3), head_width=32)), x)


def test_scores_depend_on_differences_only() -> None:
    q, k = torch.randn(1, 1, 32), torch.randn(1, 1, 32)
    here, there, move = torch.randn(1, 3), torch.randn(1, 3), torch.tensor([[0.7, -0.2, 0.4]])

    def score(a: torch.Tensor, b: torch.Tensor) -> float:
        return (
            (
                rotate(q, rotary_angles(a, head_width=32))
                * rotate(k, rotary_angles(b, head_width=32))
            )
            .sum()
            .item()
        )

    assert score(here, there) == pytest.approx(score(here + move, there + move), abs=1e-4)
    assert score(here, there) != pytest.approx(score(here, there + move), abs=1e-3)


def test_a_known_angle() -> None:
    """The fastest pair of the time axis turns by 8 radians a second."""
    angles = rotary_angles(torch.tensor([[0.25, 0.0, 0.0]]), head_width=32)
    assert angles[0, 0].item() == pytest.approx(2.0)
    assert angles[0, 4:].abs().max().item() == 0.0
