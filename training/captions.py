"""Which text of a sample is trained on in an epoch: a draw among the captions that its .json holds.

A model that has read one kind of caption only follows prompts of that kind only. So DALL-E 3 was
trained on 95 % synthetic captions and 5 % original ones (Betker et al. 2023, sec. 3), and
HunyuanVideo composes captions of many lengths and patterns out of structured ones, whose fields it
drops and permutes (Kong et al. 2024, sec. 3.2, "Structured captioning"). Every draw follows from a
hash, as in `randomness.py`: the text is a function of seed, sample id and epoch.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.randomness import draw, seed_of

SUBJECT = "subject"
FIELDS = (
    *(SUBJECT, "action", "setting", "camera_shot", "camera_motion", "light", "style"),
    "text_on_screen",
)
"""The fields of a structured caption; others in a sample are ignored."""

SAYS_NOTHING = {("camera_shot", "other")}

CAMERA = {
    "static": "The camera is static.",
    "pan left": "The camera pans left.",
    "pan right": "The camera pans right.",
    "tilt up": "The camera tilts up.",
    "tilt down": "The camera tilts down.",
    "zoom in": "The camera zooms in.",
    "zoom out": "The camera zooms out.",
    "roll": "The camera rolls.",
    "handheld": "The camera is handheld.",
    "mixed": "The camera moves in several ways.",
}


@dataclass(frozen=True)
class CaptionMix:
    """How often each kind of caption is trained on. Weights, not shares: what a sample lacks leaves
    its weight to the others in proportion, and one that has none of them gives its primary caption.

    By default 5 % is the original text (DALL-E 3); how the other 95 % are divided is our choice.
    """

    dense: float = 0.55
    """weight of the paragraph that a model wrote"""
    short: float = 0.2
    """weight of the sentence that it wrote beside it"""
    fields: float = 0.2
    """weight of a text composed of its structured fields, another one every epoch"""
    rewritten: float = 0.0
    """weight of the text that a language model made of the dense one"""
    original: float = 0.05
    """weight of the text that came with the footage"""
    primary: float = 0.0
    """weight of the .txt, whatever kind it is of"""

    def __post_init__(self) -> None:
        weights = dataclasses.asdict(self)
        if min(weights.values()) < 0 or not 0 < math.fsum(weights.values()) < math.inf:
            raise ValueError(
                f"caption_mix = {weights}, expected weights of 0 or more, one of them above 0"
            )


def training_text(sample: Mapping[str, Any], *, mix: CaptionMix, rng_key: str) -> str | None:
    """The caption of a sample in an epoch; None: the primary one, as its .txt holds it.

    sample: its .json, of which `captions` (variant -> text), `caption_fields` and `caption_source`
    are read; rng_key: `randomness.key(seed, purpose, sample id, epoch)`.
    """
    texts = {name: text for name, text in (sample.get("captions") or {}).items() if text}
    fields = told_fields(sample.get("caption_fields") or {})
    has = {*texts, *(["fields"] if fields else []), *(["primary"] if has_primary(sample) else [])}
    weights = {
        name: weight
        for name, weight in dataclasses.asdict(mix).items()
        if name in has and weight > 0
    }
    if not weights:
        return None
    drawn = draw(weights, rng_key, "caption")
    if drawn == "fields":
        return compose(fields, rng_key=rng_key)
    return None if drawn == "primary" else texts[drawn]


def has_primary(sample: Mapping[str, Any]) -> bool:
    return sample.get("caption_source") is not None


def told_fields(fields: Mapping[str, Any]) -> dict[str, str]:
    """The fields that say something, in the order of FIELDS."""
    found = {name: fields.get(name) for name in FIELDS}
    return {
        name: text.strip()
        for name, text in found.items()
        if isinstance(text, str) and text.strip() and (name, text.strip()) not in SAYS_NOTHING
    }


def compose(fields: Mapping[str, str], *, rng_key: str) -> str:
    """Some of the fields in some order, a sentence each; the subject (the first where there is
    none) is always among them.

    Every number of fields is equally likely, and so is every choice and order of that many: the
    paper gives no rates, and this varies the length most.
    """
    anchor = next(iter(fields))
    order = sorted(fields, key=lambda name: seed_of(rng_key, "order", name))
    number = 1 + seed_of(rng_key, "number") % len(fields)
    kept = {anchor, *[name for name in order if name != anchor][: number - 1]}
    return " ".join(sentence(name, fields[name]) for name in order if name in kept)


def sentence(name: str, text: str) -> str:
    """A field as a sentence of its own."""
    if name == "camera_motion" and text in CAMERA:
        return CAMERA[text]
    if name == "text_on_screen":
        text = f"Text on screen: {text}"
    ends = text.rstrip("\"'”’)").endswith((".", "!", "?", "…"))
    return text[0].upper() + text[1:] + ("" if ends else ".")
