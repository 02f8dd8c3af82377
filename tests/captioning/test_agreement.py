"""What texts say of the camera, against every class that curation measures."""

from typing import get_args

import pytest

from captioning import fields
from captioning.agreement import RULED_OUT, conflict, contradicted, read, sentences

MEASURED = get_args(fields.CameraMotion)


def test_every_measured_class_has_its_own_claim_which_it_bears_out() -> None:
    assert set(MEASURED) <= set(RULED_OUT)
    assert not [name for name in MEASURED if name in RULED_OUT[name]]
    assert set().union(*RULED_OUT.values()) <= set(MEASURED)


@pytest.mark.parametrize(
    ("said", "measured", "expected"),
    [
        ("static", "pan left", "says static, measured pan left"),
        (" Pan Left ", "pan right", "says pan left, measured pan right"),
        ("tilt up", "pan left", "says tilt up, measured pan left"),
        ("zoom in", "static", "says zoom in, measured static"),
        ("mixed", "static", "says mixed, measured static"),
        ("static", "static", None),
        ("static", "handheld", None),  # how much it shakes
        ("handheld", "static", None),
        ("handheld", "pan left", None),  # both may be true
        ("pan left", "mixed", None),  # one of several
        ("static", None, None),  # not measured
        (None, "pan left", None),
        ("swooping", "pan left", None),  # no word of ours
    ],
)
def test_the_field_of_a_structured_caption(
    said: str | None, measured: str | None, expected: str | None
) -> None:
    assert conflict(measured, said=said, texts=["A dog sleeps."]) == expected


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("The camera is static.", ["static"]),
        ("The camera remains completely still, and a dog sleeps.", ["static"]),
        ("The camera does not move.", ["static"]),
        ("A static, eye-level shot of a dog.", ["static"]),
        ("Fixed camera angle.", ["static"]),
        ("Two dogs, without any camera movement.", ["static"]),
        ("Camera: static", ["static"]),
        ("The camera slowly pans to the left.", ["pan left"]),
        ("The camera begins to pan left-to-right.", ["pan right"]),
        ("As the camera pans from right to left", ["pan left"]),
        ("The camera pans left and right.", ["pan"]),
        ("The view pans across a valley.", ["pan"]),
        ("The camera pans up the tower.", ["tilt up"]),
        ("A slow tilt down to the street", ["tilt down"]),
        ("The shot zooms in on a face.", ["zoom in"]),
        ("A gradual zoom-out shows the city.", ["zoom out"]),
        ("The camera pulls back.", ["move out"]),
        ("With the camera moving closer to a dog", ["move in"]),
        ("The camera follows a dog.", ["move"]),
        ("The camera rotates clockwise.", ["roll"]),
        ("The camera rotates around a statue.", ["move"]),
        ("The camera moves through a crowd.", ["move"]),
        ("The camera focuses on an eye.", []),
        ("The camera is hand-held.", ["handheld"]),
        ("The camera zooms in slightly.", ["a little"]),
        ("A mostly static shot.", ["a little"]),
        # of something else, or nothing
        ("A dog runs to the left.", []),
        ("He looks at the camera and tilts his head up.", []),
        ("A security camera pans left, and his camera zooms in.", []),
        ("A cook tilts the frying pan to the left.", []),
        ("Static electricity lifts her hair in a still frame.", []),
        ("A tilt-shift view of a non-static shot", []),
        ("The camera is still moving.", []),
        ("The camera does not pan left.", []),
        ("The camera is fixed on a dog.", []),
        ("The camera is tilted up.", []),
        ("The camera shows a dog.", []),
    ],
)
def test_claims(text: str, claims: list[str]) -> None:
    assert [claim for sentence in sentences(text) for claim in read(sentence)[0]] == claims


@pytest.mark.parametrize(
    ("text", "ruled_out"),
    [
        ("The camera is static while a boat sails to the left.",
         {"pan left", "pan right", "tilt up", "tilt down", "zoom in", "zoom out", "roll", "mixed"}),
        ("The camera pans left over the roofs.",
         {"static", "pan right", "tilt up", "tilt down", "zoom in", "zoom out", "roll"}),
        # of travelling, the direction in depth is all that can be told
        ("The camera moves forward through a wood.", {"zoom out"}),
        ("The camera moves right, and the sun glows over far mountains.", set()),
        ("The camera glides over the sea.", set()),
        ("The camera orbits a statue.", set()),
        ("A tracking shot of a runner.", set()),
        ("A dog runs over a meadow.", set()),
    ],
)  # fmt: skip
def test_which_measured_classes_a_text_rules_out(text: str, ruled_out: set[str]) -> None:
    found = {name for name in MEASURED if contradicted(text, name)}
    assert found == ruled_out


@pytest.mark.parametrize(
    ("text", "measured"),
    [
        ("The camera stays still, then pans left.", "pan left"),
        ("A static shot. It turns into a tracking shot.", "pan left"),
        ("The camera pans left, then back to the right.", "pan right"),
        ("The camera pans left and tilts up.", "tilt up"),
        ("The camera pans left before it settles.", "static"),
        ("The camera zooms in on a face. Then the camera zooms out.", "zoom out"),
    ],
)
def test_a_second_movement_clears_the_first(text: str, measured: str) -> None:
    assert contradicted(text, measured) is None


def test_each_wording_is_held_to_it_alone() -> None:
    texts = ["A dog. The camera pans left.", "A dog in a static shot."]
    assert conflict("pan left", said="pan left", texts=texts) == "says static, measured pan left"
    assert conflict("pan left", said=None, texts=texts[:1]) is None
