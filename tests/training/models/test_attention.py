import torch

from training.models.attention import Table, attend


def naive(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, table: Table) -> torch.Tensor:
    """Softmax over all keys with a mask of segments, in float64."""
    rows = torch.bucketize(torch.arange(len(q)), torch.tensor(table.cu_q[1:]), right=True)
    columns = torch.bucketize(torch.arange(len(k)), torch.tensor(table.cu_k[1:]), right=True)
    scores = torch.einsum("nhe,mhe->hnm", q.double(), k.double()) / q.shape[-1] ** 0.5
    scores = scores.masked_fill(rows[:, None] != columns, float("-inf"))
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
