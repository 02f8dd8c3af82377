"""What may be stored as a caption: plain text in one line, whoever wrote it."""

import re
import unicodedata

# they turn the direction of the text around them, so that a page shows other words than are there
BIDI_CONTROLS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
UNDECODABLE = "\ufffd"
# <|im_end|>, <|endoftext|>, …: a model's markup, which a good answer does not show
SPECIAL_TOKEN = re.compile(r"<\|[^<>|]{1,40}\|>")


def clean(text: str) -> str:
    """The text in one line: control characters removed, white space collapsed."""
    kept = "".join(c for c in text if c.isspace() or not _is_control(c))
    return " ".join(kept.split())


def _is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc" or character in BIDI_CONTROLS


def answer_problem(text: str, *, finish_reason: str | None) -> str | None:
    """Why a model's answer is no caption ("reason_code: why"); None for one that reads as text."""
    if finish_reason == "length":
        return "vlm_truncated: the answer reached the token limit"
    if finish_reason == "content_filter":
        return "vlm_filtered: the server withheld the answer"
    if not text.strip():
        return "vlm_empty: the answer is empty"
    if SPECIAL_TOKEN.search(text):
        return "vlm_garbage: the answer holds special tokens"
    if UNDECODABLE in text or any(_is_control(c) and not c.isspace() for c in text):
        return "vlm_garbage: the answer holds undecodable or control characters"
    if not any(c.isalpha() for c in text):
        return "vlm_garbage: the answer holds no letters"
    return None
