"""Which caption is drawn: texts and rates that follow from the weights."""

import itertools
import math
from collections import Counter
from typing import Any

import pytest

from training.captions import FIELDS, CaptionMix, compose, sentence, told_fields, training_text
from training.randomness import key

STRUCTURED = {
    "subject": "a brown dog with a red collar",
    "action": "Runs along the water and barks.",
    "setting": "a wide beach",
    "camera_shot": "wide shot",
    "camera_motion": "pan left",
    "light": "low sun from the right",
    "style": "live action",
    "text_on_screen": "NO SWIMMING",
}
SENTENCES = {
    "subject": "A brown dog with a red collar.",
    "action": "Runs along the water and barks.",
    "setting": "A wide beach.",
    "camera_shot": "Wide shot.",
    "camera_motion": "The camera pans left.",
    "light": "Low sun from the right.",
    "style": "Live action.",
    "text_on_screen": "Text on screen: NO SWIMMING.",
}
SAMPLE: dict[str, Any] = {
    "caption_source": "vlm",
    "captions": {"dense": "D", "short": "S", "rewritten": "R", "original": "O"},
    "caption_fields": {"subject": "F"},
}
TEXTS = {"D": "dense", "S": "short", "R": "rewritten", "O": "original", "F.": "fields"}
DRAWS = 20_000


def counts(sample: dict[str, Any], mix: CaptionMix) -> Counter[str]:
    """How often each kind is drawn for many ids; None, the .txt, is counted as primary."""
    texts = (
        training_text(sample, mix=mix, rng_key=key(0, "train", number, 0))
        for number in range(DRAWS)
    )
    return Counter("primary" if text is None else TEXTS[text] for text in texts)


def assert_shares(found: Counter[str], **expected: float) -> None:
    """Counts of a binomial lie within 5 standard deviations but once in 1.7 million."""
    assert set(found) == set(expected)
    for name, share in expected.items():
        assert abs(found[name] - DRAWS * share) <= 5 * math.sqrt(DRAWS * share * (1 - share)), name


def weights(**given: float) -> CaptionMix:
    return CaptionMix(**(dict.fromkeys(vars(CaptionMix()), 0.0) | given))


def test_the_default_is_95_percent_synthetic() -> None:
    found = counts(SAMPLE, CaptionMix())
    assert_shares(found, dense=0.55, short=0.2, fields=0.2, original=0.05)


def test_what_a_sample_lacks_leaves_its_weight_to_the_others() -> None:
    mix = weights(dense=3, short=1, fields=2, rewritten=4, original=5, primary=5)
    assert_shares(
        counts(SAMPLE, mix),
        **dict(dense=0.15, short=0.05, fields=0.1, rewritten=0.2, original=0.25, primary=0.25),
    )
    some = {"caption_source": "vlm", "captions": {"dense": "D", "short": "S", "original": ""}}
    some["caption_fields"] = {"subject": " ", "text_on_screen": ""}
    assert_shares(counts(some, mix), dense=3 / 9, short=1 / 9, primary=5 / 9)
    # without a caption of its own the .txt is empty, so it is no choice
    unsaid = {"caption_source": None, "captions": {"original": "O"}, "caption_fields": {}}
    assert_shares(counts(unsaid, mix), original=1.0)


@pytest.mark.parametrize(
    "sample",
    [
        {},
        {"caption_source": "measured", "captions": {"measured": "64 by 36"}, "caption_fields": {}},
        {"caption_source": "sidecar", "captions": {"sidecar": "written before the variants"}},
    ],
)
def test_a_sample_with_none_of_them_gives_its_primary_caption(sample: dict[str, Any]) -> None:
    assert training_text(sample, mix=CaptionMix(), rng_key="0/train/a/0") is None


def test_the_text_follows_from_seed_sample_and_epoch_alone() -> None:
    sample = SAMPLE | {"caption_fields": STRUCTURED}
    mix = weights(dense=1, short=1, fields=2)

    def texts(seed: int, clip: str) -> list[str | None]:
        keys = [key(seed, "train", clip, epoch) for epoch in range(8)]
        return [training_text(sample, mix=mix, rng_key=rng_key) for rng_key in keys]

    # written down once: the same on every machine and in every version, since a run may be resumed
    # on another
    assert texts(0, "a") == [
        "D",
        "A brown dog with a red collar.",
        "Wide shot. Low sun from the right. Runs along the water and barks. "
        "A brown dog with a red collar.",
        "S",
        "S",
        "D",
        "Text on screen: NO SWIMMING. A brown dog with a red collar.",
        "Low sun from the right. Runs along the water and barks. Live action. "
        "A brown dog with a red collar.",
    ]
    assert len({tuple(texts(seed, clip)) for seed in (0, 1) for clip in "ab"}) == 4


def test_a_composed_text_is_some_of_the_sentences_in_some_order() -> None:
    lengths: Counter[int] = Counter()
    firsts: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    fields = told_fields(STRUCTURED)
    for number in range(DRAWS):
        text = compose(fields, rng_key=key(0, "train", number, 0))
        names = sorted(
            (n for n in FIELDS if SENTENCES[n] in text), key=lambda n: text.index(SENTENCES[n])
        )
        assert text == " ".join(SENTENCES[name] for name in names)
        assert "subject" in names
        lengths[len(names)] += 1
        firsts[names[0]] += len(names) == len(FIELDS)
        kept.update(names)
    # every number of fields alike; all of them in any order; so 1 / 8 * (0 + … + 7) / 7 = a half
    assert_shares(Counter(map(str, lengths.elements())), **{str(n): 1 / 8 for n in range(1, 9)})
    for name in FIELDS:
        share = 1 / 64
        assert abs(firsts[name] - DRAWS * share) < 5 * math.sqrt(DRAWS * share), name
        share = 1.0 if name == "subject" else 0.5
        assert abs(kept[name] - DRAWS * share) <= 5 * math.sqrt(DRAWS * share * (1 - share)), name


def test_every_order_of_two_fields_and_both_lengths_occur() -> None:
    found = {compose({"subject": "dog", "action": "runs"}, rng_key=str(n)) for n in range(50)}
    assert found == {"Dog.", "Dog. Runs.", "Runs. Dog."}


def test_without_a_subject_the_first_field_is_kept() -> None:
    fields = told_fields({"light": "dusk", "style": "film", "action": "  ", "subject": None})
    assert fields == {"light": "dusk", "style": "film"}
    found = {compose(fields, rng_key=str(n)) for n in range(50)}
    assert found == {"Dusk.", "Dusk. Film.", "Film. Dusk."}


def test_fields_that_say_nothing_are_left_out() -> None:
    given = {"subject": "dog", "camera_shot": "other", "mood": "grim", "text_on_screen": ""}
    assert told_fields(given) == {"subject": "dog"}
    assert told_fields({"camera_shot": "wide shot"}) == {"camera_shot": "wide shot"}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("subject", "a dog", "A dog."),
        ("subject", "Two NASA crews.", "Two NASA crews."),
        ("action", "asks “Who?”", "Asks “Who?”"),
        ("setting", 'a shop called "Open"', 'A shop called "Open".'),
        ("camera_motion", "static", "The camera is static."),
        ("camera_motion", "zoom in", "The camera zooms in."),
        ("camera_motion", "dolly left", "Dolly left."),
        ("style", "static", "Static."),
        ("text_on_screen", "42", "Text on screen: 42."),
    ],
)
def test_a_field_as_a_sentence(name: str, text: str, expected: str) -> None:
    assert sentence(name, text) == expected


def test_every_class_of_the_camera_has_a_sentence() -> None:
    moves = ["static", "roll", "handheld", "mixed"]
    moves += [f"pan {side}" for side in ("left", "right")]
    moves += [" ".join(pair) for pair in itertools.product(["tilt"], ["up", "down"])]
    moves += [" ".join(pair) for pair in itertools.product(["zoom"], ["in", "out"])]
    assert all(sentence("camera_motion", move).startswith("The camera ") for move in moves)


@pytest.mark.parametrize(
    "given", [{}, {"dense": -1, "short": 2}, {"dense": math.nan}, {"dense": math.inf}]
)
def test_weights_that_cannot_be_are_refused(given: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected weights of 0 or more, one of them above 0"):
        weights(**given)
