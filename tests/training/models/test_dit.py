import pytest
import torch
from torch import Tensor

from training.models.attention import Table
from training.models.dit import DiT, segment_of_rows
from training.models.patches import token_positions

LENGTHS = (2 * 3 * 4, 1 * 2 * 2, 5 * 2 * 3, 5 * 2 * 3)
COUNTS = ((2, 3, 4), (1, 2, 2), (5, 2, 3), (5, 2, 3))
TEXT = (3, 1, 7, 2)


def network(*, pooled_text: bool = True) -> DiT:
    torch.manual_seed(0)
    dit = DiT(
        token_width=12,
        text_width=6,
        width=32,
        depth=2,
        heads=2,
        mlp_ratio=2.0,
        absolute=True,
        pooled_text=pooled_text,
    )
    assert all(parameter.requires_grad for parameter in dit.parameters())
    with torch.no_grad():
        for parameter in dit.parameters():  # away from adaLN-Zero, where every output is zero
            parameter += 0.1 * torch.randn_like(parameter)
    return dit


def samples() -> list[dict[str, Tensor]]:
    torch.manual_seed(1)
    return [
        {
            "x": torch.randn(length, 12),
            "t": torch.rand(1),
            "positions": token_positions(
                torch.arange(counts[0]) / 8, counts=counts, patch_time=1, group=1
            ),
            "text": torch.randn(text, 6),
        }
        for length, counts, text in zip(LENGTHS, COUNTS, TEXT, strict=True)
    ]


def run(dit: DiT, parts: list[dict[str, Tensor]]) -> list[Tensor]:
    lengths = [len(part["x"]) for part in parts]
    cu = tuple(int(n) for n in torch.tensor([0, *lengths]).cumsum(0))
    cu_text = tuple(
        int(n) for n in torch.tensor([0, *(len(part["text"]) for part in parts)]).cumsum(0)
    )
    out = dit(
        torch.cat([part["x"] for part in parts]),
        t_R=torch.cat([part["t"] for part in parts]),
        row_N=torch.repeat_interleave(torch.tensor(lengths)),
        positions_N3=torch.cat([part["positions"] for part in parts]),
        text_MD=torch.cat([part["text"] for part in parts]),
        own=Table(cu, cu),
        cross=Table(cu, cu_text),
    )
    return list(out.split(lengths))


def test_a_sample_is_the_same_alone_or_packed() -> None:
    dit, parts = network(), samples()
    packed = run(dit, parts)
    reverse = run(dit, parts[::-1])[::-1]
    for part, in_pack, in_reverse in zip(parts, packed, reverse, strict=True):
        alone = run(dit, [part])[0]
        assert alone.abs().max() > 0.1
        assert (alone - in_pack).abs().max() < 1e-5
        assert (alone - in_reverse).abs().max() < 1e-5


def test_gradients_are_the_same_alone_or_packed() -> None:
    dit, parts = network(), samples()
    sum(out.square().sum() for out in run(dit, parts)).backward()  # pyright: ignore
    packed = {name: p.grad.clone() for name, p in dit.named_parameters() if p.grad is not None}
    dit.zero_grad()
    for part in parts:
        run(dit, [part])[0].square().sum().backward()
    for name, parameter in dit.named_parameters():
        assert parameter.grad is not None
        scale = parameter.grad.abs().max()
        assert (packed[name] - parameter.grad).abs().max() < 1e-4 * scale, name


@pytest.mark.parametrize("pooled_text", [False, True])
def test_time_text_and_place_matter(pooled_text: bool) -> None:
    dit, parts = network(pooled_text=pooled_text), samples()
    before = run(dit, parts)[0]
    for name, factor in (("t", 0.5), ("text", -1.0), ("positions", 0.5)):
        changed = [dict(parts[0], **{name: parts[0][name] * factor}), *parts[1:]]
        after = run(dit, changed)
        assert (after[0] - before).abs().max() > 1e-4, name


def test_rows_of_timesteps_find_their_segment() -> None:
    """Two rows in the first segment, one in the second, and one that no token has."""
    row_N = torch.tensor([0, 1, 1, 2, 2])
    table = Table((0, 3, 5), (0, 3, 5))
    assert segment_of_rows(row_N, torch.rand(4), table=table).tolist() == [0, 0, 1, 0]


def test_tokens_of_one_sample_may_have_several_timesteps() -> None:
    """What given frames will use: rows of timesteps are per token, not per sample."""
    dit, part = network(), samples()[0]
    length = len(part["x"])
    cu, cu_text = (0, length), (0, len(part["text"]))
    same = {
        "positions_N3": part["positions"],
        "text_MD": part["text"],
        "own": Table(cu, cu),
        "cross": Table(cu, cu_text),
    }
    rows = torch.zeros(length, dtype=torch.long)
    rows[length // 2 :] = 1
    equal = dit(part["x"], t_R=part["t"].repeat(2), row_N=rows, **same)
    assert torch.allclose(equal, run(dit, [part])[0], atol=1e-6)
    other = dit(part["x"], t_R=torch.tensor([part["t"].item(), 0.0]), row_N=rows, **same)
    assert (other - equal).abs().max() > 1e-3


def test_a_new_network_puts_out_zero() -> None:
    dit = DiT(
        token_width=12,
        text_width=6,
        width=32,
        depth=2,
        heads=2,
        mlp_ratio=2.0,
        absolute=False,
        pooled_text=False,
    )
    assert max(out.abs().max().item() for out in run(dit, samples())) == 0.0


@pytest.mark.parametrize("heads", [1, 4])
def test_bf16_runs(heads: int) -> None:
    dit = DiT(
        token_width=12,
        text_width=6,
        width=32,
        depth=1,
        heads=heads,
        mlp_ratio=2.0,
        absolute=False,
        pooled_text=True,
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert run(dit, samples())[0].isfinite().all()
