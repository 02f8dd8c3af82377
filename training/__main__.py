"""`python -m training fit | validate | sample --config configs/training/….yaml`: the only place
that parses.

LightningCLI builds trainer, model and data from YAML; `--help` of a sub-command lists every knob.
"""

import importlib
import json
import logging
import signal
import sys
import traceback
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jsonargparse import auto_cli
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger

from curation import storage
from curation.dataset import git_commit
from curation.stage import Abort
from training.callbacks import (
    AtomicCheckpointIO,
    Ema,
    FixedBatch,
    Meters,
    NanGuard,
    Samples,
    SaveCheckpoint,
)
from training.callbacks.checkpoint import require_checkpoint
from training.data import VideoData
from training.encode import Dtype, encode
from training.given import Given, load_given
from training.module import VideoFlow
from training.sample import Shot, generate, load_ema, pixels_of, write_samples


class VideoTrainer(Trainer):
    """Lightning's trainer, and sampling as one more thing to do with a model."""

    def sample(
        self,
        model: VideoFlow,
        *,
        ckpt: str,
        prompt: list[str] | str,
        output: str = "samples",
        frames: int = 17,
        height: int = 256,
        width: int = 256,
        fps: float = 24.0,
        steps: int = 40,
        guidance: float = 4.0,
        seed: int = 0,
        given: list[Given] | None = None,
        region: tuple[float, float, float, float] | None = None,
        datamodule: Any = None,
    ) -> None:
        """Write a video per prompt, and a contact sheet of all.

        Args:
            ckpt: checkpoint of a training run with the same config; its EMA weights are used.
            prompt: a prompt, or a list of them such as '["a red car", "a river"]'.
            output: folder for sample-00.mp4, …, contact_sheet.png and sample.json.
            frames: frames of each video.
            height: in pixels.
            width: in pixels.
            fps: frames per second.
            steps: Euler steps from noise to data.
            guidance: strength of the prompt; 1 is none.
            seed: of the noise.
            given: images and videos that the video holds, such as
                '[{path: first.png}, {path: last.png, at: -1}]': a first image alone is animated, a
                clip at 0 is continued and one at -1 led up to, both ends are joined, and the same
                image at both makes a loop.
            region: left, top, right, bottom, as shares of the picture: what is made anew of given
                frames; the rest stays.
        """
        prompts = [prompt] if isinstance(prompt, str) else prompt
        step = load_ema(model, ckpt)
        model.to(self.strategy.root_device).eval()
        if region and not given:
            raise ValueError(f"region = {list(region)} without given frames to make it anew in")
        size = (height, width)
        laid = [(load_given(part.path, size=size), part.at) for part in given or []]
        shot = Shot(frames, height, width, fps, given=laid, region=region)
        how = {"steps": steps, "guidance": guidance, "seed": seed}
        with self.precision_plugin.forward_context():
            latents = generate(model, prompts, shot=shot, **how)
        videos = [pixels_of(model, latent) for latent in latents]
        record = {
            **how,
            "frames": frames,
            "height_px": height,
            "width_px": width,
            "given": [asdict(part) for part in given or []],
            "region": region,
            "ckpt": ckpt,
            "trained_steps": step,
        }
        write_samples(videos, prompts=prompts, fps=fps, output=output, record=record)
        print(f"{len(videos)} videos of {frames} frames and contact_sheet.png in {output}")

    def encode(self, model: VideoFlow, *, dtype: Dtype = "float16", datamodule: Any = None) -> None:
        """Write latents and text states of all that `fit` with this config looks at, which it then
        reads with --data.latents auto. Ends with 1 where a sample could not be read.

        Args:
            dtype: torch type of the tensors as they are kept.
        """
        if encode(model, datamodule, dtype=dtype, device=self.strategy.root_device):
            sys.exit(1)


class SaveRun(SaveConfigCallback):
    """The merged config, seed and commit into the output folder."""

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        assert trainer.state.fn is not None
        folder, command = trainer.default_root_dir, trainer.state.fn.value
        given = self.config.clone()
        began_at = given.pop("ckpt_path", None)  # not for `sample`, which takes the file as well
        given.pop("weights_only", None)
        config = self.parser.dump(given, skip_none=False, skip_validation=True)
        storage.commit(storage.join(folder, f"{command}.yaml"), config.encode())
        seed = self.config.get("seed_everything")
        run = {"commit": git_commit(), "seed": seed, "ckpt_path": began_at and str(began_at)}
        storage.commit(storage.join(folder, f"{command}.json"), json.dumps(run, indent=1).encode())


class Parser(LightningArgumentParser):
    """Says what is wrong, without the list of all knobs before it, which --help gives."""

    def print_usage(self, *args: Any) -> None:
        pass


class TrainingCLI(LightningCLI):
    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        known = LightningCLI.subcommands()
        return {name: known[name] for name in ("fit", "validate")} | {
            "sample": {"model", "datamodule"},
            "encode": {"model", "datamodule"},
        }

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.link_arguments("model.grid", "data.init_args.grid", apply_on="instantiate")
        parser.link_arguments("model.cost", "data.init_args.cost", apply_on="instantiate")
        parser.add_lightning_class_args(Ema, "ema")
        parser.add_lightning_class_args(SaveCheckpoint, "checkpoint")
        parser.add_lightning_class_args(Meters, "meters")
        parser.add_lightning_class_args(FixedBatch, "fixed_batch")
        parser.add_lightning_class_args(NanGuard, "nan_guard")
        parser.add_lightning_class_args(Samples, "samples")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        super().parse_arguments(parser, args)
        if ckpt_path := self.config[self.config["subcommand"]].get("ckpt_path"):
            require_checkpoint(ckpt_path)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        knobs = self._get(self.config_init, "trainer")
        kwargs["plugins"] = [AtomicCheckpointIO(), *(knobs["plugins"] or [])]
        if self.subcommand == "fit" and knobs["logger"] is None:
            kwargs["logger"] = TensorBoardLogger(
                knobs["default_root_dir"], name="", version="tensorboard"
            )
        return super().instantiate_trainer(**kwargs)


PACKAGES = [Path(__file__).parent, Path(storage.__file__).parent]

BENCHES = {
    "bench-packing": "training.bench.packing",
    "bench-reader": "training.bench.reader",
    "bench-training": "training.bench.throughput",
}
"""Command -> module whose function `run` it is."""


def main(args: list[str] | None = None) -> None:
    given = sys.argv[1:] if args is None else args
    if given and given[0] in BENCHES:
        bench = importlib.import_module(BENCHES[given[0]])
        auto_cli(bench.run, args=given[1:], prog=f"python -m training {given[0]}")
        return
    # the loader is rightly not "resumable": the plan's cursor is what resumes
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*")  # Lightning's own call
    # Lightning advertises a service of its own at every start
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: "litlogger" not in record.getMessage().lower()
    )
    cli = TrainingCLI(
        VideoFlow,
        VideoData,
        args=args,
        parser_class=Parser,
        subclass_mode_data=True,
        trainer_class=VideoTrainer,
        save_config_callback=SaveRun,
        save_config_kwargs={"save_to_log_dir": False},
        seed_everything_default=0,
        auto_configure_optimizers=False,
        trainer_defaults={
            "default_root_dir": "build/training",
            "max_epochs": -1,  # the plan has no end; max_steps is the length of a run
            "use_distributed_sampler": False,
            "num_sanity_val_steps": 0,
            "enable_progress_bar": False,
        },
    )
    for callback in cli.trainer.callbacks:
        if isinstance(callback, SaveCheckpoint) and callback.stopped:
            sys.exit(128 + (callback.asked or signal.SIGTERM))


def own_sentence(error: BaseException | None) -> str | None:
    """What one of our checks says, however a library has wrapped it; None: none of ours."""
    while error is not None:
        raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        ours = any(raised_in.is_relative_to(package) for package in PACKAGES)
        if isinstance(error, ValueError) and ours:
            return str(error)
        error = error.__cause__ or error.__context__
    return None


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sentence = own_sentence(error)
        if sentence is None:
            raise
        sys.exit(f"error: {sentence}")
    except Abort as error:
        reason = str(error).removesuffix(storage.CONTINUE)
        sys.exit(f"error: {reason}; go on with --ckpt_path <output>/checkpoints/last.ckpt")
