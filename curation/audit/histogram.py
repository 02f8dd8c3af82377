"""Histograms of measured columns, with kept and rejected clips apart and the thresholds counted."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curation.audit.ledger import Ledger, Rule

BINS = 32
"""About this many bars: fine enough to see where a threshold falls, wide enough to point at."""

TAIL = 0.005
"""Share of the values at either end that may lie off the axis; the end bars count them."""

VERDICTS = ("kept", "rejected", "undecided")


@dataclass(frozen=True)
class Limit:
    """One threshold of a rule."""

    value: float
    is_minimum: bool
    beyond: int
    """Measured clips on the side that is rejected."""


@dataclass(frozen=True)
class Histogram:
    """The values of one column, counted per bar and verdict."""

    column: str
    edges: Sequence[float]
    """Ends of the bars; empty where all values are equal."""
    counts: Mapping[str, Sequence[int]]
    """Per verdict, clips per bar. Failed clips count as rejected."""
    measured: int
    nulls: int
    low: float
    median: float
    high: float
    rules: Sequence[Rule]
    limits: Sequence[Limit]


def histogram(ledger: Ledger, column: str) -> Histogram:
    """Kept and rejected clips per bar; the axis reaches thresholds that lie near the values."""
    field = ledger.clips[column]
    values = field.cast(pa.float64()).to_numpy()
    finite = np.isfinite(values)
    verdicts = np.asarray(ledger.clips["verdict"].to_pylist(), dtype=object)[finite]
    verdicts[verdicts == "failed"] = "rejected"
    values = values[finite]
    rules = [rule for rule in ledger.rules if rule.column == column]
    if not len(values):
        nothing = (math.nan, math.nan, math.nan)
        return Histogram(column, (), {}, 0, len(finite), *nothing, rules, ())
    limits = [limit for rule in rules for limit in _limits(rule, values)]
    near = [limit.value for limit in limits]
    edges = _edges(values, near, whole=pa.types.is_integer(field.type))
    counts = {}
    if len(edges):
        bars = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
        for verdict in VERDICTS:
            of_verdict = np.bincount(bars[verdicts == verdict], minlength=len(edges) - 1)
            counts[verdict] = of_verdict.tolist()
    low, median, high = values.min(), np.median(values), values.max()
    nulls = int(len(finite) - finite.sum())
    told = (float(low), float(median), float(high))
    return Histogram(column, edges.tolist(), counts, len(values), nulls, *told, rules, limits)


def _limits(rule: Rule, values: np.ndarray) -> Iterator[Limit]:
    if rule.minimum is not None:
        yield Limit(rule.minimum, True, int((values < rule.minimum).sum()))
    if rule.maximum is not None:
        yield Limit(rule.maximum, False, int((values > rule.maximum).sum()))


def _edges(values: np.ndarray, limits: Sequence[float], *, whole: bool) -> np.ndarray:
    """Round numbers 1, 2 or 5 times a power of ten apart that span all but the tails."""
    low, high = np.quantile(values, [TAIL, 1 - TAIL], method="inverted_cdf")
    if low == high:
        low, high = values.min(), values.max()
    span = high - low
    if span == 0:
        return np.array([])
    # a threshold farther off than the values are wide would squash them
    near = [x for x in limits if low - span <= x <= high + span]
    low, high = min([low, *near]), max([high, *near])
    rough = (high - low) / BINS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    step = max(step, 1.0) if whole else step
    first = math.floor(low / step + 1e-9)
    # a whole number needs the bar that begins at it; 100 % needs no bar from 100 to 105
    last = math.floor(high / step + 1e-9) + 1 if whole else math.ceil(high / step - 1e-9)
    return np.arange(first, last + 1) * step
