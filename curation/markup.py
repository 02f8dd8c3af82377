"""HTML out of data that may be hostile: file names, captions and error texts are all untrusted.

Everything goes through `element`, which escapes every string that is not already `Html`: a page
made of it cannot carry markup that the data brought along.
"""

import html
import math
import re
from collections.abc import Iterable, Sequence

UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


class Html(str):
    """Text that is markup already. Only `element` and templates make it."""


Child = str | int | None | Iterable["Child"]


def element(name: str, *children: Child, **attributes: str | int | float | bool | None) -> Html:
    """An element with escaped children and attributes; class_ is class, data_id is data-id."""
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}"
        + ("" if value is True else f'="{escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in ("img", "input"):
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{''.join(_text(child) for child in children)}</{name}>")


def _text(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, str | int):
        return escape(str(child))
    return "".join(_text(part) for part in child)


def escape(text: str) -> str:
    """HTML-escaped, for text and for attributes in double quotes."""
    return html.escape(UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text), quote=True)


def column_name(column: str) -> Html:
    """A column's name, which may break after an underscore."""
    parts = re.split("(?<=_)", column)
    return Html("<wbr>".join(escape(part) for part in parts))


def isolated(text: str, **attributes: str) -> Html:
    """Text of unknown writing direction, which cannot turn the words around it."""
    return element("bdi", text, **attributes)


def table(head: Sequence[str], rows: Iterable[Sequence[Child]], *, caption: str) -> Html:
    """A table whose first column names the row; the others hold numbers or short text."""
    heads = [element("th", name, scope="col") for name in head]
    lines = [
        element("tr", element("th", row[0], scope="row"), [element("td", cell) for cell in row[1:]])
        for row in rows
    ]
    # scrolls by itself where it is wider than the window, by keyboard too
    return element(
        "div",
        element(
            "table",
            element("caption", caption),
            element("thead", element("tr", heads)),
            element("tbody", lines),
        ),
        class_="scroll",
        tabindex=0,
        role="region",
        aria_label=caption,
    )


def duration(hours: float | None) -> str:
    """A length of footage in the unit in which it is easiest to picture."""
    hours = hours or 0.0
    if hours >= 1:
        return f"{hours:,.2f} h"
    return f"{hours * 60:.1f} min" if hours * 60 >= 1 else f"{hours * 3600:.1f} s"


def clock(seconds: float | None) -> str:
    """A time in a source: 1:02:03.45."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds * 100), 6000)
    text = f"{minutes % 60:02d}:{rest // 100:02d}.{rest % 100:02d}"
    return f"{minutes // 60}:{text}" if minutes >= 60 else text.removeprefix("0")


def size(num_bytes: float | None) -> str:
    num_bytes = num_bytes or 0
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.1f} {unit}"
    return f"{num_bytes:.0f} B"


def number(value: float | None) -> str:
    """Four significant digits, whole numbers in full."""
    if value is None or not math.isfinite(value):
        return "null"
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def fact(value: float | str | bool | None) -> str:
    """A measurement in a card: a number, a word, yes or no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else number(value)
