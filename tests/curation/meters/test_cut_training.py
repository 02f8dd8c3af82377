"""The films that the cut network is trained on, and the network in PyTorch beside that in NumPy."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from curation.meters.cuts import OVERLAP, REACH, network, tiny
from curation.meters.cuts.training.compose import film
from curation.meters.cuts.training.film import Film
from curation.meters.cuts.training.mixes import MIXES
from curation.meters.cuts.training.scenes import Stock
from curation.meters.cuts.training.train import (
    Films,
    Net,
    inputs,
    save,
    sources,
    train,
)

PAINTED = Stock([], [])


def made(seed: int) -> Film:
    return film(np.random.default_rng([seed, 0]), PAINTED)


def as_arrays(f: Film) -> tuple[np.ndarray, ...]:
    blocks, frames = inputs(f)
    return blocks, frames, np.stack([f.cut_T, f.gradual_T], 1), f.counts_TK


def test_a_composed_film_is_what_its_labels_say() -> None:
    cuts = 0
    for seed in range(4):
        f = made(seed)
        n = len(f.luma_THW)
        assert f.luma_THW.shape == (n, tiny.HEIGHT_PX, tiny.WIDTH_PX)
        assert f.cut_T.shape == f.gradual_T.shape == f.counts_TK.shape[:1] == (n,)
        for kind, start, end in f.events:
            if kind == "cut" and f.cut_T[start]:
                cuts += 1
                before = [p[start - 1].astype(int) for p in (f.luma_THW, f.u_Thw, f.v_Thw)]
                after = [p[start] for p in (f.luma_THW, f.u_Thw, f.v_Thw)]
                assert max(np.abs(a - b).mean() for a, b in zip(after, before, strict=True)) > 0.5
            if kind in MIXES and f.counts_TK[start : end - 1, 1].any():
                assert f.gradual_T[start:end].all() or end > n
    assert cuts >= 3


def test_the_same_seed_gives_the_same_film() -> None:
    a, b, other = made(3), made(3), made(4)
    np.testing.assert_array_equal(a.luma_THW, b.luma_THW)
    assert not np.array_equal(a.luma_THW, other.luma_THW)


def test_numpy_runs_the_network_that_pytorch_trains(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Net()
    save(net, tmp_path / "weights.safetensors")
    weights = {
        k: v.astype(np.float32) for k, v in load_file(tmp_path / "weights.safetensors").items()
    }
    net.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    blocks, frames = inputs(made(0))
    with torch.no_grad():
        theirs = net(torch.from_numpy(blocks)[None], torch.from_numpy(frames)[None])[0].numpy()
    ours = network.forward(blocks, frames, weights=weights)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_the_weights_in_the_repository_fit_the_network() -> None:
    held = {name: value.shape for name, value in network.load().items()}
    assert held == {name: tuple(value.shape) for name, value in Net().state_dict().items()}
    assert network.WEIGHTS.stat().st_size < 2 << 20
    behind = tiny.BACK + network.NET_REACH
    assert (REACH, OVERLAP - REACH) == (behind, tiny.AHEAD + network.NET_REACH)


def test_training_is_repeatable() -> None:
    films = Films([as_arrays(made(seed)) for seed in range(2)])
    first, again, other = (train(films, films, steps=2, seed=seed) for seed in (1, 1, 2))
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.block_in.weight, other.block_in.weight)


def test_missing_sources_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="88 of 88 files are missing.*apt-get download"):
        sources(tmp_path)
