"""A structured caption: what the server's JSON schema enforces, and what of it may be stored.

Fields in the order in which they are written, so that the dense text can draw on what was noted
before it (HunyuanVideo, Kong et al. 2024, sec. 3.2 "Structured captioning"; DALL-E 3, Betker et al.
2023, sec. 2, for short and descriptive captions of one picture).
"""

from typing import Any, Literal, get_args

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from captioning.text import CaptionError, clean, unreadable

SHORT_WORDS = 20
DENSE_WORDS = 80, 150
"""What is asked for; an answer outside is stored, and `verify` counts its words."""
RUNAWAY = 2.0  # times the most words asked for: the model did not find an end
TOO_FEW = 0.25  # of the fewest asked for: no description
REPEATS = ((8, 2), (3, 3), (1, 5))
"""Words of a run, and how often it stands there in a row when the model loops: "very, very" is no
loop, and neither is "a boat, then a boat"."""

CameraMotion = Literal[
    "static", "pan left", "pan right", "tilt up", "tilt down", "zoom in", "zoom out", "roll",
    "handheld", "mixed",
]  # fmt: skip
"""The words of clips.camera_motion."""
CameraShot = Literal[
    "extreme close-up", "close-up", "medium close-up", "medium shot", "full shot", "wide shot",
    "extreme wide shot", "aerial view", "point of view", "screen recording", "other",
]  # fmt: skip

LINE = Field(min_length=1, max_length=300)


class Caption(BaseModel):
    """What a model answers about one clip."""

    model_config = ConfigDict(extra="forbid", strict=True)

    subject: str = LINE
    action: str = LINE
    setting: str = LINE
    camera_shot: CameraShot
    camera_motion: CameraMotion
    light: str = LINE
    style: str = LINE
    text_on_screen: str = Field(max_length=300)
    short: str = Field(min_length=1, max_length=240)
    dense: str = Field(min_length=1, max_length=2000)


TEXTS = ("short", "dense")
FIELDS = tuple(name for name in Caption.model_fields if name not in TEXTS)
WORDS = {"camera_shot": get_args(CameraShot), "camera_motion": get_args(CameraMotion)}


def schema() -> dict[str, Any]:
    """JSON schema of a caption, in the form that servers of the OpenAI API enforce."""
    return {"name": "caption", "schema": Caption.model_json_schema(), "strict": True}


def parse(text: str) -> Caption:
    """The caption in a model's answer, every string in one clean line. Raises CaptionError."""
    try:
        caption = Caption.model_validate_json(text)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "answer"
        raise CaptionError("vlm_not_the_schema", f"{where}: {first['msg']}") from error
    values = {}
    for name, value in caption.model_dump().items():
        # what stands on a screen may be a number, or nothing
        if problem := unreadable(value, letters=name != "text_on_screen"):
            raise CaptionError("vlm_garbage", f"{name} {problem}")
        values[name] = clean(value)
    for name, least, most in (("short", 1, SHORT_WORDS), ("dense", *DENSE_WORDS)):
        check_length(name, values[name], least=least, most=most)
    return caption.model_copy(update=values)


def check_length(name: str, text: str, *, least: int, most: int) -> None:
    """Raise CaptionError for far more or fewer words than were asked for, and for loops."""
    words = text.split()
    if len(words) > RUNAWAY * most:
        raise CaptionError("vlm_runaway", f"{name} has {len(words)} words, asked for were {most}")
    if len(words) < TOO_FEW * least:
        raise CaptionError(
            "vlm_too_short", f"{name} has {len(words)} words, asked for were {least}"
        )
    if run := repeated_run(words):
        raise CaptionError("vlm_runaway", f"{name} repeats {' '.join(run[:4])!r} again and again")


def repeated_run(words: list[str]) -> list[str]:
    """The first run of words that a model loops on, as REPEATS says; empty where none is."""
    plain = [word.lower().strip(".,;:!?") for word in words]
    for length in range(1, len(plain) // 2 + 1):
        times = next(times for least, times in REPEATS if length >= least)
        same = [a == b for a, b in zip(plain, plain[length:], strict=False)]
        run = 0
        for i, is_same in enumerate(same):
            run = run + 1 if is_same else 0
            if run >= (times - 1) * length:
                return words[i + 1 - run : i + 1 - run + length]
    return []
