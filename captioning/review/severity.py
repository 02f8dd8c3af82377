"""How bad a caption is: which of its checks are bad, and in which order to look at clips.

A clip is as bad as its worst check. There are four levels: there is no caption; it says what is
wrong, as far as that was measured; it is unfit to train on as a text; it is badly worded. Among
clips of one level those with more bad checks come first. Nothing is added up: one contradiction
outweighs any number of stock phrases.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from captioning.fields import DENSE_WORDS, SHORT_WORDS

Row = Mapping[str, Any]

VERIFIED = "is_verified"
"""Column that is true of clips with a caption and a row in the table verify, else null."""

LEVELS = {4: "no caption", 3: "wrong", 2: "unfit", 1: "wording"}
"""Severity -> its name; 0 is a clip with no bad check."""


@dataclass(frozen=True)
class Limits:
    """From where on a check is bad, on the page. `filter` has rules of its own."""

    language: str = "en"
    """ISO 639-1 code that captions are to be in"""
    min_language_probability: float = 0.5
    """0 to 1; another language below this is a guess about a few words, and not marked"""
    max_repetition: float = 0.1
    """0 to 1; share of word 4-grams that occurred before"""
    min_clip_similarity: float = 0.2
    """cosine, -1 to 1; a choice, since every model has a scale of its own: LAION-5B kept pairs from
    0.28 with ViT-B/32 (Schuhmann et al. 2022, sec. 3)"""
    min_yes: float = 0.3
    """0 to 1; VQAScore of a caption's least likely field (make vqa)"""


@dataclass(frozen=True)
class Check:
    """One thing that may be bad about a caption."""

    name: str
    title: str
    level: int
    """of LEVELS"""
    column: str
    """The check is of clips in which this is not null."""
    expected: str
    """What is not bad, in words."""
    is_bad: Callable[[Row], bool]

    def applies(self, row: Row) -> bool:
        return row.get(self.column) is not None


def checks(limits: Limits) -> list[Check]:
    """Every check, the worst level first."""
    fewest, most = DENSE_WORDS

    def counted(name: str, title: str) -> Check:
        column = f"caption_{name}"
        return Check(name, title, 1, column, "none", lambda row: row[column] > 0)

    def is_other_language(row: Row) -> bool:
        probability = row.get("caption_language_probability")
        is_sure = probability is None or probability >= limits.min_language_probability
        return row["caption_language"] != limits.language and is_sure

    return [
        Check(
            *("no_caption", "No caption", 4, "clip_id", "a text of some source"),
            is_bad=lambda row: row.get("caption_source") is None,
        ),
        Check(
            *("camera_conflict", "Camera", 3, VERIFIED, "no other motion than was measured"),
            is_bad=lambda row: row.get("caption_camera_conflict") is not None,
        ),
        Check(
            *("clip_similarity", "Similarity to the picture", 3, "caption_clip_similarity"),
            expected=f"at least {limits.min_clip_similarity:g}",
            is_bad=lambda row: row["caption_clip_similarity"] < limits.min_clip_similarity,
        ),
        Check(
            *("made_up", "Least likely field", 3, "caption_yes_min"),
            expected=f"at least {limits.min_yes:g}",
            is_bad=lambda row: row["caption_yes_min"] < limits.min_yes,
        ),
        Check(
            *("language", "Language", 2, "caption_language", limits.language),
            is_bad=is_other_language,
        ),
        Check(
            *("repetition", "Repetition", 2, "caption_repetition"),
            expected=f"at most {limits.max_repetition:g}",
            is_bad=lambda row: row["caption_repetition"] > limits.max_repetition,
        ),
        Check(
            *("words", "Words", 2, "caption_words", f"{fewest} to {most} of a model"),
            is_bad=lambda row: (
                row["caption_source"] == "vlm" and not fewest <= row["caption_words"] <= most
            ),
        ),
        Check(
            *("short_words", "Words, short caption", 2, "caption_short_words"),
            expected=f"at most {SHORT_WORDS}",
            is_bad=lambda row: row["caption_short_words"] > SHORT_WORDS,
        ),
        Check(
            *("unchecked", "Not checked", 2, VERIFIED, "no error of verify"),
            is_bad=lambda row: row.get("verify_error") is not None,
        ),
        counted("stock_phrases", "Stock phrases"),
        counted("opinions", "Opinions"),
        counted("mentions_medium", "Mentions of the medium"),
        counted("uncertain", "Uncertainty"),
    ]


def bad_checks(row: Row, among: list[Check]) -> list[Check]:
    """The checks that are bad of a clip, the worst first."""
    return [check for check in among if check.applies(row) and check.is_bad(row)]


def order(row: Row, bad: list[Check]) -> tuple[Any, ...]:
    """Sorts the worst clip first; equals stay in the order of the footage."""
    worst = max((check.level for check in bad), default=0)
    return (-worst, -len(bad), row.get("uri") or "", row.get("start_s") or 0.0, row["clip_id"])
