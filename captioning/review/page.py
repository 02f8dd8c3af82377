"""The page for looking at captions: one HTML file that opens from disk, the worst clips first.

Totals of the whole dataset stand on top; below them are cards of a bounded number of clips, each
with its keyframes, every text there is, what the checks found and what changed against the text
that came with the footage. Texts are data: they are escaped and cannot turn the words around them.
"""

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from captioning.review import cards
from captioning.review.ranking import Totals, joined, rank, texts_of, variants
from captioning.review.severity import LEVELS, Check, Limits, checks
from curation import keyframes, page, storage
from curation.markup import Html, element, isolated, table

Row = Mapping[str, Any]

FRAMES = 6
"""Keyframes of a clip on the page: split keeps five of a shot and a few more of a long one."""


def write_review(
    data: str, *, count: int = 200, limits: Limits | None = None, output: str | None = None
) -> str:
    """Write the page about at most `count` clips and return where: `output`, or
    $DATA/audit/captions.html.

    Raises ValueError where there are no captions yet.
    """
    if count < 1:
        raise ValueError(f"{count = }, expected the number of clips to show, 1 or more")
    among = checks(limits or Limits())
    table = joined(data)
    worst, totals = rank(table, among, count=count, variants=variants(data))
    ids = [row["clip_id"] for row, _ in worst]
    texts = texts_of(data, ids)
    shown = [(row | texts.get(row["clip_id"], {}), bad) for row, bad in worst]
    text = render(
        storage.filesystem(data)[1].rstrip("/").rsplit("/", 1)[-1],
        totals,
        shown,
        frames=keyframes.within_budget(keyframes.read_frames(data, ids, count=FRAMES)),
        among=among,
    )
    url = output or storage.join(data, "audit", "captions.html")
    storage.commit(url, text.encode())
    return url


def render(
    name: str,
    totals: Totals,
    shown: Sequence[tuple[Row, Sequence[Check]]],
    *,
    frames: Mapping[str, Sequence[Row]],
    among: Sequence[Check],
) -> str:
    """The page as text: totals, then the clips in the order given."""
    sections = {"Totals": overview(totals), "Clips": cards.section(totals, shown, frames, among)}
    links = [element("li", element("a", title, href=f"#{title.lower()}")) for title in sections]
    body = [
        header(name, totals),
        element("nav", element("ul", links), aria_label="Sections"),
        element(
            "main",
            [
                element("section", element("h2", title), content, id=title.lower())
                for title, content in sections.items()
            ],
        ),
        element("footer", "Every number here can be asked of the tables captions and verify."),
    ]
    template = resources.files("captioning.review").joinpath("page.html").read_text("utf-8")
    return page.fill(template, title=f"{name}: captions", body=body)


def header(name: str, totals: Totals) -> Html:
    """The dataset in four numbers."""
    without = sum(n for (source, _), n in totals.sources.items() if source is None)
    numbers = {
        "Clips to caption": totals.clips,
        "With a caption": totals.clips - without,
        "Without": without,
        "With a bad check": totals.bad,
    }
    tiles = [
        element("div", element("dt", title), element("dd", f"{count:,}"))
        for title, count in numbers.items()
    ]
    state = f"{totals.verified:,} of {totals.clips:,} clips have been checked."
    if not totals.verified:
        state = "No caption has been checked yet: make verify does."
    return element(
        "header",
        element("p", "Dailies: what the captions say, and what is wrong with them", class_="over"),
        element("h1", isolated(name)),
        element("dl", tiles, class_="tiles"),
        element("p", state, class_="verdict"),
    )


def overview(totals: Totals) -> list[Html]:
    """Captions by source, variants, failures by reason code, checks by count."""
    by_source = sorted(totals.sources.items(), key=lambda item: (-item[1], str(item[0])))
    sources = [
        [source or "no caption", f"{n:,}", share(n, totals.clips), isolated(model) if model else ""]
        for (source, model), n in by_source
    ]
    kinds = [
        [title, f"{totals.variants[column]:,}", share(totals.variants[column], totals.clips)]
        for column, title in cards.VARIANTS.items()
    ]
    failures = [
        [element("code", code), f"{n:,}", f"{fatal:,}"]
        for code, (n, fatal) in totals.failures.items()
    ]
    made = [
        [check.title, f"{bad:,}", f"{of:,}", share(bad, of), LEVELS[check.level], check.expected]
        for check, of, bad in totals.checks
        if of
    ]
    heads = ["Check", "Bad", "Of", "Share", "Level", "Expected"]
    return [
        element(
            "div",
            element(
                "div",
                table(["Source", "Clips", "Share", "Model"], sources, caption="Captions by source"),
                class_="worded",
            ),
            table(["Variant", "Clips", "Share"], kinds, caption="Clips by caption variant"),
            class_="pair",
        ),
        element("h3", "What went wrong on the way"),
        table(["Reason", "Clips", "Left without"], failures, caption="Failures by reason code")
        if failures
        else element("p", "Nothing."),
        element("h3", "Checks"),
        element(
            "div",
            table(heads, made, caption="Checks"),
            class_="worded",
        ),
    ]


def share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""
