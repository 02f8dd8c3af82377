"""CLIP by open_clip: find its weights, load it once per process, embed pictures.

Weights come from a local file, the Hugging Face cache, or the hub. Without a network the hub's own
client retries for most of a minute before it says so; here a short question to the host is first.
"""

import difflib
import functools
import hashlib
import io
import os
import pickle
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from curation.stage import Abort

PROBE_S = 3  # a host that can be reached answers well within

PREPROCESS = ("mean", "std", "interpolation", "resize_mode")
"""What open_clip knows of a tag's pictures, by its own names."""


class Missing(Exception):
    """Weights that cannot be had: which and why."""


class Backbone(NamedTuple):
    """CLIP on a device, and what makes a picture fit for it."""

    net: Any
    preprocess: Any
    device: str


def embed(
    jpegs: Sequence[bytes | None], backbone: Backbone, *, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Normalised embeddings (N, D) of the pictures that can be read, and which of all those are."""
    import torch

    readable = np.zeros(len(jpegs), dtype=bool)
    batches = [np.zeros((0, 0), dtype=np.float32)]
    for start in range(0, len(jpegs), batch_size):
        pictures = [_open(jpeg) for jpeg in jpegs[start : start + batch_size]]
        readable[start : start + batch_size] = [picture is not None for picture in pictures]
        if any(pictures):
            fit = torch.stack(
                [backbone.preprocess(picture) for picture in pictures if picture is not None]
            )
            with torch.inference_mode():
                features = backbone.net.encode_image(fit.to(backbone.device), normalize=True)
            batches.append(features.float().cpu().numpy())
    return np.concatenate(batches[1:] or batches), readable


def _open(jpeg: bytes | None) -> Any:
    """The picture; None where there is none to be had from the bytes."""
    from PIL import Image

    try:
        return Image.open(io.BytesIO(jpeg or b"")).convert("RGB")
    # Pillow's ways of saying "damaged"
    except (OSError, SyntaxError, Image.DecompressionBombError):
        return None


def mean_per_clip(clips: Sequence[str] | np.ndarray, rows: np.ndarray) -> dict[str, Any]:
    """Each clip's mean over its keyframes; rows: (N) numbers or (N, D) vectors."""
    by_clip: dict[str, list[Any]] = {}
    for clip, row in zip(clips, rows, strict=True):
        by_clip.setdefault(clip, []).append(row)
    return {clip: np.mean(rows, axis=0) for clip, rows in by_clip.items()}


def architecture(model: str, config_dir: str | None) -> dict[str, Any]:
    """What open_clip knows of an architecture. Raises ValueError where it knows none."""
    open_clip = import_open_clip(config_dir)
    if (config := open_clip.get_model_config(model)) is None:
        near = nearest(model, open_clip.list_models())
        raise ValueError(f"model={model!r} is no architecture of open_clip; the nearest are {near}")
    return config


def find_backbone(model: str, pretrained: str, config_dir: str | None) -> bytes:
    """Look for the weights, which need not be loaded for that; changes when they would.

    Raises Missing.
    """
    file = backbone_file(model, pretrained, config_dir)
    if file != pretrained:  # a tag says which weights they are, a path does not
        return b"found"
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


def backbone_file(model: str, pretrained: str, config_dir: str | None) -> str:
    """The file with the weights: given, in the hub's cache, or downloaded. Raises Missing."""
    open_clip = import_open_clip(config_dir)
    tag = open_clip.get_pretrained_cfg(model, pretrained)
    if not tag:
        if not os.path.isfile(pretrained):
            refuse_misspelt(pretrained, known=open_clip.list_pretrained_tags_by_model(model))
            raise Missing(f"{pretrained} (no such file)")
        return pretrained
    import huggingface_hub
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

    repo, file = os.path.split(tag["hf_hub"])
    safe = f"{os.path.splitext(file)[0]}.safetensors" if file else HF_SAFE_WEIGHTS_NAME
    for name in (safe, file or HF_WEIGHTS_NAME):
        if isinstance(cached := huggingface_hub.try_to_load_from_cache(repo, name), str):
            return cached
    probe(huggingface_hub.constants.ENDPOINT, repo)
    try:
        return open_clip.download_pretrained(tag)
    except OSError as error:
        raise Missing(f"{repo} ({first_line(error)})") from error


@functools.lru_cache(maxsize=1)
def load_backbone(model: str, pretrained: str, config_dir: str | None, device: str) -> Backbone:
    """Once per worker process. Raises Abort where weights that were found cannot be loaded."""
    open_clip = import_open_clip(config_dir)
    from open_clip import transform

    tag = open_clip.get_pretrained_cfg(model, pretrained)
    try:
        net = open_clip.create_model(
            model,
            backbone_file(model, pretrained, config_dir),
            device=device,
            require_pretrained=True,  # never random weights
            force_quick_gelu=bool(tag.get("quick_gelu")),
            force_preprocess_cfg={key: tag[key] for key in PREPROCESS if key in tag},
        )
    except (Missing, OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise Abort(f"{model}/{pretrained} cannot be loaded: {first_line(error)}") from error
    settings = transform.PreprocessCfg(**net.visual.preprocess_cfg)
    return Backbone(net.eval(), transform.image_transform_v2(settings, is_train=False), device)


@functools.cache
def import_open_clip(config_dir: str | None) -> Any:
    from curation import torchvision_cpu

    torchvision_cpu.mend()
    import open_clip

    if config_dir is not None:
        if not os.path.isdir(config_dir):
            raise ValueError(
                f"model_config_dir={config_dir!r} is no folder; expected one with <model>.json"
            )
        open_clip.add_model_config(config_dir)
    return open_clip


def probe(url: str, weights: str) -> None:
    """Raise Missing where the host gives no answer at all."""
    host = urllib.parse.urlsplit(url).netloc
    if not _answers(f"https://{host}/"):
        raise Missing(f"{weights} (not in the local cache, and {host} cannot be reached)")


@functools.cache
def _answers(url: str) -> bool:
    request = urllib.request.Request(url, method="HEAD")
    try:
        # an opener of its own: the shared one keeps the proxies of the first call
        urllib.request.build_opener().open(request, timeout=PROBE_S).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def refuse_misspelt(given: str, *, known: Collection[str]) -> None:
    """A path may be absent on this machine; a plain name that nobody knows is a slip."""
    if os.path.basename(given) == given and not os.path.splitext(given)[1]:
        raise ValueError(
            f"{given!r} is no published name (nearest: {nearest(given, known)}) and no local file"
        )


def nearest(given: str, known: Collection[str]) -> str:
    return ", ".join(
        difflib.get_close_matches(given, sorted(known), n=3, cutoff=0.3) or sorted(known)[:3]
    )


def first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
