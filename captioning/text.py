"""What may be stored as a caption: plain text in one line, whoever wrote it."""

import re
import unicodedata

# they turn the direction of the text around them, so that a page shows other words than are there
BIDI_CONTROLS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
UNDECODABLE = "\ufffd"
# <|im_end|>, <|endoftext|>, …: a model's markup, which a good answer does not show
SPECIAL_TOKEN = re.compile(r"<\|[^<>|]{1,40}\|>")


class CaptionError(Exception):
    """A model's answer that is no caption: "reason_code: why"."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(f"{code}: {why}".replace(";", ","))  # "; " stands between errors


def clean(text: str) -> str:
    """The text in one line: control characters removed, white space collapsed."""
    kept = "".join(c for c in text if c.isspace() or not _is_control(c))
    return " ".join(kept.split())


def _is_control(character: str) -> bool:
    # a lone surrogate (Cs) is no character, and no table takes it
    return unicodedata.category(character) in ("Cc", "Cs") or character in BIDI_CONTROLS


def unfinished(text: str, *, finish_reason: str | None) -> CaptionError | None:
    """Why an answer did not come to its end; None for one that did."""
    if finish_reason == "length":
        return CaptionError("vlm_truncated", "the answer reached the token limit")
    if finish_reason == "content_filter":
        return CaptionError("vlm_filtered", "the server withheld the answer")
    if not text.strip():
        return CaptionError("vlm_empty", "the answer is empty")
    return None


def unreadable(text: str, *, letters: bool = True) -> str | None:
    """What is wrong with a text that cannot be read; letters: whether there must be any."""
    if SPECIAL_TOKEN.search(text):
        return "holds special tokens"
    if UNDECODABLE in text or any(_is_control(c) and not c.isspace() for c in text):
        return "holds undecodable or control characters"
    if letters and not any(c.isalpha() for c in text):
        return "holds no letters"
    return None


def plain(text: str) -> str:
    """An answer in prose as one clean line. Raises CaptionError."""
    if problem := unreadable(text):
        raise CaptionError("vlm_garbage", f"the answer {problem}")
    return clean(text)
