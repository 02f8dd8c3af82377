"""Word diffs whose runs can be told by looking."""

import pytest

from captioning.review.diff import Run, plain, sides, word_diff


def told(old: str, new: str) -> list[tuple[str, ...]]:
    return [tuple(run) for run in word_diff(old, new)]


def test_insertions_and_deletions_in_place() -> None:
    assert told("a dog runs on the wet beach", "a dog with a stick runs on the beach") == [
        ("same", "a dog"),
        ("inserted", "with a stick"),
        ("same", "runs on the"),
        ("deleted", "wet"),
        ("same", "beach"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "runs"),
    [
        ("same words here", "same words here", [("same", "same words here")]),
        # case and punctuation are no change; what stands is the new writing
        ("A dog, running", "a dog running.", [("same", "a dog running.")]),
        ("gone", "", [("deleted", "gone")]),
        ("", "new words", [("inserted", "new words")]),
        ("", "", []),
        ("one two", "three four", [("deleted", "one two"), ("inserted", "three four")]),
        ("one - two", "one two", [("same", "one"), ("deleted", "-"), ("same", "two")]),
    ],
)
def test_worked_out_cases(old: str, new: str, runs: list[tuple[str, str]]) -> None:
    assert told(old, new) == runs


def test_a_lone_word_between_replacements_is_taken_for_replaced() -> None:
    # "the" is common to both and says nothing
    assert told("cat the mat", "dog the log") == [
        ("deleted", "cat the mat"),
        ("inserted", "dog the log"),
    ]
    # two words in a row are
    assert told("cat on the mat", "dog on the log") == [
        *(("deleted", "cat"), ("inserted", "dog"), ("same", "on the")),
        *(("deleted", "mat"), ("inserted", "log")),
    ]
    # and so is one at either end or between mere insertions, where nothing is cut up by it
    assert told("the cat", "the dog") == [("same", "the"), ("deleted", "cat"), ("inserted", "dog")]
    assert told("a dog", "a brown dog barks") == [
        *(("same", "a"), ("inserted", "brown"), ("same", "dog"), ("inserted", "barks")),
    ]


def test_both_texts_can_be_read_out_of_the_runs() -> None:
    old = "an old man feeds the grey birds in a park at noon, and the birds come to him"
    new = "in a park, an old man in a coat feeds birds at noon while the birds come"
    runs = word_diff(old, new)
    assert " ".join(run.text for run in runs if run.kind != "deleted") == new
    kept = [plain(w) for run in runs if run.kind != "inserted" for w in run.text.split()]
    assert kept == [plain(word) for word in old.split()]
    same, deleted, inserted = sides(runs)
    assert (same + deleted, same + inserted) == (len(old.split()), len(new.split()))
    assert 0 < same < len(new.split())


def test_words_of_a_kind_are_counted() -> None:
    assert sides([Run("same", "a b"), Run("inserted", "c"), Run("same", "d")]) == (3, 0, 1)
