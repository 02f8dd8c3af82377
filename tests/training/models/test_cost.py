"""Operations, counted by hand for small sizes."""

import pytest

from training.models.cost import Cost


def test_full_attention() -> None:
    """12 tokens, width 8, one block: 28 d^2 + 4 d n for each token, and the ends."""
    cost = Cost(width=8, depth=1, mlp_ratio=4.0, token_width=6, attention="full", causal=True)
    linear, ends, own = 12 * 28 * 64, 12 * 4 * 8 * 6, 4 * 8 * 12 * 12
    assert cost.forward((3, 2, 2)) == linear + ends + own
    text = 5 * 4 * 64 + 4 * 8 * 12 * 5
    assert cost.forward((3, 2, 2), text_tokens=5) == linear + ends + own + text


@pytest.mark.parametrize(("causal", "along"), [(True, 4 * 8 * 12 * 2), (False, 4 * 8 * 12 * 3)])
def test_factorised_attention(causal: bool, along: float) -> None:
    """Two of three blocks look within frames of 4 tokens, one along 3 frames."""
    cost = Cost(8, 3, mlp_ratio=4.0, token_width=6, attention="factorised", causal=causal)
    linear, ends = 3 * 12 * 28 * 64, 12 * 4 * 8 * 6
    assert cost.forward((3, 2, 2)) == linear + ends + 2 * (4 * 8 * 12 * 4) + along
