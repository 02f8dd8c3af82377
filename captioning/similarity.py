"""How well a caption fits its clip: CLIP's cosine of the text with the clip's keyframes.

CLIPScore without its factor and its floor (Hessel et al. 2021, sec. 3), as a mean over keyframes.
CLIP reads 77 tokens and cuts longer texts off, so that a dense caption would be scored by its
beginning: here it goes through in chunks of whole sentences, and the cosines are averaged.
"""

import functools
import hashlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curation.backbone import (
    Backbone,
    Missing,
    architecture,
    find_backbone,
    first_line,
    import_open_clip,
    probe,
)

SENTENCE_END = re.compile(r"(?<=[.!?\u3002\uff01\uff1f])\s*")


@dataclass(frozen=True)
class Weights:
    """What the driver found of the weights that a stage names."""

    made_by: str | None
    """Architecture and weights by name."""
    note: str | None
    """Why nothing can be scored by them, in one sentence."""
    digest: str
    """Changes when the scores would."""


def find_weights(model: str, pretrained: str | None, config_dir: str | None) -> Weights:
    """Look for the backbone's weights and the tokenizer. Quick where there is no network.

    Raises ValueError where a name is wrong.
    """
    if pretrained is None:
        note = "no weights are named (pretrained: null): set pretrained to openai, or to a file"
        return Weights(None, note, "")
    made_by = f"{model}/{os.path.basename(pretrained)}"
    digest = hashlib.blake2b(digest_size=16)
    config = architecture(model, config_dir)
    try:
        digest.update(find_backbone(model, pretrained, config_dir))
        _find_tokenizer(model, config.get("text_cfg", {}).get("hf_tokenizer_name"), config_dir)
    except Missing as error:
        return Weights(made_by, f"missing weights: {error}", "")
    return Weights(made_by, None, digest.hexdigest())


def _find_tokenizer(model: str, repo: str | None, config_dir: str | None) -> None:
    """CLIP's own lies in open_clip's package, those of other architectures on the hub."""
    if repo is None:
        return
    from huggingface_hub import constants, try_to_load_from_cache

    file = "tokenizer_config.json"
    if not isinstance(try_to_load_from_cache(repo, file), str):
        probe(constants.ENDPOINT, f"the tokenizer {repo}")
    try:
        load_tokenizer(model, config_dir)
    except OSError as error:
        raise Missing(f"the tokenizer {repo} ({first_line(error)})") from error


@functools.lru_cache(maxsize=1)
def load_tokenizer(model: str, config_dir: str | None) -> Any:
    """Once per process; texts -> token numbers (N, context length), cut off or filled up."""
    return import_open_clip(config_dir).get_tokenizer(model)


def embed_texts(
    texts: Sequence[str], backbone: Backbone, tokenizer: Any, *, batch_size: int
) -> np.ndarray:
    """(N, D): of each text the mean of its chunks' normalised embeddings.

    Its product with a picture's normalised embedding is the mean of the chunks' cosines.
    """
    import torch

    parts = [chunks(text, fits=lambda part: fits(part, tokenizer)) for text in texts]
    flat = [part for of_text in parts for part in of_text]
    batches = []
    for start in range(0, len(flat), batch_size):
        tokens = tokenizer(flat[start : start + batch_size]).to(backbone.device)
        with torch.inference_mode():
            features = backbone.net.encode_text(tokens, normalize=True)
        batches.append(features.float().cpu().numpy())
    ends = np.cumsum([len(of_text) for of_text in parts])
    return np.stack([part.mean(axis=0) for part in np.split(np.concatenate(batches), ends[:-1])])


def fits(text: str, tokenizer: Any) -> bool:
    """Whether no token of the text is cut off: with room for one more the last one is filling."""
    room = tokenizer.context_length + 1
    tokens = tokenizer([text, ""], context_length=room)
    return bool(tokens[0, -1] == tokens[1, -1])


def chunks(text: str, *, fits: Callable[[str], bool]) -> list[str]:
    """The text in as few pieces that fit as whole sentences, one after another, give.

    A sentence that does not fit alone is halved between words, a word between characters.
    """
    found: list[str] = []
    for piece in [piece for s in SENTENCE_END.split(text) if s for piece in _halves(s, fits)]:
        together = f"{found[-1]} {piece}" if found else piece
        if found and fits(together):
            found[-1] = together
        else:
            found.append(piece)
    return found


def _halves(text: str, fits: Callable[[str], bool]) -> list[str]:
    if fits(text) or len(text) < 2:
        return [text]
    words = text.split()
    middle = len(words) // 2
    if middle:
        first, second = " ".join(words[:middle]), " ".join(words[middle:])
    else:
        first, second = text[: len(text) // 2], text[len(text) // 2 :]
    return [*_halves(first, fits), *_halves(second, fits)]
