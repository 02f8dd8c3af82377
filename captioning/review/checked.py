"""What the checks found about one caption, the bad ones marked."""

from collections.abc import Mapping, Sequence
from typing import Any

from captioning import lint
from captioning.review.severity import VERIFIED, Check
from captioning.verify import TEXTS
from curation.markup import Child, Html, element, isolated, number

Row = Mapping[str, Any]

WORDING: dict[str, lint.Kind] = {kind: kind for kind in lint.KINDS}
"""Checks that count phrases, which are shown."""


def checked(row: Row, bad: Sequence[Check], among: Sequence[Check]) -> Html:
    """The bad checks, marked, then what the others found."""
    marked = [
        element("li", element("b", f"Bad: {check.title}"), found(row, check), class_="bad")
        for check in bad
        if check.name != "no_caption"
    ]
    title = element("h4", "Checks")
    if not row.get(VERIFIED):
        why = "There is no caption to check." if not row.get("caption") else "None has been made."
        return element("div", title, element("p", why, class_="small"))
    marked_columns = {check.column for check in bad}
    names = {check.column: check.title for check in among}
    facts = [
        element("div", element("dt", names[column]), element("dd", value(row, column)))
        for column in names
        if column.startswith("caption_")
        and column not in marked_columns
        and row.get(column) is not None
    ]
    if row.get("verify_error") is None and row.get("caption_camera_conflict") is None:
        motion = row.get("camera_motion")
        told = f"no conflict with {motion}" if motion else "not measured"
        facts.insert(0, element("div", element("dt", "Camera"), element("dd", told)))
    note = row.get("verify_note")
    return element(
        "div",
        title,
        element("ul", marked, class_="marked") if marked else None,
        element("dl", facts, class_="facts") if facts else None,
        element("p", isolated(note), class_="small") if note else None,
    )


def found(row: Row, check: Check) -> list[Child]:
    """What a bad check found, with the words where it counts words."""
    if check.name == "camera_conflict":
        return [": ", isolated(row["caption_camera_conflict"])]
    if check.name == "unchecked":
        return [": ", isolated(row["verify_error"])]
    told: list[Child] = [": ", value(row, check.column)]
    if check.name in WORDING:
        texts = dict.fromkeys(text for name in TEXTS if (text := row.get(name)))
        phrases = [hit for text in texts for hit in lint.hits(WORDING[check.name], text)]
        if phrases:
            told += [" ("]
            for place, phrase in enumerate(phrases):
                told += [", " if place else "", isolated(phrase)]
            told += [")"]
    return [*told, f", expected {check.expected}" if check.name not in WORDING else ""]


def value(row: Row, column: str) -> str:
    """A measurement; a language with how sure that is."""
    if column == "caption_language":
        probability = row.get("caption_language_probability")
        return row[column] + (f", {probability:.2f} sure" if probability is not None else "")
    return row[column] if isinstance(row[column], str) else number(row[column])
