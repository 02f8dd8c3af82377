"""Which clips show the same pictures: laid over each other, look by look.

A pair's distance is d = scene / 64 + change: the mean number of differing bits of the scenes, and
the share of differing bits of the changes weighed by how much moved. Scenes tell that it is the
same place, changes that it is the same moment. Where nothing moves there is no moment to tell, and
where little moves coding noise takes part: then clips of the same scene are a pair only at the same
place of their sources. Whole pictures are compared with whole ones, with the middle of the other
(which a cropped copy shows), and centres with centres (which a logo leaves alone); the best counts.
"""

from typing import NamedTuple

import numpy as np

from curation.meters.phash import LOOKS_PER_S, PART_EVERY
from curation.stages.dedup.candidates import BITS, FLAT, around, candidates
from curation.stages.dedup.looks import Looks
from curation.stages.dedup.runs import first_of_each, spread, stretches, sums

MOVING = 1.5  # quarter levels; the changes of coding noise alone reach 1
CLEAR = 6  # quarter levels of movement, below which coding takes part in the changes
FAINT_SHARE = 0.5  # of the limit, where movement is less than clear

OVERLAP = 0.75  # of the shorter clip, at least: a clip that shows more of its own is worth having
COUNTED = 0.5  # of the overlapping looks have something to see, at least
STILL_BITS = 6  # of 64, mean; a crop of 5 % costs 5
SAME_PLACE = 0.08  # by so much the distance of clips at the same place may be larger
SAME_SHIFT = LOOKS_PER_S  # looks: one second
SAME_OVERLAP = 0.8  # of the longer clip


class Pairs(NamedTuple):
    """Clips a < b where b's look at place p + shift shows what a's look at p does."""

    a: np.ndarray
    b: np.ndarray
    shift: np.ndarray
    bits: np.ndarray
    """Mean differing bits of 64 of the scenes."""


def pairs(looks: Looks, *, limit: float) -> Pairs:
    """All pairs of clips within the limit, by (a, b), each at its best shift."""
    a, b, shift = around(*candidates(looks))
    kept, bits, distance = verdicts(looks, a, b, shift, limit=limit)
    a, b, shift, bits = a[kept], b[kept], shift[kept], bits[kept]
    order = np.lexsort((shift, np.abs(shift), distance[kept], b, a))
    best = order[first_of_each(a[order], b[order])]
    return Pairs(a[best], b[best], shift[best], bits[best])


def verdicts(
    looks: Looks, a: np.ndarray, b: np.ndarray, shift: np.ndarray, *, limit: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(is a pair, differing bits of the scenes, distance) of each a and b laid over each other."""
    start_a, start_b = looks.start_N[a], looks.start_N[b] - shift
    count_a, count_b = looks.count(a), looks.count(b)
    start = np.maximum(start_a, start_b)
    overlap = np.minimum(start_a + count_a, start_b + count_b) - start
    enough = overlap >= np.maximum(1, OVERLAP * np.minimum(count_a, count_b))
    bits, distance = np.full(len(a), np.inf), np.full(len(a), np.inf)
    pair = np.zeros(len(a), dtype=bool)
    possible = np.flatnonzero(enough)
    same_place = (np.abs(shift) <= SAME_SHIFT) & (
        overlap >= SAME_OVERLAP * np.maximum(count_a, count_b)
    )
    for rows in np.split(possible, [end for _, end in stretches(np.cumsum(overlap[possible]))]):
        x, y, s, n, p = a[rows], b[rows], shift[rows], overlap[rows], start[rows]
        for found in (
            _whole(looks, x, y, s, p, n),
            _middle(looks, x, y, s, p, n),
            _middle(looks, y, x, -s, p + s, n),
            _centre(looks, x, y, s, p, n),
        ):
            scene, change, energy, counted = found
            moves = energy >= MOVING  # NaN, where no look counts, is no pair either way
            d = scene / BITS + np.where(moves, change, 0)
            elsewhere = np.where(energy < CLEAR, FAINT_SHARE * limit, limit)
            most = np.where(same_place[rows], limit + SAME_PLACE, elsewhere)
            still = same_place[rows] & (scene <= STILL_BITS)
            alike = np.where(moves, d <= most, still) & (counted >= COUNTED)
            better = alike & (d < distance[rows])
            pair[rows] |= alike
            bits[rows] = np.where(better, scene, bits[rows])
            distance[rows] = np.where(better, d, distance[rows])
    return pair, bits, distance


def _whole(
    looks: Looks, a: np.ndarray, b: np.ndarray, shift: np.ndarray, start: np.ndarray, n: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Whole pictures of a and b over n looks from a's place `start` on."""
    at_a = spread(looks.first_N1[a] + start - looks.start_N[a], n)
    at_b = spread(looks.first_N1[b] + start + shift - looks.start_N[b], n)
    scene = looks.scene_L[at_a], looks.scene_L[at_b]
    change = looks.change_L[at_a], looks.change_L[at_b]
    seen = looks.contrast_L, looks.energy_L
    return _compare(n, at_a, at_b, scene=scene, change=change, seen=seen)


def _middle(
    looks: Looks, a: np.ndarray, b: np.ndarray, shift: np.ndarray, start: np.ndarray, n: np.ndarray
) -> tuple[np.ndarray, ...]:
    """The middle of a's pictures against b's whole ones, at a's half seconds."""
    at_m, n, place = _parts(looks, a, start, n)
    at_a = spread(looks.first_N1[a] + place - looks.start_N[a], n, step=PART_EVERY)
    at_b = spread(looks.first_N1[b] + place + shift - looks.start_N[b], n, step=PART_EVERY)
    scene = looks.middle_scene_P[at_m], looks.scene_L[at_b]
    change = looks.middle_change_P[at_m], looks.change_L[at_b]
    seen = looks.contrast_L, looks.energy_L
    return _compare(n, at_a, at_b, scene=scene, change=change, seen=seen)


def _centre(
    looks: Looks, a: np.ndarray, b: np.ndarray, shift: np.ndarray, start: np.ndarray, n: np.ndarray
) -> tuple[np.ndarray, ...]:
    """The centres of both, where the shift lays half seconds on half seconds."""
    n = np.where(shift % PART_EVERY == 0, n, 0)
    at_q, _, _ = _parts(looks, b, start + shift, n)
    at_p, n, place = _parts(looks, a, start, n)
    at_a = spread(looks.first_N1[a] + place - looks.start_N[a], n, step=PART_EVERY)
    at_b = spread(looks.first_N1[b] + place + shift - looks.start_N[b], n, step=PART_EVERY)
    scene = looks.centre_scene_P[at_p], looks.centre_scene_P[at_q]
    change = looks.centre_change_P[at_p], looks.centre_change_P[at_q]
    seen = looks.centre_contrast_L, looks.centre_energy_L
    return _compare(n, at_a, at_b, scene=scene, change=change, seen=seen)


def _parts(
    looks: Looks, a: np.ndarray, start: np.ndarray, n: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(positions of a's parts within n looks from `start` on, how many, place of the first)."""
    half = -(-start // PART_EVERY)
    n = np.where(n > 0, np.maximum(0, -(-(start + n) // PART_EVERY) - half), 0)
    first = -(-looks.start_N[a] // PART_EVERY)
    return spread(looks.first_part_N1[a] + half - first, n), n, half * PART_EVERY


def _compare(
    n: np.ndarray,
    at_a: np.ndarray,
    at_b: np.ndarray,
    *,
    scene: tuple[np.ndarray, np.ndarray],
    change: tuple[np.ndarray, np.ndarray],
    seen: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, ...]:
    """(scene bits, share of changed bits, energy, share of looks that count) of each pair, whose
    looks follow one another, n each. seen: contrast and energy of all looks.
    """
    contrast_L, energy_L = seen
    counts = np.minimum(contrast_L[at_a], contrast_L[at_b]) >= FLAT
    weight = np.minimum(energy_L[at_a], energy_L[at_b]).astype(np.int64) * counts
    scene_bits = np.bitwise_count(scene[0] ^ scene[1]) * counts
    change_bits = np.bitwise_count(change[0] ^ change[1]) * weight
    scene_bits, change_bits, weight, counts = (
        sums(x, n) for x in (scene_bits, change_bits, weight, counts)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return scene_bits / counts, change_bits / weight / BITS, weight / counts, counts / n
