"""Which checks are bad, from where on, and what is worse than what."""

from typing import Any

import pytest

from captioning.review.severity import LEVELS, Check, Limits, bad_checks, checks, order

ALL = checks(Limits())
FINE: dict[str, Any] = {
    "clip_id": "a",
    "caption_source": "vlm",
    "is_verified": True,
    "caption_words": 100,
    "caption_short_words": 12,
    "caption_stock_phrases": 0,
    "caption_opinions": 0,
    "caption_mentions_medium": 0,
    "caption_uncertain": 0,
    "caption_repetition": 0.0,
    "caption_language": "en",
    "caption_language_probability": 0.99,
    "caption_camera_conflict": None,
    "caption_clip_similarity": 0.3,
    "verify_error": None,
}


def bad(**told: Any) -> list[str]:
    return [check.name for check in bad_checks(FINE | told, ALL)]


def test_a_good_caption_has_no_bad_check() -> None:
    assert bad() == []


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ({"caption_camera_conflict": "says static, measured pan left"}, "camera_conflict"),
        ({"caption_clip_similarity": 0.19}, "clip_similarity"),
        ({"caption_yes_min": 0.29}, "made_up"),
        ({"caption_language": "fr"}, "language"),
        ({"caption_repetition": 0.11}, "repetition"),
        ({"caption_words": 79}, "words"),
        ({"caption_words": 151}, "words"),
        ({"caption_short_words": 21}, "short_words"),
        ({"verify_error": "stage_failed: no memory"}, "unchecked"),
        ({"caption_stock_phrases": 1}, "stock_phrases"),
        ({"caption_opinions": 2}, "opinions"),
        ({"caption_mentions_medium": 1}, "mentions_medium"),
        ({"caption_uncertain": 1}, "uncertain"),
    ],
)
def test_each_check_by_itself(told: dict[str, Any], name: str) -> None:
    assert bad(**told) == [name]


@pytest.mark.parametrize(
    "told",
    [
        {"caption_words": 80},
        {"caption_words": 150},
        {"caption_words": 5, "caption_source": "sidecar"},  # people write as they like
        {"caption_short_words": 20},
        {"caption_repetition": 0.1},
        {"caption_clip_similarity": 0.2},
        {"caption_language": "nl", "caption_language_probability": 0.49},
        *({name: None} for name in FINE if name not in ("clip_id", "caption_source")),
    ],
)
def test_what_is_within_its_limit_or_not_measured_is_not_bad(told: dict[str, Any]) -> None:
    assert bad(**told) == []


def test_limits_are_the_users() -> None:
    strict = checks(Limits(language="fr", max_repetition=0.0, min_clip_similarity=0.5))
    found = bad_checks(FINE | {"caption_repetition": 0.01}, strict)
    assert [check.name for check in found] == ["clip_similarity", "language", "repetition"]


def test_a_clip_without_a_caption_or_checks_is_bad_for_that_alone() -> None:
    row = {"clip_id": "a", "caption_source": None}
    assert [check.name for check in bad_checks(row, ALL)] == ["no_caption"]
    assert bad_checks({"clip_id": "a", "caption_source": "sidecar"}, ALL) == []


def test_the_worst_check_decides_and_the_number_breaks_the_tie() -> None:
    rows = {
        "none": {"caption_source": None, "is_verified": None},
        "two_wrong": {"caption_camera_conflict": "says roll", "caption_clip_similarity": 0.1},
        "wrong": {"caption_camera_conflict": "says roll"},
        "unfit_and_worded": {"caption_repetition": 0.5, "caption_opinions": 1},
        "unfit": {"caption_language": "de"},
        "worded_thrice": {f"caption_{n}": 9 for n in ("opinions", "uncertain", "stock_phrases")},
        "worded": {"caption_opinions": 9},
        "fine_first": {"uri": "a.mp4", "start_s": 3.0},
        "fine_later": {"uri": "a.mp4", "start_s": 10.0},
        "fine_other": {"uri": "b.mp4", "start_s": 0.0},
    }
    given = {name: FINE | told | {"clip_id": name} for name, told in rows.items()}
    given["none"] = given["none"] | {n: None for n in FINE if n.startswith("caption_")}
    turned = sorted(given.values(), key=lambda row: row["clip_id"])
    found = sorted(turned, key=lambda row: order(row, bad_checks(row, ALL)))
    assert [row["clip_id"] for row in found] == [
        *("none", "two_wrong", "wrong", "unfit_and_worded", "unfit", "worded_thrice", "worded"),
        *("fine_first", "fine_later", "fine_other"),
    ]


def test_checks_stand_in_the_order_of_their_levels() -> None:
    levels = [check.level for check in ALL]
    assert levels == sorted(levels, reverse=True) and set(levels) == set(LEVELS)
    assert len({check.name for check in ALL}) == len(ALL)
    assert all(isinstance(check, Check) and check.expected for check in ALL)
