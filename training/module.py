"""The Lightning module: clips to a pack, a pack to a loss. Everything random is keyed by sample
(`randomness.py`).

The loss of a step is the squared error summed over all values of its packs, divided by their
number: a sample weighs by its tokens, and splitting the step over more devices or accumulated
batches leaves the gradient as it is."""

from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from training import flow as equations
from training.evaluate.timestep_loss import T_VALUES, TimestepLoss
from training.flow import Flow
from training.models.dit import DiT
from training.models.patches import Grid
from training.models.text import TextEncoder, pack_ids
from training.models.vae import Autoencoder
from training.pack import Clip, ClipBatch, Pack, make_pack, pixels_to_unit
from training.randomness import generator


@dataclass(frozen=True)
class Network:
    """Size of the transformer."""

    width: int = 512
    """values per token"""
    depth: int = 12
    """blocks"""
    heads: int = 8
    """heads of attention; width / heads is a multiple of 8"""
    mlp_ratio: float = 4.0
    """width of the MLP over width"""
    patch: tuple[int, int, int] = (1, 2, 2)
    """latent points per token along time, height, width"""
    absolute: bool = False
    """add sines and cosines of a token's position to the token, beside rotary: a short run learns
    sooner where in the picture things are"""
    pooled_text: bool = False
    """the mean of a caption's states modulates every block together with the timestep, beside
    attention to the states: a short run learns sooner which caption means which picture"""


@dataclass(frozen=True)
class AdamW:
    """Knobs of the optimizer."""

    lr: float = 1e-4
    """largest learning rate"""
    warmup_steps: int = 1000
    """optimizer steps of linear rise"""
    decay_steps: int | None = None
    """optimizer step at which a linear fall reaches zero; null: constant. Not tied to
    trainer.max_steps, so that a run that stops early is the beginning of a longer one"""
    betas: tuple[float, float] = (0.9, 0.99)
    """decay of the moments"""
    weight_decay: float = 0.0
    fused: bool = False
    """one kernel for all weights, which a small network on a CPU gains from; Lightning cannot clip
    gradients beside it in mixed precision"""


class VideoFlow(LightningModule):
    """A diffusion transformer on packs of clips."""

    def __init__(
        self,
        vae: Autoencoder,
        text: TextEncoder,
        *,
        network: Network = Network(),  # noqa: B008 - frozen
        flow: Flow = Flow(),  # noqa: B008 - frozen
        optimizer: AdamW = AdamW(),  # noqa: B008 - frozen
        text_drop: float = 0.1,
    ):
        """
        Args:
            vae: pixels to latents and back; frozen.
            text: captions to text states.
            network: size of the transformer.
            flow: the objective.
            optimizer: knobs of AdamW.
            text_drop: share of captions replaced by the empty one in training, for guidance.
        """
        super().__init__()
        if network.width % (8 * network.heads):
            raise ValueError(
                f"{network.width = } over {network.heads = } is {network.width / network.heads:g}, "
                "expected a multiple of 8 per head: "
                "change model.network.width or model.network.heads"
            )
        patch = (network.patch[0], network.patch[1], network.patch[2])
        self.grid = Grid(vae.frames, vae.pixels, patch)
        self.token_width = vae.channels * patch[0] * patch[1] * patch[2]
        self.vae, self.text, self.flow, self.optimizer, self.text_drop = (
            vae,
            text,
            flow,
            optimizer,
            text_drop,
        )
        self.dit = DiT(
            token_width=self.token_width,
            text_width=text.width,
            width=network.width,
            depth=network.depth,
            heads=network.heads,
            mlp_ratio=network.mlp_ratio,
            absolute=network.absolute,
            pooled_text=network.pooled_text,
        )
        self.val_loss = TimestepLoss()

    def training_step(self, batch: ClipBatch, batch_idx: int) -> dict[str, Any]:
        pack = self.pack(batch.clips, text_drop=self.text_drop)
        error = self.error(pack, t_S=self.timesteps(pack), noise_ND=self.noise(pack))
        packs = (
            self.trainer.accumulate_grad_batches * self.trainer.world_size
        )  # both are divided by downstream
        loss = error * packs / (batch.step_tokens * self.token_width)
        return {
            "loss": loss,
            "pack_loss": error.detach() / pack.x_ND.numel(),
            "tokens": len(pack.x_ND),
        }

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> None:
        pack = self.pack(batch.clips, text_drop=0.0)
        noise_ND = self.noise(pack)
        for number, t in enumerate(T_VALUES):
            t_S = torch.full((len(pack.counts),), t, device=self.device)
            error = self.error(pack, t_S=t_S, noise_ND=noise_ND)
            self.val_loss.add(number, error=float(error), values=pack.x_ND.numel())

    def on_validation_epoch_end(self) -> None:
        losses = self.val_loss.finish(self.trainer)
        self.log_dict({f"val/{name}": value for name, value in losses.items()}, rank_zero_only=True)

    def pack(self, clips: list[Clip], *, text_drop: float) -> Pack:
        """Encode clips and captions of any shapes into one pack."""
        with torch.no_grad():
            latents = [self.vae.encode(pixels_to_unit(clip.video_THWC)) for clip in clips]
        captions = [
            clip.caption if uniform(clip.rng_key, "text") >= text_drop else "" for clip in clips
        ]
        text_ids_M, cu_text = pack_ids(self.text.tokenize(captions))
        return make_pack(
            latents,
            times_s=[clip.times_s for clip in clips],
            text_ids_M=text_ids_M,
            cu_text=cu_text,
            rng_keys=[clip.rng_key for clip in clips],
            grid=self.grid,
        )

    def timesteps(self, pack: Pack) -> Tensor:
        """One t per sample."""
        z = [torch.randn((), generator=generator(key, "timestep")).item() for key in pack.rng_keys]
        t = [
            self.flow.timestep(value, tokens=length)
            for value, length in zip(z, pack.lengths, strict=True)
        ]
        return torch.tensor(t, device=pack.x_ND.device)

    def noise(self, pack: Pack) -> Tensor:
        parts = [
            torch.randn(length, self.token_width, generator=generator(key, "noise"))
            for key, length in zip(pack.rng_keys, pack.lengths, strict=True)
        ]
        return torch.cat(parts).to(pack.x_ND.device)

    def error(self, pack: Pack, *, t_S: Tensor, noise_ND: Tensor) -> Tensor:
        """Squared error of the velocity, summed over all values of the pack."""
        t_N1 = t_S[pack.sample_N, None]
        x_t_ND = equations.interpolate(pack.x_ND, noise=noise_ND, t=t_N1)
        v_ND = self.velocity(
            x_t_ND, pack=pack, t_S=t_S, text_MD=self.text(pack.text_ids_M, pack.cu_text)
        )
        return equations.squared_error(
            v_ND, target_ND=equations.velocity(pack.x_ND, noise=noise_ND)
        )

    def velocity(self, x_t_ND: Tensor, *, pack: Pack, t_S: Tensor, text_MD: Tensor) -> Tensor:
        """The network's velocity at every token."""
        out_ND = self.dit(
            x_t_ND,
            t_R=t_S,
            row_N=pack.sample_N,
            positions_N3=pack.positions_N3,
            text_MD=text_MD,
            own=pack.own,
            cross=pack.cross,
        )
        return self.flow.velocity_of(out_ND.float(), x_t_ND=x_t_ND, t_N1=t_S[pack.sample_N, None])

    def configure_optimizers(self) -> Any:
        knobs = self.optimizer
        adamw = torch.optim.AdamW(
            self.parameters(),
            lr=knobs.lr,
            betas=knobs.betas,
            weight_decay=knobs.weight_decay,
            fused=knobs.fused,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            adamw, lambda step: lr_share(step, knobs=knobs)
        )
        return {"optimizer": adamw, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def lr_share(step: int, *, knobs: AdamW) -> float:
    """Share of the largest learning rate at an optimizer step."""
    rise = min(1.0, (step + 1) / max(1, knobs.warmup_steps))
    fall = 1.0 if knobs.decay_steps is None else max(0.0, 1 - step / knobs.decay_steps)
    return min(rise, fall)


def uniform(*key: object) -> float:
    return torch.rand((), generator=generator(*key)).item()
