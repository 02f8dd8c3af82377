"""Speed of the training step alone, on random latents: tokens per second and share of the device's
peak (MFU, on real tokens only), with compiled blocks and without.

An upper bound of a run's speed: a run draws noise and lays out packs on the CPU as well, keeps
averaged weights, and reads clips and runs the autoencoder, which cached latents leave out.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch

from training.callbacks.meters import peak_of
from training.flow import Flow
from training.models.dit import Network
from training.models.text import WordText
from training.models.vae import SpaceToDepth
from training.module import VideoFlow
from training.pack import Pack, make_pack

SIZES = {
    "tiny": Network(64, 2, 2),  # for a look whether it runs
    "small": Network(512, 12, 8),
    "1b": Network(1536, 20, 12),
}
COUNTS = ((33, 16, 28), (17, 16, 28), (9, 20, 20), (1, 32, 32), (21, 16, 16), (5, 28, 16))
"""Latents, in tokens, that packs are made of: videos of up to 14,784 tokens, and an image."""
TEXT_TOKENS, TEXT_WIDTH = 120, 512


@dataclass(frozen=True)
class Speed:
    """Of one setting."""

    tokens_per_s: float
    mfu: float | None
    """null where the device's peak is not known"""
    peak_gb: float


def packs(module: VideoFlow, *, budget_tokens: int) -> Iterator[Pack]:
    """Random packs of whole samples, each a little less than the budget, without end."""
    random = torch.Generator().manual_seed(0)
    while True:
        counts, free = [], budget_tokens
        while fitting := [count for count in COUNTS if count[0] * count[1] * count[2] <= free]:
            choice = int(torch.randint(len(fitting), (), generator=random))
            counts.append(fitting[choice])
            free -= fitting[choice][0] * fitting[choice][1] * fitting[choice][2]
        yield random_pack(module, counts, random)


def random_pack(module: VideoFlow, counts: list, random: torch.Generator) -> Pack:
    grid, device = module.grid, module.device
    time_patch, row_patch, column_patch = grid.patch
    latents = [
        torch.randn(
            module.vae.channels,
            1 + (frames - 1) * time_patch,
            rows * row_patch,
            columns * column_patch,
            generator=random,
        ).to(device)
        for frames, rows, columns in counts
    ]
    cu_text = tuple(range(0, (len(counts) + 1) * TEXT_TOKENS, TEXT_TOKENS))
    return make_pack(
        latents,
        known=[torch.zeros(count, dtype=torch.bool) for count in counts],
        times_s=[torch.arange(1 + (count[0] - 1) * grid.step_frames) / 16 for count in counts],
        text=torch.randn(cu_text[-1], TEXT_WIDTH, generator=random),
        cu_text=cu_text,
        rng_keys=[str(number) for number in range(len(counts))],
        grid=grid,
    )


def measure(
    network: Network, *, device: torch.device, budget_tokens: int, steps: int, warm_up: int
) -> Speed:
    """Forward, backward and optimizer over packs that are made beforehand."""
    torch.manual_seed(0)
    module = VideoFlow(
        SpaceToDepth(2), WordText(TEXT_WIDTH, depth=0, heads=1), network=network, objective=Flow()
    ).to(device)
    optimizer = torch.optim.AdamW(module.dit.parameters(), lr=1e-4, fused=device.type == "cuda")
    source = packs(module, budget_tokens=budget_tokens)
    made = [next(source) for _ in range(4)]
    noise = [module.noise(pack) for pack in made]

    def step(number: int) -> None:
        pack = made[number % len(made)]
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            t_S = module.timesteps(pack)
            error = module.error(pack, t_S=t_S, noise_ND=noise[number % len(made)])
        (error / pack.x_ND.numel()).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    for number in range(warm_up):
        step(number)
    wait(device)
    started = time.perf_counter()
    for number in range(steps):
        step(number)
    wait(device)
    seconds = time.perf_counter() - started
    done = [made[number % len(made)] for number in range(steps)]
    flops = 3 * sum(module.forward_flops(pack) for pack in done) / seconds
    peak = peak_of(device)
    gb = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else 0.0
    tokens = sum(len(pack.x_ND) for pack in done)
    return Speed(tokens / seconds, flops / peak / 1e12 if peak else None, gb)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def run(
    *,
    size: Literal["tiny", "small", "1b"] = "small",
    attention: Literal["full", "factorised"] = "full",
    compile: Literal["both", "on", "off"] = "both",
    recompute: bool = False,
    budget_tokens: int = 32768,
    steps: int = 20,
    warm_up: int = 8,
) -> None:
    """Print the speed of a training step on random latents.

    Args:
        size: tiny 2 x 64, small 12 x 512, 1b 20 x 1536.
        attention: full or factorised.
        compile: compiled blocks, not compiled, or one after the other; without a GPU none are.
        recompute: forget activations inside a block.
        budget_tokens: tokens of a pack at most.
        steps: measured.
        warm_up: steps before those, in which blocks are compiled.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    kinds = {"both": (False, True), "on": (True,), "off": (False,)}[compile]
    for compiled in kinds if device.type == "cuda" else (False,):
        network = replace(SIZES[size], attention=attention, compile=compiled, recompute=recompute)
        speed = measure(
            network, device=device, budget_tokens=budget_tokens, steps=steps, warm_up=warm_up
        )
        mfu = "MFU unknown" if speed.mfu is None else f"MFU {speed.mfu:.1%}"
        print(
            f"{name}: {network.depth} x {network.width}, {attention} attention, "
            f"{'compiled' if compiled else 'not compiled'}: {speed.tokens_per_s:,.0f} tokens/s, "
            f"{mfu}, {speed.peak_gb:.1f} GB",
            flush=True,
        )
