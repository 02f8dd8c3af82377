"""The measurements on the audit page: a chart per column, those under a rule first, the others by
the meter or the table that they come from.
"""

from curation.audit import statistics
from curation.audit.charts import chart, stack
from curation.audit.histogram import Histogram, histogram
from curation.audit.ledger import NOTES, Ledger, keeps
from curation.audit.sections import MANY, sentence
from curation.markup import Child, Html, element, isolated, number
from curation.meters import METERS

COLOURS = {
    "kept": "kept",
    "rejected": "rejected or failed",
    "undecided": "no verdict yet",
    "beyond": "beyond a threshold",
}


def section(ledger: Ledger) -> list[Html]:
    """A histogram per numeric column, those under a rule first; a column of one value in words."""
    every = [histogram(ledger, column) for column in ledger.measures]
    drawn = [h for h in every if h.edges]
    parts = [
        element(
            "p",
            "Clips per value, coloured by their verdict. A clip may have been rejected for ",
            "another column than the one shown.",
        ),
        element("ul", [_swatch(*item) for item in COLOURS.items()], class_="legend"),
    ]
    if not ledger.rules:
        parts.append(
            sentence("There are no thresholds yet: ", element("code", "make filter"), " sets them.")
        )
    ruled = {rule.column for rule in ledger.rules}
    figures = [_figure(h) for h in drawn if h.rules]
    figures += [_word_figure(ledger, column) for column in ledger.words if column in ruled]
    if figures:
        parts += [element("h3", "Under a rule"), element("div", figures, class_="charts")]
    groups: dict[str, list[Html]] = {}
    for h in drawn:
        if not h.rules:
            groups.setdefault(_group(ledger, h.column), []).append(_figure(h))
    for column in ledger.words:
        if column not in ruled:
            groups.setdefault(_group(ledger, column), []).append(_word_figure(ledger, column))
    if groups:
        parts.append(element("h3", "Without a rule"))
    for title, figures in groups.items():
        parts += [element("h4", title), element("div", figures, class_="charts")]
    words = [element("li", _in_words(h, ledger)) for h in every if not h.edges]
    seen = {*ledger.measures, *ledger.words}
    others = dict.fromkeys(r.column for r in ledger.rules if r.column not in seen)
    words += [
        element("li", element("code", column), ": a rule asks for it; it is no number to draw")
        for column in others
    ]
    if words:
        parts += [element("h3", "Nothing to draw"), element("ul", words, class_="plain")]
    return parts


def _swatch(colour: str, meaning: str) -> Html:
    square = element("rect", width=10, height=10, class_=colour)
    return element("li", element("svg", square, viewBox="0 0 10 10", aria_hidden="true"), meaning)


def _group(ledger: Ledger, column: str) -> str:
    """The meter or the table that a column comes from."""
    table = ledger.owners.get(column, "clips")
    meters = (meter.__name__ for meter in METERS if column in meter.writes.names)
    return next(meters, "Clip") if table == "clips" else table.capitalize()


def _word_figure(ledger: Ledger, column: str) -> Html:
    """Clips per word, coloured by their verdict."""
    rows = statistics.words(ledger, column)
    most = max((row["clips"] for row in rows), default=0)
    rules = "; ".join(f"{r.name} {keeps(r)}" for r in ledger.rules if r.column == column)
    lines = [
        [
            element("span", isolated(row["word"])),
            stack(row, most),
            element("span", f"{row['clips']:,}"),
        ]
        for row in rows
    ]
    return element(
        "figure",
        element("figcaption", element("code", column)),
        element("p", rules) if rules else None,
        element("div", lines, class_="counts"),
        class_="chart",
    )


def _figure(drawn: Histogram) -> Html:
    rules = "; ".join(f"{rule.name} {keeps(rule)}" for rule in drawn.rules)
    facts = f"{drawn.measured:,} measured, {drawn.nulls:,} null. "
    facts += f"From {number(drawn.low)} to {number(drawn.high)}, "
    facts += f"median {number(drawn.median)}."
    return element(
        "figure",
        element("figcaption", element("code", drawn.column)),
        element("p", rules) if rules else None,
        chart(drawn),
        element("p", facts),
        class_="chart",
    )


def _in_words(drawn: Histogram, ledger: Ledger) -> list[Child]:
    """A column with one value for all, or with none and why."""
    name = element("code", drawn.column)
    if drawn.measured:
        value = number(drawn.low)
        text = f": {value} for all {drawn.measured:,} measured clips, {drawn.nulls:,} null"
        return [name, text]
    note = NOTES.get(ledger.owners[drawn.column])
    notes = sorted(set(filter(None, ledger.clips[note].to_pylist()))) if note else []
    why = f" ({'; '.join(notes[:MANY])})" if notes else ""
    return [name, f": null for all {drawn.nulls:,} clips{why}"]
