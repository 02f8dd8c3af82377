"""What changed between two texts, word by word (Ratcliff and Obershelp's matching, difflib)."""

from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

Kind = Literal["same", "deleted", "inserted"]

MIN_COMMON_WORDS = 2
"""A shorter run between two replacements is taken for replaced: two texts always share some "a"
and "the", and a diff cut up by them cannot be read."""


class Run(NamedTuple):
    """Words one after another of which the same is true."""

    kind: Kind
    text: str


def word_diff(old: str, new: str) -> list[Run]:
    """The runs that turn `old` into `new`, a deletion before the insertion in its place.

    Words are compared without case and the punctuation around them; those that are the same are
    given as `new` writes them.
    """
    a, b = old.split(), new.split()
    matcher = SequenceMatcher(None, [plain(w) for w in a], [plain(w) for w in b], autojunk=False)
    runs: list[Run] = []
    deleted: list[str] = []
    inserted: list[str] = []

    def flush() -> None:
        if deleted:
            runs.append(Run("deleted", " ".join(deleted)))
        if inserted:
            runs.append(Run("inserted", " ".join(inserted)))
        deleted.clear()
        inserted.clear()

    operations = matcher.get_opcodes()
    tags = [None, *(operation[0] for operation in operations), None]
    for place, (tag, a0, a1, b0, b1) in enumerate(operations):
        is_between = tags[place] == tags[place + 2] == "replace"
        if tag == "equal" and not (is_between and b1 - b0 < MIN_COMMON_WORDS):
            flush()
            runs.append(Run("same", " ".join(b[b0:b1])))
        else:
            deleted += a[a0:a1]
            inserted += b[b0:b1]
    flush()
    return runs


def plain(word: str) -> str:
    """What two words are compared by; a word of punctuation alone is compared as it is."""
    return word.strip(".,;:!?\"'()[]\u2018\u2019\u201c\u201d").casefold() or word


def sides(runs: Iterable[Run]) -> tuple[int, int, int]:
    """Number of words that are the same, deleted and inserted."""
    counts = {"same": 0, "deleted": 0, "inserted": 0}
    for run in runs:
        counts[run.kind] += len(run.text.split())
    return counts["same"], counts["deleted"], counts["inserted"]
