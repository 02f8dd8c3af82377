"""LAION's aesthetic predictors on CLIP embeddings of a clip's keyframes.

Two heads on the L2-normalised image embedding of OpenAI's ViT-L/14, each scoring about 1 (poor) to
10: the linear one (LAION-AI/aesthetic-predictor, `sa_0_4_vit_l_14_linear`) and the improved MLP
(christophschuhmann/improved-aesthetic-predictor, `sac+logos+ava1-l14-linearMSE`). A clip's score is
the mean over its keyframes. Where weights cannot be had the column is null, and `aesthetic_note`
says which are missing.

The driver looks for the weights once, when it names the units. What it found is part of their
names, so that weights which turn up later get the scoring done, and travels to the workers with
the stage.
"""

import functools
import hashlib
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from curation.backbone import (
    Missing,
    architecture,
    embed,
    find_backbone,
    first_line,
    import_open_clip,
    load_backbone,
    mean_per_clip,
    probe,
    refuse_misspelt,
)
from curation.clip import hash_128
from curation.stage import Stage, Tables, empty_columns

AESTHETICS = pa.schema(
    {
        "clip_id": pa.string(),
        "aesthetic_laion_linear": pa.float32(),  # about 1-10, mean over the clip's keyframes
        "aesthetic_laion_mlp": pa.float32(),  # about 1-10, mean over the clip's keyframes
        "aesthetic_model": pa.string(),  # backbone and heads that gave the scores
        "aesthetic_note": pa.string(),  # why a score is null
        "error": pa.string(),  # the clip could not be scored at all
    }
)

RAW = "https://raw.githubusercontent.com"
HEADS = {
    "sa_0_4_vit_l_14_linear": f"{RAW}/LAION-AI/aesthetic-predictor/main/sa_0_4_vit_l_14_linear.pth",
    "sac+logos+ava1-l14-linearMSE": f"{RAW}/christophschuhmann/improved-aesthetic-predictor/main/"
    "sac%2Blogos%2Bava1-l14-linearMSE.pth",
}
"""The published heads. Both were trained on OpenAI's ViT-L/14 and mean nothing on other weights."""

BACKBONES = ("ViT-L-14", "ViT-L-14-quickgelu")
"""open_clip's names of OpenAI's ViT-L/14."""

Layers = list[tuple[np.ndarray, np.ndarray]]
"""Weight (out, in) and bias (out) of linear layers. Neither head has activations between them."""


@dataclass(frozen=True)
class Weights:
    """What the driver found of the weights that a stage names."""

    heads: dict[str, Layers]
    """Column -> head; only where the head and the backbone can be had."""
    made_by: str
    """Backbone and those heads by name."""
    note: str | None
    """Which weights are missing and why, in one sentence."""
    digest: str
    """Changes when the scores would."""


@dataclass(frozen=True)
class Aesthetics(Stage):
    """Scores clips by LAION's two aesthetic predictors."""

    model: str = "ViT-L-14-quickgelu"
    """Architecture by open_clip's name. OpenAI's weights, as a file, need a quickgelu one."""
    pretrained: str = "openai"
    """Weights of the backbone: a tag that open_clip knows, or a local file with a state dict."""
    model_config_dir: str | None = None
    """Folder with further open_clip architectures (<model>.json)."""
    linear_head: str = "sa_0_4_vit_l_14_linear"
    """Linear head: a published name, or a local .pth or .safetensors (keys weight, bias)."""
    mlp_head: str = "sac+logos+ava1-l14-linearMSE"
    """MLP head: a published name, or a local .pth or .safetensors (keys layers.N.weight, .bias)."""
    batch_size: int = 32
    """Keyframes that go through the backbone together."""
    num_gpus: float = 0
    """GPUs of one worker; 0 runs on the CPU."""

    name: ClassVar[str] = "aesthetics"
    reads: ClassVar[dict[str, list[str]]] = {"clips": ["clip_id"], "keyframes": ["clip_id", "jpeg"]}
    writes: ClassVar[dict[str, pa.Schema]] = {"aesthetics": AESTHETICS}

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size = {self.batch_size}, expected at least 1")

    @functools.cached_property
    def weights(self) -> Weights:
        weights = find_weights(self)
        if weights.note:
            print(f"aesthetics: {weights.note}; these scores are null", flush=True)
        return weights

    def config_hash(self) -> str:
        return hash_128(super().config_hash(), self.weights.digest)

    def run(self, tables: Tables) -> Tables:
        ids = tables["clips"]["clip_id"].to_pylist()
        frames = tables.get("keyframes")
        if not self.weights.heads or frames is None:
            return {"aesthetics": _rows(ids, {}, self.weights, unreadable=set())}
        device = "cuda" if self.num_gpus else "cpu"
        backbone = load_backbone(self.model, self.pretrained, self.model_config_dir, device)
        embeddings, readable = embed(
            frames["jpeg"].to_pylist(), backbone, batch_size=self.batch_size
        )
        clips = frames["clip_id"].to_numpy()
        unreadable = set(clips[~readable])
        scores = {}
        for column, layers in self.weights.heads.items() if len(embeddings) else ():
            means = mean_per_clip(clips[readable], predict(embeddings, layers))
            scores[column] = {clip: mean for clip, mean in means.items() if clip not in unreadable}
        return {"aesthetics": _rows(ids, scores, self.weights, unreadable=unreadable)}

    def failed(self, tables: Tables, *, error: str) -> Tables:
        ids = tables["clips"]["clip_id"]
        columns = empty_columns(AESTHETICS, len(ids))
        columns |= {"clip_id": ids, "error": pa.array([error] * len(ids), pa.string())}
        return {"aesthetics": pa.table(columns)}


def _rows(
    ids: Sequence[str],
    scores: dict[str, dict[str, float]],
    weights: Weights,
    *,
    unreadable: set[str],
) -> pa.Table:
    columns: dict[str, list[Any]] = {field: [] for field in AESTHETICS.names}
    for clip in ids:
        row: dict[str, Any] = {column: by_clip.get(clip) for column, by_clip in scores.items()}
        scored = any(score is not None for score in row.values())
        row |= {"clip_id": clip, "aesthetic_note": weights.note}
        if scored:
            row["aesthetic_model"] = weights.made_by
        elif weights.heads:
            row["aesthetic_note"] = "unreadable keyframe" if clip in unreadable else "no keyframe"
        for name, values in columns.items():
            values.append(row.get(name))
    return pa.table(columns, schema=AESTHETICS)


# -- scores ----------------------------------------------------------------------------------------


def predict(embeddings_ND: np.ndarray, layers: Layers) -> np.ndarray:
    """The score of each embedding: linear layers one after another."""
    x = embeddings_ND
    for weight, bias in layers:
        x = x @ weight.T + bias
    return x[:, 0]


# -- weights ---------------------------------------------------------------------------------------


def find_weights(stage: Aesthetics) -> Weights:
    """Look for the heads, then, if one is there, for the backbone. Quick where there is no network.

    Raises ValueError where a name is wrong or the weights do not fit together.
    """
    made_by, missing = [f"{stage.model}/{os.path.basename(stage.pretrained)}"], []
    heads: dict[str, Layers] = {}
    digest = hashlib.blake2b(digest_size=16)
    for column, given in (("linear", stage.linear_head), ("mlp", stage.mlp_head)):
        try:
            arrays = read_head(given)
        except Missing as error:
            missing.append(str(error))
            continue
        layers = layers_of(arrays, linear=column == "linear", given=given)
        check_fit(stage, layers, given=given)
        heads[f"aesthetic_laion_{column}"] = layers
        made_by.append(os.path.basename(given))
        digest.update(
            b"".join([column.encode(), *(array.tobytes() for layer in layers for array in layer)])
        )
    if heads:  # without a head nothing needs torch
        try:
            digest.update(find_backbone(stage.model, stage.pretrained, stage.model_config_dir))
        except Missing as error:
            missing.append(str(error))
            heads, digest = {}, hashlib.blake2b(digest_size=16)
    note = f"missing weights: {'; '.join(missing)}" if missing else None
    return Weights(heads, " + ".join(made_by), note, digest.hexdigest())


def read_head(given: str) -> dict[str, np.ndarray]:
    """A head's arrays: of a published one (torch hub's cache, else its source) or a local file."""
    url = HEADS.get(given)
    if url is None:
        if not os.path.isfile(given):
            refuse_misspelt(given, known=HEADS)
            raise Missing(f"{given} (no such file)")
        return _read_arrays(given)
    cache = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
    home = os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))
    file = os.path.join(home, "hub", "checkpoints", f"{given}.pth")
    if not os.path.isfile(file):
        probe(url, given)
        import torch

        os.makedirs(os.path.dirname(file), exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, file, progress=False)
        except OSError as error:
            raise Missing(f"{given} ({url}: {error})") from error
    return _read_arrays(file)


def _read_arrays(path: str) -> dict[str, np.ndarray]:
    if path.endswith(".safetensors"):
        from safetensors.numpy import load_file

        return {key: array.astype(np.float32) for key, array in load_file(path).items()}
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {key: tensor.float().numpy() for key, tensor in state.items()}
    except (RuntimeError, EOFError, AttributeError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{path} is no state dict ({first_line(error)}); expected one saved by torch"
        ) from error


def layers_of(arrays: dict[str, np.ndarray], *, linear: bool, given: str) -> Layers:
    """A head's layers in order, from the keys weight and bias, or layers.0.weight and so on."""
    numbers = sorted({int(key.split(".")[1]) for key in arrays if key.startswith("layers.")})
    prefixes = [""] if linear else [f"layers.{number}." for number in numbers]
    expected = {f"{prefix}{part}" for prefix in prefixes for part in ("weight", "bias")}
    if not prefixes or set(arrays) != expected:
        form = "weight and bias" if linear else "layers.N.weight and layers.N.bias"
        raise ValueError(
            f"{given!r} has the keys {sorted(arrays)}, expected {form}; is it another kind of head?"
        )
    layers = [(arrays[f"{prefix}weight"], arrays[f"{prefix}bias"]) for prefix in prefixes]
    widths = [layers[0][0].shape[1], *(weight.shape[0] for weight, _ in layers)]
    if [weight.shape[1] for weight, _ in layers] != widths[:-1] or widths[-1] != 1:
        raise ValueError(
            f"{given!r} has layers of widths {widths}, expected a chain that ends in one number"
        )
    return layers


def check_fit(stage: Aesthetics, layers: Layers, *, given: str) -> None:
    """Raise ValueError where a head was not made for the backbone."""
    config = architecture(stage.model, stage.model_config_dir)
    width = layers[0][0].shape[1]
    if width != config["embed_dim"]:
        raise ValueError(
            f"the head {given!r} expects embeddings of {width} numbers, but {stage.model} gives "
            f"{config['embed_dim']}; take the head that was trained on this backbone"
        )
    open_clip = import_open_clip(stage.model_config_dir)
    tag = open_clip.get_pretrained_cfg(stage.model, stage.pretrained)
    other = bool(tag) and stage.pretrained != "openai"
    if given in HEADS and (other or stage.model not in BACKBONES):
        raise ValueError(
            f"the head {given!r} was trained on OpenAI's ViT-L/14 and means nothing on "
            f"{stage.model}/{stage.pretrained}; set pretrained: openai, or give heads made for it"
        )
