"""`make prove`: films of the shapes world through the whole pipeline, a model trained on the shards
and sampled, its videos read; controls that must fail; one table and one verdict.

Every figure is read from frames that the model made. The parts are the commands that a person
would type, in processes of their own, so that what is proved is what users run.
Shapes: T, H, W, C of a video.
"""

import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from jsonargparse import ArgumentParser

from curation import storage
from curation.dataset import git_commit
from training.curriculum import View
from training.evaluate.conditions import Answer, accuracy, table
from training.index import held_out, load_index
from training.module import VideoFlow
from training.pack import pixels_to_unit
from training.prove import world
from training.reader import ClipReader
from training.sample import Shot, generate, load_ema, pixels_of, write_samples

VIEW = View(area_px=world.SIDE_PX**2, max_frames=world.FRAMES, fps=world.VIEW_FPS, window="first")
SHOWN = 12
"""Videos that are written to be looked at."""
GIVEN = 2
"""Frames that show where a shape goes; the others are the future."""


@dataclass(frozen=True)
class Bars:
    """What a trained model must reach, and what a control must not."""

    colour: float = 0.95
    shape: float = 0.90
    direction: float = 0.90
    future_error: float = 0.05
    """mean squared error of the frames after the given two, pixels in [-1, 1]; text dropped"""
    overfit: float = 0.02
    """loss on one pack over that of a network that puts out zero"""
    above_chance: float = 0.15
    """what is left without text, of 1/3 for colour and shape and 1/4 for direction: the standard
    error of 144 prompts is 0.04"""


CHANCE = {"colour": 1 / 3, "shape": 1 / 3, "direction": 1 / 4}


@dataclass(frozen=True)
class Prove:
    """How the proof is made."""

    output: str = "build/prove"
    """folder of everything that it writes"""
    config: str = "configs/training/prove.yaml"
    """of training"""
    films: int = 16
    scenes_per_film: int = 36
    control_steps: int = 3000
    """optimizer steps of the control with shuffled captions; the true run reads every attribute
    well above chance by then"""
    prompts: int = 144
    """videos from text; a multiple of 36 asks for every combination equally often"""
    futures: int = 64
    """held-out clips whose future is asked for"""
    steps: int = 24
    """Euler steps"""
    guidance: float = 2.0
    seed: int = 0
    bars: Bars = Bars()


def prove(how: Prove) -> bool:
    """Run all parts, print the table, write `prove.json`; True where every bar is met.

    Raises ValueError where there is a run already.
    """
    began = core_seconds()
    out = Path(how.output)
    if (out / "run").exists():
        raise ValueError(
            f"{out} holds an earlier run, expected a new folder: remove it or give another --output"
        )
    data = make_dataset(how, out / "true", shuffled=False)
    shuffled = make_dataset(how, out / "shuffled", shuffled=True)
    fit(how, data, out / "run")
    fit(how, shuffled, out / "run-shuffled", f"--trainer.max_steps={how.control_steps}")
    fit(how, data, out / "run-zero", "--trainer.max_steps=20", "--model.optimizer.lr=0")
    torch.set_num_threads(os.cpu_count() or 1)
    rows: dict[str, dict[str, float]] = {}
    for name, run in (("trained", "run"), ("shuffled captions", "run-shuffled"),
                      ("zero learning rate", "run-zero")):  # fmt: skip
        module = load(how, out / run)
        rows[name] = from_text(how, module, drop=False, output=out / run / "samples")
        if name == "trained":
            rows["text dropped"] = from_text(how, module, drop=True)
        rows[name]["future_error"] = future_error(how, module, data)
    rows["text dropped"]["future_error"] = rows["trained"]["future_error"]
    overfitted = overfit(how, data)
    verdict = judge(rows, overfitted, bars=how.bars)
    seconds = core_seconds() - began + stage_seconds(data) + stage_seconds(shuffled)
    print(table(rows))
    print(f"one pack learned by heart: {overfitted:.4f} of the zero predictor's loss")
    print("\n".join(f"{'ok  ' if ok else 'FAIL'}  {what}" for what, ok in verdict.items()))
    print(f"{seconds / 60:.1f} core-minutes")
    record = {"rows": rows, "overfit": overfitted, "verdict": verdict, "core_s": seconds}
    record["commit"] = git_commit()
    storage.commit(str(out / "prove.json"), json.dumps(record, indent=1).encode())
    return all(verdict.values())


def judge(rows: dict[str, dict[str, float]], overfitted: float, *, bars: Bars) -> dict[str, bool]:
    """Sentence -> was it so."""
    true, dropped = rows["trained"], rows["text dropped"]
    verdict = {
        f"{name} >= {getattr(bars, name)}": true[name] >= getattr(bars, name) for name in CHANCE
    }
    verdict[f"future error <= {bars.future_error}"] = true["future_error"] <= bars.future_error
    verdict[f"one pack overfits to < {bars.overfit}"] = overfitted < bars.overfit
    for name, chance in CHANCE.items():
        most = chance + bars.above_chance
        verdict[f"without text {name} <= {most:.2f}"] = dropped[name] <= most
        for control in ("shuffled captions", "zero learning rate"):
            verdict[f"{control}: {name} <= {most:.2f}"] = rows[control][name] <= most
    verdict["zero learning rate: no future"] = (
        rows["zero learning rate"]["future_error"] > bars.future_error
    )
    return verdict


# -- parts -----------------------------------------------------------------------------------------


def make_dataset(how: Prove, folder: Path, *, shuffled: bool) -> str:
    """Footage -> shards by the commands of curation and captioning; the dataset's folder."""
    footage, data = folder / "footage", folder / "data"
    world.make_footage(
        footage,
        truth=folder / "truth.json",
        films=how.films,
        scenes_per_film=how.scenes_per_film,
        seed=how.seed,
        shuffled=shuffled,
    )
    on = [f"--data={data}"]
    curated = [*on, "--config=configs/curation/prove.yaml"]
    command("curation", "split", "filter", f"--footage={footage}", *curated)
    command("captioning", "caption", "--config=configs/captioning/demo.yaml", *on)
    command("curation", "filter", "shard", *curated)
    return str(data)


def fit(how: Prove, data: str, output: Path, *more: str) -> None:
    knobs = [f"--config={how.config}", f"--data.data={data}", f"--seed_everything={how.seed}"]
    command("training", "fit", *knobs, f"--trainer.default_root_dir={output}", *more)


def command(package: str, *arguments: str) -> None:
    environment = os.environ | {"OMP_WAIT_POLICY": "passive"}
    subprocess.run([sys.executable, "-m", package, *arguments], check=True, env=environment)


def load(how: Prove, run: Path) -> VideoFlow:
    """The network of a run with its EMA weights."""
    module = build(how)
    load_ema(module, str(run / "checkpoints" / "last.ckpt"))
    return module.eval()


def build(how: Prove) -> VideoFlow:
    """The network of the config, new."""
    parser = ArgumentParser()
    parser.add_class_arguments(VideoFlow, "model")
    return parser.instantiate(parser.parse_object({"model": config_of(how)["model"]})).model


def config_of(how: Prove) -> dict[str, Any]:
    return yaml.safe_load(Path(how.config).read_text())


def from_text(
    how: Prove,
    module: VideoFlow,
    *,
    drop: bool,
    frames: int = world.FRAMES,
    output: Path | None = None,
) -> dict[str, float]:
    """Accuracy of colour, shape and direction of videos made from text, or from none.

    output: folder for the first of them, to look at.
    """
    scenes = [world.make_scene(i, seed=how.seed + 1) for i in range(how.prompts)]
    asked = [Answer(scene.colour, scene.shape, scene.direction) for scene in scenes]
    prompts = ["" if drop else scene.caption for scene in scenes]
    shot = Shot(frames, world.SIDE_PX, world.SIDE_PX, world.VIEW_FPS)
    guidance = 1.0 if drop else how.guidance
    made = generate(module, prompts, shot=shot, steps=how.steps, guidance=guidance, seed=how.seed)
    videos = [pixels_of(module, latent) for latent in made]
    if output is not None:
        shown = {"videos": videos[:SHOWN], "prompts": prompts[:SHOWN], "fps": world.VIEW_FPS}
        write_samples(**shown, output=str(output), record={"guidance": guidance})
    answers = [world.READER.read(video, frames=range(frames)) for video in videos]
    return accuracy(answers, asked=asked)


def future_error(how: Prove, module: VideoFlow, data: str) -> float:
    """Mean squared error of the frames after the given two, in [-1, 1], without text.

    The given frames must come out as they went in.
    """
    errors = []
    for video in unseen_clips(how, module, data)[: how.futures]:
        given = [(video[:GIVEN], 0)]
        shot = Shot(world.FRAMES, world.SIDE_PX, world.SIDE_PX, world.VIEW_FPS, given=given)
        made = generate(module, [""], shot=shot, steps=how.steps, guidance=1.0, seed=how.seed)[0]
        true_CTHW = pixels_to_unit(torch.from_numpy(video))
        difference = module.vae.decode(made) - true_CTHW
        assert not difference[:, :GIVEN].any(), "given frames came out changed"
        errors.append(float((difference[:, GIVEN:] ** 2).mean()))
    return float(np.mean(errors))


def unseen_clips(how: Prove, module: VideoFlow, data: str) -> list[np.ndarray]:
    """The clips that training held out, as the network sees them."""
    index = load_index(data)
    reader = ClipReader(index, grid=module.grid, seed=0, cache_mb=0)
    rows = np.flatnonzero(held_out(index, config_of(how)["data"]["holdout_pct"]))
    clips = [reader.read(int(row), view=VIEW, epoch=0, purpose="validate") for row in rows]
    return [clip.video_THWC.numpy() for clip in clips if clip.video_THWC is not None]


def overfit(
    how: Prove, data: str, *, max_steps: int = 500, clips: int = 8, lr: float = 3e-3
) -> float:
    """Loss on one pack with fixed noise and timesteps after at most `max_steps` steps, over that of
    a network that puts out zero velocity.
    """
    torch.manual_seed(how.seed)
    module = build(how)
    index = load_index(data)
    reader = ClipReader(index, grid=module.grid, seed=how.seed, cache_mb=0)
    few = [reader.read(i, view=VIEW, epoch=0, purpose="fixed") for i in range(clips)]
    pack = module.pack(few)
    t_S, noise_ND = module.timesteps(pack), module.noise(pack)
    zero = float(((noise_ND - pack.x_ND) ** 2).sum())
    optimizer = torch.optim.AdamW(module.parameters(), lr=lr, weight_decay=0.0)
    share = 1.0
    for _ in range(max_steps):
        error = module.error(pack, t_S=t_S, noise_ND=noise_ND)
        share = float(error.detach()) / zero
        if share < how.bars.overfit:
            break
        optimizer.zero_grad()
        (error / pack.x_ND.numel()).backward()
        optimizer.step()
    return share


def core_seconds() -> float:
    """CPU time of this process and of all that it waited for."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def stage_seconds(data: str) -> float:
    """CPU time of the stages of a dataset, whose workers nobody waits for: by their records."""
    records = (json.loads(path.read_text()) for path in Path(data, "runs").glob("*.json"))
    return sum(record.get("seconds", {}).get("cpu", 0.0) for record in records)
