"""Groups of copies with one to keep, such that every copy was compared with the one that stays.

Likeness does not add up: a chain of crops leads from one picture to another. So a group is a star:
the best clip takes those that are copies of it, the best of the rest the next, and so on.
"""

from collections import defaultdict
from collections.abc import Callable

import numpy as np

from curation.stages.dedup.pairs import Pairs

Verdict = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""(a, b, shift) -> (is a pair, differing bits)."""


def stars(found: Pairs, *, order: np.ndarray, verdict: Verdict) -> tuple[np.ndarray, np.ndarray]:
    """(N,) the clip that stays for each one (itself where it stays), its distance to it in bits.

    order: the clips from the best on. Copies of copies that were not yet compared with the one that
    stays are, by `verdict`, at the shift that the steps to them add up to.
    """
    keeper, distance = np.full(len(order), -1), np.zeros(len(order))
    links: dict[int, list[tuple[int, int]]] = defaultdict(list)
    direct: dict[tuple[int, int], float] = {}
    for a, b, shift, bits in zip(*(column.tolist() for column in found), strict=True):
        links[a].append((b, shift))
        links[b].append((a, -shift))
        direct[a, b] = bits
    for best in order[np.isin(order, list(links))].tolist():
        if keeper[best] < 0:
            keeper[best] = best
            for clip, bits in _copies_of(best, links, direct, keeper, verdict=verdict).items():
                keeper[clip], distance[clip] = best, bits
    return np.where(keeper < 0, np.arange(len(order)), keeper), distance


def _copies_of(
    best: int,
    links: dict[int, list[tuple[int, int]]],
    direct: dict[tuple[int, int], float],
    keeper: np.ndarray,
    *,
    verdict: Verdict,
) -> dict[int, float]:
    """Clip -> differing bits, of all that are copies of the best one and belong to no other yet."""
    copies: dict[int, float] = {}
    met, frontier = {best}, {best: 0}
    while frontier:
        reached = {
            other: way + shift
            for clip, way in frontier.items()
            for other, shift in links[clip]
            if other not in met and keeper[other] < 0
        }
        met |= reached.keys()
        known = {clip: direct.get((min(best, clip), max(best, clip))) for clip in reached}
        unknown = np.array([clip for clip, bits in known.items() if bits is None], np.int64)
        if len(unknown):
            shifts = np.array([reached[clip] for clip in unknown.tolist()])
            alike, bits = verdict(np.full(len(unknown), best), unknown, shifts)
            known |= zip(unknown[alike].tolist(), bits[alike].tolist(), strict=True)
        frontier = {clip: reached[clip] for clip, bits in known.items() if bits is not None}
        copies |= {clip: bits for clip, bits in known.items() if bits is not None}
    return copies
