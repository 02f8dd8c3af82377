"""The Lightning module: clips to a pack, a pack to a loss. Everything random is keyed by sample
(`randomness.py`).

The loss of a step is the squared error summed over all values of its packs that are not given,
divided by their number: a sample weighs by its tokens, and splitting the step over more devices or
accumulated batches leaves the gradient as it is."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

from training.evaluate.timestep_loss import T_VALUES, TimestepLoss
from training.flow import Flow
from training.models.attention import diffs
from training.models.cost import Cost
from training.models.dit import DiT, Network
from training.models.patches import Grid
from training.models.text import TextEncoder, pack_ids
from training.models.vae import Autoencoder
from training.objective import Objective
from training.pack import Clip, ClipBatch, Pack, make_pack, pixels_to_unit
from training.randomness import generator


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
        objective: Objective = Flow(),  # noqa: B008 - frozen
        optimizer: AdamW = AdamW(),  # noqa: B008 - frozen
        text_drop: float = 0.1,
        text_drop_given: float | None = None,
    ):
        """
        Args:
            vae: pixels to latents and back; frozen.
            text: captions to text states.
            network: size of the transformer, and how it is computed.
            objective: what is learned: rectified flow or noise prediction.
            optimizer: knobs of AdamW.
            text_drop: share of captions replaced by the empty one in training, for guidance.
            text_drop_given: the same for samples with given frames, which may tell what happens
                without a word; null: as many.
        """
        super().__init__()
        patch = (network.patch[0], network.patch[1], network.patch[2])
        self.grid = Grid(vae.frames, vae.pixels, patch)
        self.token_width = vae.channels * patch[0] * patch[1] * patch[2]
        self.vae, self.text, self.objective, self.network = vae, text, objective, network
        self.optimizer, self.text_drop = optimizer, text_drop
        self.text_drop_given = text_drop if text_drop_given is None else text_drop_given
        self.dit = DiT(network, token_width=self.token_width, text_width=text.width)
        self.val_loss = TimestepLoss()

    @property
    def cost(self) -> Cost:
        """What a sample costs, by which packs are dealt to devices."""
        network = self.network
        sizes = (network.width, network.depth, network.mlp_ratio, self.token_width)
        return Cost(*sizes, attention=network.attention, causal=network.causal)

    def configure_model(self) -> None:
        """Spread the weights over the devices of a ModelParallelStrategy, block by block (FSDP2:
        Zhao et al. 2023, with per-parameter sharding). Other strategies leave them whole.
        """
        if self.device_mesh is None or isinstance(self.dit, FSDPModule):
            return
        half = str(self.trainer.precision).startswith("bf16")
        # inputs stay as they are: half precision would put frames of a long clip at one place
        policy = (
            MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
            if half
            else None
        )
        knobs: dict[str, Any] = {"mesh": self.device_mesh["data_parallel"]}
        knobs |= {"mp_policy": policy} if policy else {}
        for block in self.dit.blocks:
            fully_shard(block, **knobs)
        fully_shard(self.dit, **knobs)
        if any(parameter.requires_grad for parameter in self.text.parameters()):
            fully_shard(self.text, **knobs)

    @property
    def learning(self) -> str:
        """What the weights learn from besides the data: what a resumed run must have again."""
        drops = (self.text_drop, self.text_drop_given)
        return f"{self.objective!r}, {self.optimizer!r}, text drop {drops}"

    # -- steps -------------------------------------------------------------------------------------

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        require_same_sizes("the checkpoint", checkpoint["state_dict"], module=self)

    def on_train_start(self) -> None:
        """The config's learning rate and the like hold, and not those that a checkpoint brought:
        they differ where a new phase is begun with others.
        """
        knobs, optimizer, schedule = self.optimizer, self.optimizers(), self.lr_schedulers()
        schedule.base_lrs = [knobs.lr] * len(schedule.base_lrs)  # pyright: ignore
        for group in optimizer.param_groups:  # pyright: ignore
            group["betas"], group["weight_decay"] = knobs.betas, knobs.weight_decay
            group["initial_lr"] = knobs.lr
            group["lr"] = knobs.lr * lr_share(self.global_step, knobs=knobs)

    def training_step(self, batch: ClipBatch, batch_idx: int) -> dict[str, Any]:
        self.trainer.datamodule.note_failures(batch)  # pyright: ignore[reportAttributeAccessIssue]
        pack = self.pack([self.told(clip) for clip in batch.clips])
        error = self.error(pack, t_S=self.timesteps(pack), noise_ND=self.noise(pack))
        # gradients of packs and devices are averaged downstream
        packs = self.trainer.accumulate_grad_batches * self.trainer.world_size
        return {
            "loss": error * packs / (batch.step_targets * self.token_width),
            "error": error.detach(),
            "values": int((~pack.known_N).sum()) * self.token_width,
            "tokens": len(pack.x_ND),
            "flops": 3 * self.forward_flops(pack),
        }

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> None:
        self.trainer.datamodule.note_failures(batch)  # pyright: ignore[reportAttributeAccessIssue]
        pack = self.pack(batch.clips)
        noise_ND = self.noise(pack)
        values = int((~pack.known_N).sum()) * self.token_width
        for number, t in enumerate(T_VALUES):
            t_S = torch.full((len(pack.counts),), t, device=self.device)
            error = self.error(pack, t_S=t_S, noise_ND=noise_ND)
            if batch.step_targets:  # one that only keeps devices in step counts for nothing
                self.val_loss.add(number, error=float(error), values=values)

    def on_validation_epoch_end(self) -> None:
        losses = self.val_loss.finish(self.trainer)
        self.log_dict({f"val/{name}": value for name, value in losses.items()}, rank_zero_only=True)

    # -- a pack ------------------------------------------------------------------------------------

    def told(self, clip: Clip) -> Clip:
        """The clip with its caption, or now and then without."""
        drop = self.text_drop_given if clip.known_THW.any() else self.text_drop
        return clip if uniform(clip.rng_key, "text") >= drop else without_text(clip)

    def pack(self, clips: list[Clip]) -> Pack:
        """Encode clips and captions of any shapes into one pack."""
        text, cu_text = self.packed_text(clips)
        return make_pack(
            [self.latent(clip) for clip in clips],
            known=[clip.known_THW for clip in clips],
            times_s=[clip.times_s for clip in clips],
            text=text,
            cu_text=cu_text,
            rng_keys=[clip.rng_key for clip in clips],
            grid=self.grid,
        )

    @torch.no_grad()
    def latent(self, clip: Clip) -> Tensor:
        if clip.latent_CTHW is not None:
            return clip.latent_CTHW.float()
        assert clip.video_THWC is not None
        return self.vae.encode(pixels_to_unit(clip.video_THWC))

    def packed_text(self, clips: list[Clip]) -> tuple[Tensor, tuple[int, ...]]:
        """Token ids of the captions; or their states where some were stored, the others made now
        (whose encoder is frozen, since states of one that is trained are never stored).
        """
        new = [clip.caption for clip in clips if clip.text_MD is None]
        if len(new) == len(clips):
            return pack_ids(self.text.tokenize(new))
        made = iter(self.frozen_states(new) if new else [])
        states = [next(made) if clip.text_MD is None else clip.text_MD.float() for clip in clips]
        return torch.cat(states), (0, *accumulate(len(part) for part in states))

    @torch.no_grad()
    def frozen_states(self, captions: list[str]) -> list[Tensor]:
        """M x D states of each caption."""
        ids, cu = pack_ids(self.text.tokenize(captions))
        return [*self.text(ids.to(self.device), cu).split(diffs(cu))]

    def text_states(self, pack: Pack) -> Tensor:
        """M x D states of all captions of a pack."""
        if pack.text.is_floating_point():
            return pack.text
        return self.text(pack.text, pack.cu_text)

    def timesteps(self, pack: Pack) -> Tensor:
        """One t per sample."""
        z = [torch.randn((), generator=generator(key, "timestep")).item() for key in pack.rng_keys]
        t = [
            self.objective.timestep(value, tokens=length)
            for value, length in zip(z, pack.lengths, strict=True)
        ]
        return torch.tensor(t, device=pack.x_ND.device)

    def noise(self, pack: Pack) -> Tensor:
        parts = [
            torch.randn(length, self.token_width, generator=generator(key, "noise"))
            for key, length in zip(pack.rng_keys, pack.lengths, strict=True)
        ]
        return torch.cat(parts).to(pack.x_ND.device)

    # -- the network on a pack ---------------------------------------------------------------------

    def error(self, pack: Pack, *, t_S: Tensor, noise_ND: Tensor) -> Tensor:
        """Squared error, summed over all values of the tokens that are not given."""
        t_N1, known_N1 = t_S[pack.sample_N, None], pack.known_N[:, None]
        x_t_ND = self.objective.noised(pack.x_ND, noise_ND=noise_ND, t_N1=t_N1)
        x_t_ND = torch.where(known_N1, pack.x_ND, x_t_ND)
        out_ND = self.predict(x_t_ND, pack=pack, t_S=t_S, text_MD=self.text_states(pack))
        errors_ND = self.objective.errors(
            out_ND, x_ND=pack.x_ND, noise_ND=noise_ND, x_t_ND=x_t_ND, t_N1=t_N1
        )
        return errors_ND.masked_fill(known_N1, 0.0).sum()

    def predict(self, x_t_ND: Tensor, *, pack: Pack, t_S: Tensor, text_MD: Tensor) -> Tensor:
        """What the network puts out at every token; given tokens have timestep 0."""
        t_R, row_N = pack.conditions(t_S)
        return self.dit(
            x_t_ND,
            t_R=t_R,
            row_N=row_N,
            positions_N3=pack.positions_N3,
            text_MD=text_MD,
            own=pack.own(self.network),
            cross=pack.cross,
        ).float()

    def forward_flops(self, pack: Pack) -> float:
        """Operations of the transformer's forward pass over the pack."""
        text = diffs(pack.cu_text)
        return sum(
            self.cost.forward(count, text_tokens=words)
            for count, words in zip(pack.counts, text, strict=True)
        )

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


def require_same_sizes(path: str, weights: Mapping[str, Any], *, module: LightningModule) -> None:
    """Raise ValueError where a checkpoint's weights are not those of the network."""
    own = module.state_dict()
    trained = {name for name, value in module.named_parameters() if value.requires_grad}
    if not trained <= weights.keys() <= own.keys() or any(
        value.shape != own[name].shape for name, value in weights.items()
    ):
        raise ValueError(
            f"{path} holds a network of another size than the config: "
            "give the config it was trained with"
        )


def lr_share(step: int, *, knobs: AdamW) -> float:
    """Share of the largest learning rate at an optimizer step."""
    rise = min(1.0, (step + 1) / max(1, knobs.warmup_steps))
    fall = 1.0 if knobs.decay_steps is None else max(0.0, 1 - step / knobs.decay_steps)
    return min(rise, fall)


def uniform(*key: object) -> float:
    return torch.rand((), generator=generator(*key)).item()


def without_text(clip: Clip) -> Clip:
    """The clip with the empty caption, which guidance is measured against."""
    return replace(clip, caption="", text_MD=clip.empty_text_MD)
