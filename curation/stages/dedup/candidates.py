"""Which clips may show the same pictures, without comparing every clip with every other.

Two looks whose 64 bits agree in two of six bands and differ in at most 8 bits elsewhere say that
their clips may be copies, shifted by the difference of their places. With at most 4 flipped bits
two bands always agree (pigeonhole: multi-index hashing, Norouzi et al. 2012, with pairs of bands
for keys), with 6 in three of four cases, and a clip has many looks.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from curation.meters.phash import PART_EVERY, STEPS
from curation.stages.dedup.looks import Looks
from curation.stages.dedup.runs import CHUNK, first_of_each, stretches

BITS = 64
BANDS = ((0, 11), (11, 11), (22, 11), (33, 11), (44, 10), (54, 10))  # first bit, bits
CANDIDATE_BITS = 8  # of random hashes one pair in 4e9 is as near
SCATTER = np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing (Knuth 1998, §6.4)
BUCKET_LOOKS = 64  # of a band pair that more looks share, each look meets this many
FLAT = STEPS  # quarter levels of contrast: one level; an empty road from above has 1.5
TELLING = 2  # quarter levels from which a change is looked up
VOTES = 1 << 20  # rows held before those of the same pair are added up: 40 MB
TRIES = 4  # shifts compared per pair of clips
QUERY_EVERY = 2  # looks: four a second are looked up among two a second
FAST = 10 * STEPS  # quarter levels: of what moves so fast, every look is looked up


class Hashes(NamedTuple):
    hashes: np.ndarray
    at: np.ndarray
    """The look that each belongs to."""


def candidates(looks: Looks) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(a, b, shift) that some pair of looks speaks for, up to TRIES shifts per pair of clips."""
    clip_L = np.repeat(np.arange(looks.num_clips, dtype=np.int32), np.diff(looks.first_N1))
    begin_N = looks.start_N - looks.first_N1[:-1]
    found: list[np.ndarray] = []
    num_new = 0
    for is_change, query, index in _lookups(looks, clip_L):
        for q, i in near(query.hashes, index.hashes):
            q, i = query.at[q], index.at[i]
            a, b = clip_L[i], clip_L[q]
            shift = (begin_N[b] + q) - (begin_N[a] + i)
            other = a != b
            votes = np.broadcast_to([is_change, 1], (int(other.sum()), 2))
            found.append(_counted(a[other], b[other], shift[other], votes))
            num_new += len(found[-1])
            if num_new > VOTES + len(found[0]):  # each pair comes many times
                found, num_new = [_summed(np.concatenate(found))], 0
    if not found:
        none = np.zeros(0, np.int64)
        return none, none, none
    a, b, shift, moments, hits = _summed(np.concatenate(found)).T
    # shifts for which most changes speak first, then most looks, then the shortest
    order = np.lexsort((shift, np.abs(shift), -hits, -moments, b, a))
    a, b, shift = a[order], b[order], shift[order]
    new = first_of_each(a, b)
    nth = np.arange(len(a)) - np.flatnonzero(new)[np.cumsum(new) - 1]
    return a[nth < TRIES], b[nth < TRIES], shift[nth < TRIES]


def _lookups(looks: Looks, clip_L: np.ndarray) -> Iterator[tuple[bool, Hashes, Hashes]]:
    """(is of changes, what is looked up, among what): whole pictures among whole ones and middles,
    then centres among centres; by scene, then by change where something moves.
    """
    halves, queried = _halves_and_queried(looks, clip_L)
    assert len(halves) == len(looks.middle_scene_P), "parts for each look at a half second"
    for is_change, whole_L, middle_P, centre_P in (
        (False, looks.scene_L, looks.middle_scene_P, looks.centre_scene_P),
        (True, looks.change_L, looks.middle_change_P, looks.centre_change_P),
    ):
        telling_L = _telling(looks.contrast_L, looks.energy_L, is_change=is_change)
        query = queried[telling_L[queried]]
        telling_P = telling_L[halves]
        index = halves[telling_P]
        among = Hashes(np.concatenate([whole_L[index], middle_P[telling_P]]), np.tile(index, 2))
        yield is_change, _once(Hashes(whole_L[query], query), clip_L), _once(among, clip_L)
        telling_L = _telling(looks.centre_contrast_L, looks.centre_energy_L, is_change=is_change)
        telling_P = telling_L[halves]
        centres = _once(Hashes(centre_P[telling_P], halves[telling_P]), clip_L)
        yield is_change, centres, centres


def _halves_and_queried(looks: Looks, clip_L: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The looks that have parts, and those that are looked up."""
    # 32 bits wrap for places of clocks since 1970; the remainders stay right
    place_L = (looks.start_N - looks.first_N1[:-1]).astype(np.int32)[clip_L]
    place_L += np.arange(len(clip_L), dtype=np.int32)
    halves = _positions(place_L % PART_EVERY == 0)
    return halves, _positions((place_L % QUERY_EVERY == 0) | (looks.energy_L >= FAST))


def _positions(which_L: np.ndarray) -> np.ndarray:
    return np.flatnonzero(which_L).astype(np.uint32)  # half the room


def _telling(contrast_L: np.ndarray, energy_L: np.ndarray, *, is_change: bool) -> np.ndarray:
    return (contrast_L >= FLAT) & (not is_change or energy_L >= TELLING)


def around(
    a: np.ndarray, b: np.ndarray, shift: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Also the shifts one look to either side, which looks on every second place cannot find."""
    shifts = np.concatenate([shift - 1, shift, shift + 1])
    rows = np.column_stack([np.tile(a, 3), np.tile(b, 3), shifts])
    rows = rows[np.lexsort(rows.T)]
    rows = rows[first_of_each(*rows.T)]
    return rows[:, 0], rows[:, 1], rows[:, 2]


def near(query_Q: np.ndarray, index_I: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Positions (in query, in index) of hashes that share two bands and differ in few bits.

    A pair that shares more bands comes more than once.
    """
    for one, two in itertools.combinations(BANDS, 2):
        keys = _key(index_I, one, two)
        ends = np.cumsum(np.bincount(keys, minlength=1 << (one[1] + two[1])))
        # sorting numbers that hold key and position is several times faster than argsort
        numbers = keys.astype(np.uint64) << np.uint64(32)
        del keys
        numbers |= np.arange(len(index_I), dtype=np.uint64)
        numbers.sort()
        order = numbers.astype(np.uint32)
        del numbers
        sorted_I = index_I[order]
        for start in range(0, len(query_Q), CHUNK):
            part = query_Q[start : start + CHUNK]
            keys = _key(part, one, two)
            end = ends[keys]
            begin = np.where(keys > 0, ends[keys - 1], 0)
            size = np.minimum(end - begin, BUCKET_LOOKS)
            # of a bucket that is too full each look meets another stretch
            spare = end - begin - size
            begin += (part * SCATTER >> np.uint64(33)).astype(np.int64) % (spare + 1)
            for q, at in _ranges(begin, size):
                close = np.bitwise_count(part[q] ^ sorted_I[at]) <= CANDIDATE_BITS
                if close.any():
                    yield start + q[close], order[at[close]]


def _key(hashes: np.ndarray, *bands: tuple[int, int]) -> np.ndarray:
    key = np.zeros(len(hashes), np.int64)
    for first, bits in bands:
        part = (hashes >> np.uint64(first)) & np.uint64((1 << bits) - 1)
        key = (key << bits) | part.astype(np.int64)
    return key


def _ranges(begin: np.ndarray, size: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(row, position) of all positions begin to begin + size of the rows, a chunk at a time."""
    upto = np.cumsum(size)
    for start, end in stretches(upto):
        n = size[start:end]
        rows = np.repeat(np.arange(start, end), n)
        inside = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
        yield rows, np.repeat(begin[start:end], n) + inside


def _once(of: Hashes, clip_L: np.ndarray) -> Hashes:
    """Without the hashes that repeat the one before in the same clip: a picture that stands."""
    once = first_of_each(of.hashes, clip_L[of.at])
    return of if once.all() else Hashes(of.hashes[once], of.at[once])


def _counted(one: np.ndarray, two: np.ndarray, shift: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """Rows (a, b, shift, votes…), a < b, the votes of equal rows summed."""
    turn = one > two
    a, b = np.where(turn, two, one), np.where(turn, one, two)
    shift = np.where(turn, -shift, shift)
    return _summed(np.column_stack([a, b, shift, votes]))


def _summed(rows: np.ndarray) -> np.ndarray:
    order = np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))
    rows = rows[order]
    new = np.flatnonzero(first_of_each(*rows[:, :3].T))
    if not len(new):
        return rows
    sums = np.add.reduceat(rows[:, 3:], new, axis=0)
    return np.concatenate([rows[new, :3], sums], axis=1)
