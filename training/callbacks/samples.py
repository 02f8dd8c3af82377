"""Videos on the way: what the averaged weights make of a few prompts and always the same noise."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image

from training.callbacks.ema import Ema


class Samples(Callback):
    """Writes a video per prompt and a contact sheet to `samples/step-…`, and shows the videos in
    TensorBoard, every so many optimizer steps.
    """

    def __init__(
        self,
        prompts: list[str] | None = None,
        every_n_steps: int = 5000,
        frames: int = 17,
        height: int = 256,
        width: int = 256,
        fps: float = 24.0,
        steps: int = 40,
        guidance: float = 4.0,
    ):
        """
        Args:
            prompts: what to make; null: nothing.
            every_n_steps: optimizer steps between two sets.
            frames: frames of each video.
            height: in pixels.
            width: in pixels.
            fps: frames per second.
            steps: steps from noise to data.
            guidance: strength of the prompt; 1 is none.
        """
        self.prompts, self.every_n_steps, self.fps = prompts or [], every_n_steps, fps
        self.size = (frames, height, width)
        self.how = {"steps": steps, "guidance": guidance, "seed": 0}
        self.made_at = 0

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Raise ValueError for a size that the model cannot make, before anything is trained."""
        from training.sample import check_grid

        if self.prompts:
            frames, height, width = self.size
            check_grid(pl_module, frames=frames, height_px=height, width_px=width)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        step = trainer.global_step
        if not self.prompts or step % self.every_n_steps or step == self.made_at:
            return
        self.made_at = step
        self.make(trainer, pl_module)

    def make(self, trainer: Trainer, pl_module: Any) -> None:
        """All devices take part, since weights may be spread over them; the first one writes."""
        from training.sample import Shot, generate, pixels_of, write_samples

        average = next(part for part in trainer.callbacks if isinstance(part, Ema))  # pyright: ignore
        average.on_validation_start(trainer, pl_module)
        pl_module.eval()
        frames, height, width = self.size
        shot = Shot(frames, height, width, self.fps)
        with trainer.precision_plugin.forward_context():  # as in a step
            latents = generate(pl_module, self.prompts, shot=shot, **self.how)
        videos = [pixels_of(pl_module, latent) for latent in latents]
        pl_module.train()
        average.on_validation_end(trainer, pl_module)
        if not trainer.is_global_zero:
            return
        step = trainer.global_step
        folder = Path(trainer.default_root_dir) / "samples" / f"step-{step:08d}"
        record = {**self.how, "trained_steps": step}
        write_samples(videos, prompts=self.prompts, fps=self.fps, output=str(folder), record=record)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                for number, video in enumerate(videos):
                    show(logger, f"samples/{number}", video, fps=self.fps, step=step)


def show(
    logger: TensorBoardLogger, tag: str, video_THWC: np.ndarray, *, fps: float, step: int
) -> None:
    """Put a video into TensorBoard, which shows an animated GIF where it expects an image (its own
    add_video does the same, by way of moviepy).
    """
    from tensorboard.compat.proto.summary_pb2 import Summary

    images = [Image.fromarray(frame) for frame in video_THWC]
    buffer = io.BytesIO()
    images[0].save(
        buffer, "GIF", save_all=True, append_images=images[1:], duration=1000 / fps, loop=0
    )
    _, height, width, _ = video_THWC.shape
    image = Summary.Image(
        height=height, width=width, colorspace=3, encoded_image_string=buffer.getvalue()
    )
    writer = logger.experiment._get_file_writer()
    writer.add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), global_step=step)
