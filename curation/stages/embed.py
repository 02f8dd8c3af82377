"""One vector per clip that says what it shows: CLIP's image embedding, averaged over keyframes.

The clip's keyframes go through the image tower of an open_clip model; their normalised embeddings
are averaged and normalised again, as in SemDeDup for pictures and in the video pipelines after it.
`dedup` finds clips of the same meaning by it. Where the weights cannot be had the embedding is null
and `embed_note` says why: what is not there is never made up.

As for `aesthetics`, the driver looks for the weights once, and what it found is part of the units'
names, so that weights which turn up later get the work done.
"""

import functools
import hashlib
import os
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
    load_backbone,
    mean_per_clip,
)
from curation.clip import hash_128
from curation.stage import Stage, Tables, empty_columns

EMBED = pa.schema(
    {
        "clip_id": pa.string(),
        "embedding": pa.list_(pa.float16()),  # of length 1
        # of the mean before: 1 where all keyframes are alike; times the embedding it is that mean
        "embedding_mean_norm": pa.float32(),
        "embed_model": pa.string(),  # backbone and weights by name
        "embed_note": pa.string(),  # why there is no embedding
        "error": pa.string(),  # the clip could not be embedded at all
    }
)


@dataclass(frozen=True)
class Weights:
    """What the driver found of the weights that a stage names."""

    made_by: str
    """Backbone and weights by name."""
    note: str | None
    """Which weights are missing and why, in one sentence."""
    digest: str
    """Changes when the embeddings would."""


@dataclass(frozen=True)
class Embed(Stage):
    """Embeds clips by an open_clip model."""

    model: str = "ViT-L-14-quickgelu"
    """Architecture by open_clip's name. OpenAI's weights, as a file, need a quickgelu one."""
    pretrained: str = "openai"
    """Weights: a tag that open_clip knows, or a local file with a state dict."""
    model_config_dir: str | None = None
    """Folder with further open_clip architectures (<model>.json)."""
    batch_size: int = 32
    """Keyframes that go through the model together."""
    num_gpus: float = 0
    """GPUs of one worker; 0 runs on the CPU."""

    name: ClassVar[str] = "embed"
    reads: ClassVar[dict[str, list[str]]] = {"clips": ["clip_id"], "keyframes": ["clip_id", "jpeg"]}
    writes: ClassVar[dict[str, pa.Schema]] = {"embed": EMBED}

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size = {self.batch_size}, expected at least 1")

    @functools.cached_property
    def weights(self) -> Weights:
        weights = find_weights(self)
        if weights.note:
            print(f"embed: {weights.note}; embeddings are null", flush=True)
        return weights

    def config_hash(self) -> str:
        return hash_128(super().config_hash(), self.weights.digest)

    def run(self, tables: Tables) -> Tables:
        ids = tables["clips"]["clip_id"].to_pylist()
        frames = tables.get("keyframes")
        if self.weights.note or frames is None:
            return {"embed": _rows(ids, {}, self.weights, unreadable=set())}
        device = "cuda" if self.num_gpus else "cpu"
        backbone = load_backbone(self.model, self.pretrained, self.model_config_dir, device)
        vectors_ND, readable = embed(
            frames["jpeg"].to_pylist(), backbone, batch_size=self.batch_size
        )
        clips = frames["clip_id"].to_numpy()
        unreadable = set(clips[~readable])
        means = mean_per_clip(clips[readable], vectors_ND)
        whole = {clip: mean for clip, mean in means.items() if clip not in unreadable}
        return {"embed": _rows(ids, whole, self.weights, unreadable=unreadable)}

    def failed(self, tables: Tables, *, error: str) -> Tables:
        ids = tables["clips"]["clip_id"]
        columns = empty_columns(EMBED, len(ids))
        columns |= {"clip_id": ids, "error": pa.array([error] * len(ids), pa.string())}
        return {"embed": pa.table(columns)}


def _rows(
    ids: Sequence[str], means: dict[str, np.ndarray], weights: Weights, *, unreadable: set[str]
) -> pa.Table:
    rows: list[dict[str, Any]] = []
    for clip in ids:
        row: dict[str, Any] = {"clip_id": clip, "embed_note": weights.note}
        if clip in means:
            norm = float(np.linalg.norm(means[clip]))
            row |= {"embedding": (means[clip] / norm).astype(np.float16)}
            row |= {"embedding_mean_norm": norm, "embed_model": weights.made_by}
        elif weights.note is None:
            row["embed_note"] = "unreadable keyframe" if clip in unreadable else "no keyframe"
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=EMBED)


def find_weights(stage: Embed) -> Weights:
    """Look for the backbone's weights. Quick where there is no network.

    Raises ValueError where a name is wrong.
    """
    made_by = f"{stage.model}/{os.path.basename(stage.pretrained)}"
    digest = hashlib.blake2b(digest_size=16)
    architecture(stage.model, stage.model_config_dir)
    try:
        digest.update(find_backbone(stage.model, stage.pretrained, stage.model_config_dir))
    except Missing as error:
        return Weights(made_by, f"missing weights: {error}", digest.hexdigest())
    return Weights(made_by, None, digest.hexdigest())
