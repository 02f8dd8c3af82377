"""Counts as SVG: bars of the funnel and of the buckets, histograms with their thresholds."""

from collections.abc import Callable, Iterable, Mapping

from curation.audit.histogram import VERDICTS, Histogram, Limit
from curation.markup import Html, element, number

WIDTH, HEIGHT = 360, 154
LEFT, RIGHT, TOP, BOTTOM = 32, 356, 44, 132
"""The histogram's viewBox and the plot inside it, in the px in which its text is set."""


def bar(before: float, after: float, whole: float, *, is_loss: bool = False) -> Html:
    """What stands and, for a loss, what has just gone, as shares of the whole."""
    share = 100 / whole if whole else 0
    parts = [element("rect", x=0, width=round(after * share, 2), height=10, class_="stands")]
    if is_loss:
        # at least a hair's breadth, or one clip of thousands could not be seen
        width = round(max((before - after) * share, 0.6 if before > after else 0), 2)
        x = min(round(after * share, 2), 100 - width)
        parts.append(element("rect", x=x, width=width, height=10, class_="gone"))
    return _shares(parts)


def stack(counts: Mapping[str, int], whole: int) -> Html:
    """Counts per verdict side by side, as shares of the whole."""
    share = 100 / whole if whole else 0
    left, parts = 0.0, []
    for verdict in VERDICTS:
        if counts[verdict]:
            width = max(counts[verdict] * share, 0.6)  # a hair's breadth, as above
            parts.append(
                element("rect", x=round(left, 2), width=round(width, 2), height=10, class_=verdict)
            )
            left += width
    return _shares(parts)


def _shares(parts: list[Html]) -> Html:
    """Bars of a picture 100 wide that is drawn out to the width it is given."""
    box = {"viewBox": "0 0 100 10", "preserveAspectRatio": "none"}
    return element("svg", parts, **box, class_="bar", aria_hidden="true")


def chart(histogram: Histogram) -> Html:
    """The bars of a histogram, stacked by verdict, with what its rules reject shaded."""
    start, end = histogram.edges[0], histogram.edges[-1]

    def x(value: float) -> float:
        return round(LEFT + (value - start) / (end - start) * (RIGHT - LEFT), 2)

    tallest = max(map(sum, zip(*histogram.counts.values(), strict=True)))
    middle = histogram.edges[len(histogram.edges) // 2]
    drawn = [
        element("text", f"{tallest:,}", x=LEFT - 6, y=TOP + 4, text_anchor="end"),
        element("line", x1=LEFT, x2=RIGHT, y1=TOP, y2=TOP, class_="grid"),
        [_limit(limit, x) for limit in histogram.limits if start <= limit.value <= end],
        _bars(histogram, x, tallest),
        element("line", x1=LEFT, x2=RIGHT, y1=BOTTOM, y2=BOTTOM, class_="base"),
        [
            element("text", number(value), x=x(value), y=BOTTOM + 16, text_anchor=anchor)
            for value, anchor in ((start, "start"), (middle, "middle"), (end, "end"))
        ],
    ]
    label = f"{histogram.column}: {histogram.measured:,} clips from {number(histogram.low)} to "
    label += f"{number(histogram.high)}, median {number(histogram.median)}"
    above = 0 if histogram.limits else TOP - 12  # the band of labels, where there are none to hold
    box = f"0 {above} {WIDTH} {HEIGHT - above}"
    return element("svg", drawn, viewBox=box, role="img", aria_label=label)


def _bars(histogram: Histogram, x: Callable[[float], float], tallest: int) -> Iterable[Html]:
    edges = histogram.edges
    for place, (low, high) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        y = float(BOTTOM)
        total = sum(counts[place] for counts in histogram.counts.values())
        for verdict in VERDICTS:
            if count := histogram.counts[verdict][place]:
                height = max(count / tallest * (BOTTOM - TOP), 1.5)
                y -= height
                told = f"{number(low)} to {number(high)}: {count:,} {verdict} of {total:,}"
                yield element(
                    "rect",
                    element("title", told),
                    x=round(x(low) + 0.5, 2),
                    width=round(x(high) - x(low) - 1, 2),
                    y=round(y, 2),
                    height=round(height, 2),
                    class_=verdict,
                )


def _limit(limit: Limit, x: Callable[[float], float]) -> Iterable[Html]:
    """A threshold as a line, what lies beyond it shaded, and how many clips that is."""
    at = x(limit.value)
    left, right = (LEFT, at) if limit.is_minimum else (at, RIGHT)
    width = round(right - left, 2)
    sign = "\N{GREATER-THAN OR EQUAL TO}" if limit.is_minimum else "\N{LESS-THAN OR EQUAL TO}"
    # minima and maxima on lines of their own: two labels close together would cover each other
    y = 12 if limit.is_minimum else 26
    anchor = "start" if at < LEFT + 80 else "end" if at > RIGHT - 80 else "middle"
    yield element("rect", x=left, width=width, y=TOP, height=BOTTOM - TOP, class_="beyond")
    yield element("line", x1=at, x2=at, y1=y + 4, y2=BOTTOM, class_="limit")
    text = f"{sign} {number(limit.value)} ({limit.beyond:,} beyond)"
    yield element("text", text, x=at, y=y, text_anchor=anchor, class_="limit-label")
