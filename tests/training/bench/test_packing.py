"""The other ways of packing, on a few samples whose answer is worked out by hand."""

import pytest

from training.bench import packing

TOKENS = [5, 4, 3, 2, 5, 1]


def packs(way: packing.Packs) -> list[list[int]]:
    return [pack for pack, _ in way]


def test_ways_of_packing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert packs(packing.greedy(TOKENS, 8)) == [[0], [1, 2], [3, 4, 5]]
    assert packs(packing.bucketed(TOKENS, 8)) == [[0], [4], [1], [2], [3], [5]]
    assert packs(packing.bucketed([2, 4, 2, 4, 2, 2], 8)) == [[1, 3], [0, 2, 4, 5]]
    assert packs(packing.first_fit(TOKENS, 8)) == [[0, 2], [4, 3, 5], [1]]
    assert packs(packing.ours(TOKENS, 8)) == [[0, 2], [1, 3, 5], [4]]
    monkeypatch.setattr(packing, "PADDED_SAMPLES", 4)
    assert packing.padded(TOKENS, 8) == [([0, 1, 2, 3], 20), ([4, 5], 10)]


def test_figures() -> None:
    """20 tokens in 3 packs of 8; sample 5 comes before sample 1; 3 packs make no step of 8."""
    found = packing.figures(
        "any", [([0, 2], 8), ([4, 3, 5], 8), ([1], 8)], tokens=TOKENS, costs=[1.0] * 6
    )
    assert (found.filled, found.waited, found.balance) == (20 / 24, 4, 1.0)


def test_balance_is_the_mean_over_the_largest() -> None:
    one_each = [([number], 8) for number in range(8)]
    costs = [1.0] * 7 + [2.0]
    assert packing.figures("any", one_each, tokens=[8] * 8, costs=costs).balance == 9 / 8 / 2


def test_the_command_prints_ours_beside_the_others(capsys: pytest.CaptureFixture) -> None:
    packing.run(num=3000)
    lines = capsys.readouterr().out.splitlines()
    filled = {line[:26].strip(): float(line[26:].split()[0]) for line in lines[3:9]}
    assert len(filled) == 6
    assert filled["our plan"] == max(filled.values())
    assert filled["our plan"] > 0.98
