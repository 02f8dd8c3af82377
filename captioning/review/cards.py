"""A card per clip: frames, texts, what changed against the original text, checks."""

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from captioning import lint
from captioning.fields import FIELDS
from captioning.review.checked import checked
from captioning.review.diff import Kind, sides, word_diff
from captioning.review.ranking import Totals
from captioning.review.severity import LEVELS, VERIFIED, Check
from curation.keyframes import image
from curation.markup import Child, Html, clock, duration, element, isolated, number

Row = Mapping[str, Any]

VARIANTS = {
    "caption_dense": "Dense",
    "caption_short": "Short",
    "caption_fields": "Structured fields",
    "caption_rewritten": "Rewritten",
    "caption_original": "Original",
}
SOURCES = {"vlm": "Caption of a model", "sidecar": "Original", "measured": "Measured"}


def section(
    totals: Totals,
    shown: Sequence[tuple[Row, Sequence[Check]]],
    frames: Mapping[str, Sequence[Row]],
    among: Sequence[Check],
) -> list[Html]:
    """What is shown out of how many, the controls, and a card per clip."""
    text = f"{len(shown):,} of {totals.clips:,} clips, the worst first."
    if hidden := totals.clips - len(shown):
        text += f" {hidden:,} more are not shown, none of them worse: give a larger COUNT."
    levels = ", ".join(LEVELS.values())
    text += f" A clip is as bad as its worst check, by level: {levels}; then by how many are bad."
    legend = ["In a comparison, ", change("deleted", "these words", "ltr")]
    legend += [" stand in the original only and ", change("inserted", "these", "ltr")]
    legend += [" in the caption only."]
    bad = Counter(check.name for _, found in shown for check in found)
    totals_of = {check.name: n for check, _, n in totals.checks}
    return [
        element("p", text),
        element("p", legend),
        controls(len(shown), totals.clips, [(c, bad[c.name], totals_of[c.name]) for c in among]),
        element("p", id="told", class_="small", aria_live="polite"),
        element(
            "div",
            [
                card(place, row, found, frames.get(row["clip_id"], []), among)
                for place, (row, found) in enumerate(shown, 1)
            ],
            class_="cards",
        ),
    ]


def controls(shown: int, clips: int, bad: Sequence[tuple[Check, int, int]]) -> Html:
    """A button per check that is bad of some clip, and a search box; hidden without script."""

    def button(show: str, label: str, count: int, of: int) -> Html:
        counted = f"{count:,}" if count == of else f"{count:,} of {of:,}"
        text = [label, " ", element("span", counted)]
        return element("button", text, type="button", data_show=show, aria_pressed="false")

    words = "Search names and captions"
    search = element("input", type="search", id="search", placeholder=words, aria_label=words)
    buttons = [button(check.name, check.title, n, of) for check, n, of in bad if n]
    return element(
        "div",
        button("all", "All", shown, clips),
        buttons,
        element("label", search),
        class_="controls",
        role="group",
        aria_label="Which clips to show",
        hidden=True,
    )


def card(
    place: int, row: Row, bad: Sequence[Check], frames: Sequence[Row], among: Sequence[Check]
) -> Html:
    """One clip: frames above, texts and comparison beside the checks."""
    uri = row.get("uri") or "no such clip"
    name = uri.rstrip("/").rsplit("/", 1)[-1]
    span = f"{clock(row.get('start_s'))} to {clock(row.get('end_s'))}"
    level = max((check.level for check in bad), default=0)
    badge = "no bad check" if row.get(VERIFIED) or bad else "not checked"
    if bad:
        badge = LEVELS[level] + (f", {len(bad)} bad checks" if len(bad) > 1 else "")
    seconds = (row.get("end_s") or 0.0) - (row.get("start_s") or 0.0)
    return element(
        "article",
        strip(row, frames),
        element(
            "div",
            element(
                "div",
                element("h3", f"{place}. ", isolated(name), f" {span}", id=f"clip-{place}"),
                element("span", duration(seconds / 3600), class_="small"),
                element("span", badge, class_=f"badge is-level-{level}" if badge else None),
                class_="top",
            ),
            element(
                "div",
                element("div", texts(row), class_="texts"),
                element("div", checked(row, bad, among), record(row), class_="checked"),
                class_="columns",
            ),
            class_="told",
        ),
        class_="card",
        data_bad=" ".join(check.name for check in bad),
        aria_labelledby=f"clip-{place}",
    )


def strip(row: Row, frames: Sequence[Row]) -> Html:
    if not frames:
        return element("p", "No keyframe", class_="blank")
    return element(
        "div",
        [
            element(
                "figure",
                image(frame, width=row.get("width"), height=row.get("height")),
                element("figcaption", clock(frame["time_s"])),
            )
            for frame in frames
        ],
        class_="frames",
    )


def texts(row: Row) -> list[Html]:
    """Why there is no caption, every variant, the fields, and what changed."""
    parts = []
    caption, original = row.get("caption"), row.get("caption_original")
    errors = [row[name] for name in ("caption_error", "error") if row.get(name)]
    if errors:
        title = "Failed on the way" if caption else "No caption"
        lines = [element("p", isolated(error), class_="error") for error in errors]
        parts.append(element("div", element("h4", title), lines))
    parts += [variant(title, text, is_primary) for title, text, is_primary in variants(row)]
    if error := row.get("rewrite_error"):
        parts.append(element("p", "Not rewritten: ", isolated(error), class_="error"))
    if told := row.get("caption_fields"):
        lines = [
            [
                element("dt", name.replace("_", " ")),
                element("dd", isolated(str(told[name]) or "none")),
            ]
            for name in sorted(told, key=place_of)
        ]
        parts.append(
            element(
                "div", element("h4", "Structured fields"), element("dl", lines, class_="fields")
            )
        )
    if caption and original and original != caption:
        parts.append(comparison(original, caption))
    return parts


def variants(row: Row) -> list[tuple[str, str, bool]]:
    """(title, text, whether it is the primary caption) of every text, the primary one first."""
    caption = row.get("caption")
    found = [
        (title, row[column], row[column] == caption)
        for column, title in VARIANTS.items()
        if column != "caption_fields" and row.get(column)
    ]
    if caption and not any(is_primary for _, _, is_primary in found):
        source = row.get("caption_source") or ""
        found.append((SOURCES.get(source, source), caption, True))
    return sorted(found, key=lambda one: not one[2])


def variant(title: str, text: str, is_primary: bool) -> Html:
    count = len(lint.words(text))
    words = f"{count:,} word{'' if count == 1 else 's'}"
    title += ", the primary caption" if is_primary else ""
    return element(
        "div",
        element("h4", title, " ", element("span", f"({words})")),
        element("p", isolated(text), class_="words"),
    )


def place_of(field: str) -> tuple[int, str]:
    return (FIELDS.index(field) if field in FIELDS else len(FIELDS), field)


def comparison(original: str, caption: str) -> Html:
    """The original text and the caption word by word."""
    runs = word_diff(original, caption)
    same, deleted, inserted = sides(runs)
    words: list[Child] = []
    for run in runs:
        way = direction(original if run.kind == "deleted" else caption)
        words += [change(run.kind, run.text, way), " "]
    counted = f"({same:,} words kept, {deleted:,} gone, {inserted:,} new)"
    return element(
        "div",
        element("h4", "From the original to the caption ", element("span", counted)),
        element("p", words, class_="diff", dir=direction(caption)),
    )


def change(kind: Kind, text: str, way: str) -> Html:
    """Words that stayed, went or came, told apart by sign and line and not by colour alone."""
    inside = element("bdi", text, dir=way)
    if kind == "same":
        return inside
    name, spoken = ("del", "deleted: ") if kind == "deleted" else ("ins", "inserted: ")
    return element(name, element("span", spoken, class_="spoken"), inside)


def direction(text: str) -> str:
    """ltr or rtl, by the first letter that has one (Unicode Bidirectional Algorithm, rule P2)."""
    kinds = (unicodedata.bidirectional(character) for character in text)
    return "rtl" if next((k for k in kinds if k in ("L", "R", "AL")), "L") != "L" else "ltr"


def record(row: Row) -> Html:
    """Where the clip lies and who wrote its caption."""
    lines: list[tuple[str, Child]] = [
        ("File", isolated(row.get("uri") or "no such clip")),
        ("Clip", element("code", row["clip_id"])),
        ("Source", row.get("caption_source") or "none"),
    ]
    if model := row.get("caption_model"):
        lines.append(("Model", isolated(model)))
    if model := row.get("caption_clip_model"):
        lines.append(("Similarity by", isolated(model)))
    if attempts := row.get("caption_attempts"):
        lines.append(("Answers asked for", number(attempts)))
    facts = [element("div", element("dt", name), element("dd", told)) for name, told in lines]
    return element(
        "details",
        element("summary", "Where from"),
        element("dl", facts, class_="facts"),
    )
