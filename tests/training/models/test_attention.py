import pytest
import torch

from training.models.attention import Backend, Flash, Table, attend, prepare


def naive(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, table: Table) -> torch.Tensor:
    """Softmax over all keys with a mask of segments, in float64."""
    rows = torch.bucketize(torch.arange(len(q)), torch.tensor(table.cu_q[1:]), right=True)
    columns = torch.bucketize(torch.arange(len(k)), torch.tensor(table.cu_k[1:]), right=True)
    scores = torch.einsum("nhe,mhe->hnm", q.double(), k.double()) / q.shape[-1] ** 0.5
    hidden = rows[:, None] != columns
    if table.causal:
        hidden |= torch.arange(len(k)) > torch.arange(len(q))[:, None]
    scores = scores.masked_fill(hidden, float("-inf"))
    return torch.einsum("hnm,mhe->nhe", scores.softmax(-1), v.double())


def test_segments_see_only_their_own_keys() -> None:
    table = Table(
        (0, 3, 7, 11, 12, 20), (0, 2, 5, 8, 9, 10)
    )  # the second and third are one batched call
    q, k, v = torch.randn(20, 2, 8), torch.randn(10, 2, 8), torch.randn(10, 2, 8)
    assert list(table.runs()) == [(0, 1), (1, 2), (3, 1), (4, 1)]
    assert torch.allclose(attend(q, k, v, table=table).double(), naive(q, k, v, table), atol=1e-6)


def test_other_tables_are_other_attentions() -> None:
    """Attention within frames of 4 tokens: the same function with offsets of frames."""
    q = torch.randn(12, 2, 8)
    frames = Table((0, 4, 8, 12), (0, 4, 8, 12))
    assert list(frames.runs()) == [(0, 3)]
    assert torch.allclose(attend(q, q, q, table=frames).double(), naive(q, q, q, frames), atol=1e-6)


@pytest.mark.parametrize(
    "table",
    [
        Table((0, 3, 7, 11, 12, 20), (0, 2, 5, 8, 9, 10)),
        Table((0, 4, 8, 12, 20), (0, 4, 8, 12, 20)),
        Table((0, 4, 8, 12, 20), (0, 4, 8, 12, 20), causal=True),
    ],
    ids=["text", "frames", "causal"],
)
@pytest.mark.parametrize("backend", ["sdpa", "flex"])
def test_backends_agree(backend: Backend, table: Table) -> None:
    """Values and gradients; of FlexAttention values only, whose gradient needs a GPU.
    FlashAttention has a test of its own there.
    """
    q, k, v = (
        torch.randn(n, 2, 16, requires_grad=backend == "sdpa")
        for n in (20, table.cu_k[-1], table.cu_k[-1])
    )
    prepared = prepare(table, backend=backend, device=torch.device("cpu"))
    out = attend(q, k, v, table=prepared)
    expected = naive(q, k, v, table)
    assert torch.allclose(out.double(), expected, atol=1e-5)
    if backend == "flex":
        return
    weights = torch.randn_like(out)
    for one, other in zip(
        torch.autograd.grad((out * weights).sum(), (q, k, v)),
        torch.autograd.grad((expected * weights).sum(), (q, k, v)),
        strict=True,
    ):
        assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("backend", ["varlen", "flex"])
def test_gpu_backends_agree(backend: Backend, causal: bool) -> None:
    device, cu = torch.device("cuda"), (0, 300, 700, 1100, 1101, 2000)
    table = Table(cu, cu, causal)
    q, k, v = (torch.randn(2000, 4, 64, device=device, dtype=torch.bfloat16) for _ in range(3))
    out = attend(q, k, v, table=prepare(table, backend=backend, device=device))
    assert (out - attend(q, k, v, table=table)).abs().max() < 2e-2


def test_offsets_of_a_pack_come_in_few_shapes() -> None:
    """Empty segments fill them up to a power of two, the longest segment is one too."""
    table = Table((0, 3, 7), (0, 40, 41))
    flash = prepare(table, backend="varlen", device=torch.device("cpu"))
    assert isinstance(flash, Flash)
    assert flash.cu_q.tolist() == [0, 3, *[7] * 14]
    assert (flash.longest_q, flash.longest_k) == (16, 64)
    with pytest.raises(ValueError, match="expected bfloat16 or float16: set trainer.precision"):
        attend(torch.randn(7, 1, 8), torch.randn(41, 1, 8), torch.randn(41, 1, 8), table=flash)
