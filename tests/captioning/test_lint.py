"""Which words of a text are hits, and which like them are not; counted by hand."""

import pytest

from captioning.lint import KINDS, Kind, hits, repetition, words


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("mentions_medium", "The video shows a dog.", ["The video shows"]),
        ("mentions_medium", "A dog. The second frame depicts it.", ["The second frame depicts"]),
        ("mentions_medium", "the short film clip Captures a dog", ["the short film clip Captures"]),
        ("mentions_medium", "Video showing a dog", ["Video showing"]),
        ("mentions_medium", "A close-up photo of a dog", ["A close-up photo of"]),
        ("mentions_medium", "A landscape video clip of 640 by 360", ["A landscape video clip of"]),
        ("mentions_medium", "In this image, a dog. In the first frame, two.",
         ["In this image", "In the first frame"]),
        ("mentions_medium", "Throughout the clip a dog barks at the viewer.",
         ["Throughout the clip", "the viewer"]),
        ("mentions_medium", "These images show a dog.", ["These images show"]),
        ("mentions_medium", "The video is taken from a low angle.", ["The video is"]),
        ("mentions_medium", "The scene takes place indoors.", ["The scene takes place"]),
        ("uncertain", "A man appears to be asleep, possibly ill.", ["appears to", "possibly"]),
        ("uncertain", "It seems late; it may be night.", ["seems", "may be"]),
        ("uncertain", "Perhaps a dog\u2019s toy: it\u2019s some kind of ball.",
         ["Perhaps", "some kind of"]),
        ("uncertain", "What looks like a boat, likely a ferry", ["What looks like", "likely"]),
        ("uncertain", "Wet ground, suggesting recent rain", ["suggesting"]),
        ("opinions", "A stunning sunset over a beautiful bay", ["stunning", "beautiful"]),
        ("opinions", "Fog rolls in, creating a serene and calm atmosphere.",
         ["creating a serene and calm atmosphere"]),
        ("opinions", "The light gives a feeling of ease.", ["a feeling of ease"]),
        ("opinions", "A view that captures the raw beauty of the coast", ["beauty"]),
        ("stock_phrases", "There is no text. Overall, two people can be seen.",
         ["There is no", "Overall,", "can be seen"]),
        ("stock_phrases", "Sure, here is a caption: a dog.", ["Sure,", "here is a caption"]),
        ("stock_phrases", "We see a market with its hustle and bustle.",
         ["We see", "hustle and bustle"]),
    ],
)  # fmt: skip
def test_hits(kind: Kind, text: str, expected: list[str]) -> None:
    assert hits(kind, text) == [phrase.replace("\u2019", "'") for phrase in expected]


@pytest.mark.parametrize(
    "text",
    [
        "A man appears from behind a door in May, with all his might.",
        "She looks to the left and points to her right; a sign appears to the left.",
        "A woman holds a photo of a dog at the left of the frame.",
        "A man records a video with his phone and shows it to a child.",
        "Two boys play the video game in the video arcade of the film studio.",
        "A wooden picture frame hangs on the wall of the photo booth.",
        "Close-up shot of a cat. The camera pans left.",
        "An artist with perfectionism adorned the unlikelihood of overalls.",
        "The fence creates a sense of depth.",
        "Two people engaging in a fight make sure, of course, that nobody wins.",
    ],
)
def test_what_only_looks_like_a_hit_is_none(text: str) -> None:
    assert {kind: hits(kind, text) for kind in KINDS} == dict.fromkeys(KINDS, [])


def test_a_text_in_another_language_hits_nothing() -> None:
    assert not any(hits(kind, "Das Video zeigt vielleicht einen Hund.") for kind in KINDS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A well-lit room - 3.5 m wide, and/or taller.", 8),
        ("", 0),
        ("... -- !", 0),
        ("\u72ac\u304c run", 3),  # of Japanese every character, of English every word
    ],
)
def test_words(text: str, expected: int) -> None:
    assert len(words(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A dog runs over a meadow and a cat sleeps.", 0),
        # 4-grams: abcd bcda cdab dabc abcd, one of five seen before
        ("a b c d a b c d", 1 / 5),
        ("A boat sails by. A boat sails by! a boat sails by?", 5 / 9),
        ("the the the the the", 4 / 5),  # four words repeat the one before; one of two 4-grams
        ("very very good", 1 / 3),  # no 4-gram at all
        ("", 0),
    ],
)
def test_repetition(text: str, expected: float) -> None:
    assert repetition(text) == pytest.approx(expected)
