"""Prompts and given frames to videos: steps from noise to data under guidance, with the EMA weights
of a checkpoint.

Any size, length and frame rate on the model's grid; all prompts travel as one pack. Given frames
are tokens that stay clean at every step, as in training.
Writes one mp4 per prompt, a contact sheet of all, and how they were made.
"""

import json
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from curation import storage
from curation.dataset import git_commit
from curation.video import write_mp4
from training.callbacks import load_weights
from training.callbacks.checkpoint import require_checkpoint
from training.given import Region, known_tokens, lay_out
from training.models.patches import unpatchify
from training.models.text import pack_ids
from training.module import VideoFlow, require_same_sizes
from training.objective import guide
from training.pack import Pack, make_pack, pixels_to_unit, unit_to_pixels
from training.randomness import generator, key

SHEET_FRAMES = 8
SHEET_TILE_PX = 192
"""Frames and their width on the contact sheet: 8 fit a screen."""


def load_ema(module: VideoFlow, ckpt: str) -> int:
    """Put a checkpoint's EMA weights into the network; returns the optimizer step it was saved
    at.
    """
    require_checkpoint(ckpt)
    checkpoint: dict[str, Any] = torch.load(ckpt, map_location="cpu", weights_only=True)
    weights = checkpoint["ema"]["weights"]
    require_same_sizes(ckpt, weights, module=module)
    load_weights(module, weights)
    return checkpoint["global_step"]


@dataclass(frozen=True)
class Shot:
    """The shape of a video to make, and what it holds already."""

    frames: int
    height_px: int
    width_px: int
    fps: float
    given: list[tuple[np.ndarray, int]] = field(default_factory=list)
    """uint8 T x H x W x 3 of this size, and the frame at which they begin (training.given)"""
    region: Region | None = None
    """what is made anew of given frames"""


@torch.no_grad()
def generate(
    module: VideoFlow,
    prompts: list[str],
    *,
    shot: Shot,
    steps: int,
    guidance: float,
    seed: int,
) -> list[Tensor]:
    """One latent C x T x H x W per prompt. Given tokens are the given latents, bit for bit."""
    if steps < 1 or shot.fps <= 0 or not 0 <= guidance <= 100:
        raise ValueError(
            f"{steps = }, fps = {shot.fps}, {guidance = }, expected at least 1 step, more than 0 "
            "frames per second and a guidance from 0 to 100"
        )
    check_grid(module, frames=shot.frames, height_px=shot.height_px, width_px=shot.width_px)
    if not module.cost.sees_later_frames and any(at for _, at in shot.given):
        raise ValueError(
            f"frames are given at {[at for _, at in shot.given if at]} and this network's "
            "factorised attention sees earlier frames only, expected given frames at 0"
        )
    # two halves: with and without text
    captions = prompts if guidance == 1 else prompts + [""] * len(prompts)
    pack = pack_of(module, captions, shot)
    text_MD, tokens = module.text_states(pack), pack.lengths[0]
    known_N1 = pack.known_N[:, None]
    noise_ND = torch.cat(
        [noise_of(module, key(seed, "sample", i), tokens) for i in range(len(prompts))]
    ).repeat(len(captions) // len(prompts), 1)
    x_ND = torch.where(known_N1, pack.x_ND, noise_ND)
    times = module.objective.times(steps, tokens=tokens)
    for t, t_next in pairwise(times):
        t_S = torch.full((len(captions),), t, device=module.device)
        out_ND = module.predict(x_ND, pack=pack, t_S=t_S, text_MD=text_MD)
        if guidance != 1:
            out_text_ND, out_empty_ND = out_ND.chunk(2)
            out_ND = guide(out_text_ND, out_empty=out_empty_ND, scale=guidance).repeat(2, 1)
        x_ND = module.objective.step(out_ND, x_t_ND=x_ND, t=t, t_next=t_next)
        x_ND = torch.where(known_N1, pack.x_ND, x_ND)
    return [
        unpatchify(x, counts=pack.counts[0], patch=module.grid.patch)
        for x in x_ND[: tokens * len(prompts)].split(tokens)
    ]


def pack_of(module: VideoFlow, captions: list[str], shot: Shot) -> Pack:
    """One pack with the shot once per caption."""
    grid = module.grid
    size = (shot.frames, shot.height_px, shot.width_px)
    known_THW = np.zeros(grid.counts(*size), dtype=bool)
    latent = torch.zeros(
        module.vae.channels,
        grid.latent_frames(shot.frames),
        shot.height_px // grid.pixels,
        shot.width_px // grid.pixels,
        device=module.device,
    )
    if shot.given:
        video, known = lay_out(shot.given, num_frames=shot.frames)
        known_THW = known_tokens(known, counts=grid.counts(*size), grid=grid, region=shot.region)
        latent = module.vae.encode(pixels_to_unit(torch.from_numpy(video).to(module.device)))
    text, cu_text = pack_ids(module.text.tokenize(captions))
    return make_pack(
        [latent] * len(captions),
        known=[torch.from_numpy(known_THW)] * len(captions),
        times_s=[torch.arange(shot.frames) / shot.fps] * len(captions),
        text=text,
        cu_text=cu_text,
        rng_keys=captions,
        grid=grid,
    )


def noise_of(module: VideoFlow, name: str, tokens: int) -> Tensor:
    return torch.randn(tokens, module.token_width, generator=generator(name)).to(module.device)


def pixels_of(module: VideoFlow, latent_CTHW: Tensor) -> np.ndarray:
    """uint8 T x H x W x 3 of a latent."""
    return unit_to_pixels(module.vae.decode(latent_CTHW)).numpy()


def check_grid(module: VideoFlow, *, frames: int, height_px: int, width_px: int) -> None:
    grid = module.grid
    step_y, step_x = grid.pixels * grid.patch[1], grid.pixels * grid.patch[2]
    if frames < 1 or frames != grid.fit_frames(max(1, frames)):
        raise ValueError(
            f"{frames = }, expected 1 + a multiple of {grid.step_frames}, such as "
            f"{grid.fit_frames(max(1, frames))}"
        )
    if height_px < step_y or width_px < step_x or height_px % step_y or width_px % step_x:
        raise ValueError(
            f"{height_px = }, {width_px = }, expected multiples of {step_y} and {step_x}"
        )


def write_samples(
    videos: list[np.ndarray], *, prompts: list[str], fps: float, output: str, record: dict[str, Any]
) -> None:
    """`sample-00.mp4`, … `contact_sheet.png` and `sample.json` into the output folder."""
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    for number, video in enumerate(videos):
        write_mp4(folder / f"sample-{number:02d}.mp4", video, fps=fps)
    ok, png = cv2.imencode(".png", contact_sheet(videos, prompts=prompts)[..., ::-1])
    assert ok
    storage.commit(str(folder / "contact_sheet.png"), png.tobytes())
    record = {"prompts": prompts, "fps": fps, **record, "commit": git_commit()}
    storage.commit(str(folder / "sample.json"), json.dumps(record, indent=1).encode())


def contact_sheet(videos: list[np.ndarray], *, prompts: list[str]) -> np.ndarray:
    """A row per prompt: its words above frames from first to last."""
    rows = []
    for video, prompt in zip(videos, prompts, strict=True):
        numbers = np.linspace(0, len(video) - 1, min(SHEET_FRAMES, len(video))).round().astype(int)
        height = round(SHEET_TILE_PX * video.shape[1] / video.shape[2])
        tiles = [
            cv2.resize(video[n], (SHEET_TILE_PX, height), interpolation=cv2.INTER_NEAREST)
            for n in numbers
        ]
        strip = np.concatenate(
            [np.pad(tile, ((0, 0), (0, 4), (0, 0)), constant_values=255) for tile in tiles], axis=1
        )
        title = np.full((24, strip.shape[1], 3), 255, np.uint8)
        # the drawing font knows ASCII only
        text = prompt.encode("ascii", "replace").decode()[: strip.shape[1] // 8]
        cv2.putText(title, text, (2, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
        rows.append(np.concatenate([title, strip]))
    return np.concatenate(rows)
