from dataclasses import replace

import pytest
import torch
from torch import Tensor

from training.models.attention import Table
from training.models.dit import DiT, Layout, Network, segment_of_rows
from training.models.patches import token_positions
from training.pack import along_time, within_frames

LENGTHS = (2 * 3 * 4, 1 * 2 * 2, 5 * 2 * 3, 5 * 2 * 3)
COUNTS = ((2, 3, 4), (1, 2, 2), (5, 2, 3), (5, 2, 3))
TEXT = (3, 1, 7, 2)


SMALL = Network(
    width=32, depth=2, heads=2, mlp_ratio=2.0, positions="both", pooled_text=True, backend="sdpa"
)
FACTORISED = replace(SMALL, attention="factorised", depth=4)


def network(knobs: Network = SMALL) -> DiT:
    torch.manual_seed(0)
    dit = DiT(knobs, token_width=12, text_width=6)
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
    counts = [COUNTS[LENGTHS.index(length)] for length in lengths]
    full = [Layout(Table(cu, cu))]
    factorised = [
        within_frames(counts),
        along_time(counts, dit.network.causal, torch.device("cpu")),
    ]
    out = dit(
        torch.cat([part["x"] for part in parts]),
        t_R=torch.cat([part["t"] for part in parts]),
        row_N=torch.repeat_interleave(torch.tensor(lengths)),
        positions_N3=torch.cat([part["positions"] for part in parts]),
        text_MD=torch.cat([part["text"] for part in parts]),
        own=full if dit.network.attention == "full" else factorised,
        cross=Table(cu, cu_text),
    )
    return list(out.split(lengths))


KINDS = pytest.mark.parametrize("knobs", [SMALL, FACTORISED], ids=["full", "factorised"])


@KINDS
def test_a_sample_is_the_same_alone_or_packed(knobs: Network) -> None:
    dit, parts = network(knobs), samples()
    packed = run(dit, parts)
    reverse = run(dit, parts[::-1])[::-1]
    for part, in_pack, in_reverse in zip(parts, packed, reverse, strict=True):
        alone = run(dit, [part])[0]
        assert alone.abs().max() > 0.1
        assert (alone - in_pack).abs().max() < 1e-5
        assert (alone - in_reverse).abs().max() < 1e-5


@KINDS
def test_gradients_are_the_same_alone_or_packed(knobs: Network) -> None:
    dit, parts = network(knobs), samples()
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
    dit, parts = network(replace(SMALL, pooled_text=pooled_text)), samples()
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
        "own": [Layout(Table(cu, cu))],
        "cross": Table(cu, cu_text),
    }
    rows = torch.zeros(length, dtype=torch.long)
    rows[length // 2 :] = 1
    equal = dit(part["x"], t_R=part["t"].repeat(2), row_N=rows, **same)
    assert torch.allclose(equal, run(dit, [part])[0], atol=1e-6)
    other = dit(part["x"], t_R=torch.tensor([part["t"].item(), 0.0]), row_N=rows, **same)
    assert (other - equal).abs().max() > 1e-3


def test_a_new_network_puts_out_zero() -> None:
    dit = DiT(replace(SMALL, positions="rotary"), token_width=12, text_width=6)
    assert max(out.abs().max().item() for out in run(dit, samples())) == 0.0


@pytest.mark.parametrize("heads", [1, 4])
def test_bf16_runs(heads: int) -> None:
    dit = DiT(replace(SMALL, heads=heads), token_width=12, text_width=6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert run(dit, samples())[0].isfinite().all()


def changed_tokens(knobs: Network, changed: int) -> set[int]:
    """Frames of a sample of 5 x 2 x 3 tokens that see a change in frame `changed`."""
    dit, part = network(knobs), samples()[2]
    before = run(dit, [part])[0]
    part["x"] = part["x"].clone()
    part["x"][6 * changed : 6 * changed + 6] += 1.0
    differ = (run(dit, [part])[0] - before).abs().amax(1) > 1e-6
    return {int(token) // 6 for token in differ.nonzero()}


def test_causal_attention_along_time_sees_earlier_frames_only() -> None:
    assert changed_tokens(FACTORISED, 2) == {2, 3, 4}
    assert changed_tokens(replace(FACTORISED, causal=False), 2) == {0, 1, 2, 3, 4}
    assert changed_tokens(SMALL, 2) == {0, 1, 2, 3, 4}
    # without a block along time nothing leaves its frame
    assert changed_tokens(replace(FACTORISED, depth=1), 2) == {2}


@KINDS
def test_what_is_filled_up_changes_nothing(knobs: Network) -> None:
    """The sizes of a compiled run: more tokens, more rows and more text, which nobody sees."""
    dit, parts = network(knobs), samples()
    with torch.no_grad():
        plain = run(dit, parts)
        dit.network = replace(knobs, compile=True, backend="flex")  # fills up; blocks stay eager
        for one, other in zip(plain, run(dit, parts), strict=True):
            assert (one - other).abs().max() < 1e-5
        assert (dit.sizes.tokens, dit.sizes.rows, dit.sizes.text) == (512, 16, 16)
        run(dit, parts[:1])
    assert dit.sizes.tokens == 512


def test_activations_computed_again_give_the_same_gradients() -> None:
    gradients = []
    for recompute in (False, True):
        dit, parts = network(replace(SMALL, recompute=recompute)), samples()
        sum(out.square().sum() for out in run(dit, parts)).backward()  # pyright: ignore
        gradients.append([p.grad for p in dit.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert one is not None
        assert torch.equal(one, other)


def test_a_network_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a multiple of 8 per head"):
        Network(width=32, heads=5)
    with pytest.raises(ValueError, match="would compile anew for every pack"):
        Network(compile=True, backend="sdpa")
