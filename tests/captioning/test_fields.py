"""What of a structured answer may be stored."""

import json
from typing import Any

import jsonschema
import pytest

from captioning.fields import CameraMotion, Caption, parse, repeated_run, schema
from captioning.text import CaptionError
from curation.meters import camera

DENSE = " ".join(f"word{i}" for i in range(90))
GOOD = {
    "subject": "A red boat",
    "action": "It crosses the lake",
    "setting": "A lake before hills",
    "camera_shot": "wide shot",
    "camera_motion": "pan left",
    "light": "Low sun from the left",
    "style": "Live action",
    "text_on_screen": "",
    "short": "A red boat crosses a lake.",
    "dense": DENSE,
}


def code(**changes: Any) -> str:
    try:
        parse(json.dumps(GOOD | changes))
    except CaptionError as error:
        return str(error).split(":")[0]
    return "good"


def test_a_good_answer_is_taken_in_clean_lines() -> None:
    caption = parse(json.dumps(GOOD | {"subject": " A red\n boat ", "text_on_screen": "12:45"}))
    assert caption.subject == "A red boat" and caption.text_on_screen == "12:45"
    assert caption.dense == DENSE


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "good"),
        ({"camera_motion": "swoosh"}, "vlm_not_the_schema"),
        ({"mood": "happy"}, "vlm_not_the_schema"),
        ({"short": 3}, "vlm_not_the_schema"),
        ({"light": ""}, "vlm_not_the_schema"),
        ({"subject": "<|im_start|>system"}, "vlm_garbage"),
        ({"style": "b\ufffdd"}, "vlm_garbage"),
        ({"action": "!!!"}, "vlm_garbage"),
        ({"text_on_screen": "<|im_end|>"}, "vlm_garbage"),
        ({"short": "word " * 41}, "vlm_runaway"),
        ({"dense": " ".join(f"w{i}" for i in range(301))}, "vlm_runaway"),
        ({"dense": DENSE + " and so it goes" * 3}, "vlm_runaway"),
        ({"dense": "A boat on a lake."}, "vlm_too_short"),
        ({"dense": " ".join(f"w{i}" for i in range(60))}, "good"),  # counted by verify
    ],
)
def test_what_is_stored_and_what_is_not(changes: dict[str, Any], expected: str) -> None:
    assert code(**changes) == expected


def test_no_json_is_no_caption() -> None:
    for text in ("A boat.", '{"subject": ', "[]", "null"):
        with pytest.raises(CaptionError, match="vlm_not_the_schema"):
            parse(text)


def test_the_schema_that_servers_enforce_says_the_same() -> None:
    enforced = schema()["schema"]
    jsonschema.validate(GOOD, enforced)
    for bad in ({"camera_motion": "swoosh"}, {"mood": "happy"}, {"light": ""}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(GOOD | bad, enforced)
    assert list(enforced["properties"]) == enforced["required"] == list(Caption.model_fields)


def test_the_words_for_the_camera_are_those_that_are_measured() -> None:
    words = set(CameraMotion.__args__)
    documented = camera.name.__doc__ or ""
    assert all(word in documented for word in words) and len(words) == 10


@pytest.mark.parametrize(
    ("text", "run"),
    [
        ("it is very, very calm", ""),
        ("a boat, then a boat, then a shore", ""),
        ("the sea is calm and the sea is calm and the sea is calm and", "the sea is calm and"),
        ("no no no no no", "no"),
        ("ha ha ha", ""),
        ("a b c d e f g h a b c d e f g h", "a b c d e f g h"),
    ],
)
def test_loops_are_told_from_emphasis(text: str, run: str) -> None:
    assert " ".join(repeated_run(text.split())) == run
