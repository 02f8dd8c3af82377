"""The gallery: a bounded draw of clips, each with its frames, words, numbers and fate."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from curation.audit.ledger import Ledger, keeps
from curation.keyframes import MAX_IMAGE_BYTES, image, within_budget
from curation.markup import (
    Html,
    clock,
    column_name,
    duration,
    element,
    fact,
    isolated,
    number,
)

MAX_FACTS = 8
"""Measurements on a card before it is opened, but for those that turned the clip away."""

Row = Mapping[str, Any]


def section(
    ledger: Ledger, drawn: Sequence[Row], frames: Mapping[str, Sequence[Row]]
) -> list[Html]:
    """What is shown out of how many, the controls, and one card per clip."""
    shown = within_budget(frames)
    own = {row["clip_id"] for row in drawn}
    left_out = sum(len(rows) - len(shown.get(i, [])) for i, rows in frames.items() if i in own)
    text = f"{len(drawn):,} of {len(ledger.clips):,} clips, in the order of the footage."
    if len(drawn) < len(ledger.clips):
        text += " About half of them are kept ones and the rest is spread evenly over the reasons;"
        text += " within a reason the draw is by clip id, so it stays from run to run."
    if left_out:
        text += f" {left_out:,} of their frames are left out to keep this page below"
        text += f" {MAX_IMAGE_BYTES * 4 // 3_000_000} MB."
    if not shown and drawn:
        text += " There are no keyframes to show."
    causes = {(row["status"], row["cause"]): row["alike"] for row in drawn}
    marks = {cause: f"g{place}" for place, cause in enumerate(sorted(causes))}
    cards = [
        _card(
            ledger,
            row,
            shown.get(row["clip_id"], []),
            shown.get(row["keeper"], []),
            marks[row["status"], row["cause"]],
        )
        for row in drawn
    ]
    return [
        element("p", text),
        _controls(drawn, causes, marks),
        element("p", id="told", class_="small", aria_live="polite"),
        element("div", cards, class_="cards"),
    ]


def _controls(
    drawn: Sequence[Row],
    causes: Mapping[tuple[str, str], int],
    marks: Mapping[tuple[str, str], str],
) -> Html:
    """A button per verdict and per reason, and a search box; without script they stay hidden."""

    def button(show: str, label: str, count: int, of: int) -> Html:
        counted = f"{count:,}" if count == of else f"{count:,} of {of:,}"
        text = [label, " ", element("span", counted)]
        return element("button", text, type="button", data_show=show, aria_pressed="false")

    by_status: Counter[str] = Counter()
    for (status, _), alike in causes.items():
        by_status[status] += alike
    here = Counter(row["status"] for row in drawn)
    here_by_cause = Counter((row["status"], row["cause"]) for row in drawn)
    statuses = [button("all", "All", len(drawn), sum(by_status.values()))]
    statuses += [button(s, s.capitalize(), here[s], by_status[s]) for s in sorted(by_status)]
    reasons = [
        button(marks[cause], cause[1], here_by_cause[cause], causes[cause])
        for cause in sorted(causes)
        if cause[1]
    ]
    words = "Search names and captions"
    search = element("input", type="search", id="search", placeholder=words, aria_label=words)
    row = [element("span", "Reason", class_="small"), reasons] if reasons else None
    return element(
        "div",
        statuses,
        element("label", search),
        element("div", row, class_="reasons"),
        class_="controls",
        role="group",
        aria_label="Which clips to show",
        hidden=True,
    )


def _card(
    ledger: Ledger, row: Row, frames: Sequence[Row], keeper: Sequence[Row], mark: str
) -> Html:
    name = row["uri"].rstrip("/").rsplit("/", 1)[-1]
    span = f"{clock(row['start_s'])} to {clock(row['end_s'])}"
    badge = row["status"].capitalize() + (f": {row['cause']}" if row["cause"] else "")
    length = f"{duration(row['hours'])}, {number(row['num_frames'])} frames"
    told = [
        element(
            "div",
            element("span", badge, class_=f"badge is-{row['status']}"),
            element("span", length, class_="small"),
            class_="top",
        ),
        _words(ledger, row),
        element("p", element("b", isolated(name)), f" {span}", class_="small"),
        _keeper(row, keeper),
        _facts(ledger, row, headline(ledger, row)),
        _record(ledger, row),
    ]
    return element(
        "article",
        _strip(row, frames, f"{name}, {span}"),
        element("div", told, class_="told"),
        class_="card",
        data_status=row["status"],
        data_group=mark,
        aria_label=f"{badge}, {name}, {span}",
    )


def _words(ledger: Ledger, row: Row) -> Html | None:
    """The caption and where it comes from, or why there is none."""
    if "captions" not in ledger.present:
        return None
    if row["caption"] is None:
        why = f": {row['caption_error']}" if row["caption_error"] else "."
        return element("p", f"No caption{why}", class_="small")
    source = ", ".join(part for part in (row["caption_source"], row["caption_model"]) if part)
    return element(
        "div",
        element("p", isolated(row["caption"]), class_="words"),
        element("p", f"Caption: {source or 'source not recorded'}", class_="small"),
    )


def _keeper(row: Row, frames: Sequence[Row]) -> Html | None:
    """The clip of the same pictures, or of the same meaning, that is kept in place of this one."""
    if row["keeper"] is None:
        return None
    name = row["keeper_uri"].rstrip("/").rsplit("/", 1)[-1]
    span = f"{clock(row['keeper_start_s'])} to {clock(row['keeper_end_s'])}"
    same = "pictures" if row["keeper_by"] == "dup" else "meaning"
    middle = frames[len(frames) // 2 : len(frames) // 2 + 1]
    return element(
        "div",
        [image(frame, width=row["width"], height=row["height"]) for frame in middle],
        element("p", f"Same {same} as ", element("b", isolated(name)), f" {span}", class_="small"),
        class_="keeper",
    )


def _record(ledger: Ledger, row: Row) -> Html:
    """Everything else that is known, one click away."""
    frames = f"Frames {number(row['start_frame'])} to {number(row['end_frame'])} of "
    failed = ", ".join(row["rules_failed"])
    return element(
        "details",
        element("summary", "Everything recorded"),
        element("p", frames, isolated(row["uri"]), ", clip ", element("code", row["clip_id"])),
        element("p", f"Fails {failed}") if failed else None,
        element("p", row["error"] or row["shard_error"]),
        element("p", "Text in the picture: ", isolated(row["text"])) if row["text"] else None,
        _facts(ledger, row, [*ledger.measures, *ledger.words]),
    )


def headline(ledger: Ledger, row: Row) -> list[str]:
    """The columns that a card shows at once: those of the rules that the clip fails, then others
    under a rule.
    """
    failed = {rule.column for rule in ledger.rules if rule.name in row["rules_failed"]}
    first = [column for column in ledger.ruled if column in failed]
    first += [column for column in ledger.words if column in failed]
    others = [column for column in ledger.ruled if column not in failed]
    shown = {*first, *others[: max(0, MAX_FACTS - len(first))]}
    return [column for column in [*ledger.ruled, *ledger.words] if column in shown]


def _facts(ledger: Ledger, row: Row, columns: Sequence[str]) -> Html | None:
    """Measurements; those that a failed rule looks at are marked."""
    broken = {rule.column: rule for rule in ledger.rules if rule.name in row["rules_failed"]}
    facts = []
    for column in columns:
        rule = broken.get(column)
        facts.append(
            element(
                "div",
                element("dt", column_name(column)),
                element("dd", fact(row[column])),
                class_="off" if rule else None,
                title=f"{rule.name} {keeps(rule)}" if rule else None,
            )
        )
    return element("dl", facts, class_="facts") if facts else None


def _strip(row: Row, frames: Sequence[Row], where: str) -> Html:
    if not frames:
        return element("div", "No keyframe", class_="blank")
    images = [image(frame, width=row["width"], height=row["height"]) for frame in frames]
    label = f"Enlarge the frames of {where}"
    return element("button", images, type="button", class_="strip", aria_label=label)
