"""Which clips may show the same pictures, without comparing every clip with every other.

Two looks whose 64 bits agree in two of six bands and differ in at most 8 bits elsewhere say that
their clips may be copies, shifted by the difference of their places. With at most 4 flipped bits
two bands always agree (pigeonhole: multi-index hashing, Norouzi et al. 2012, with pairs of bands
for keys), with 6 in three of four cases, and a clip has many looks.
"""

import functools
import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from curation.meters.phash import PART_EVERY, STEPS
from curation.stages.dedup.looks import Looks
from curation.stages.dedup.runs import CHUNK, first_of_each

BITS = 64
BANDS = ((0, 11), (11, 11), (22, 11), (33, 11), (44, 10), (54, 10))  # first bit, bits
Bands = tuple[tuple[int, int], tuple[int, int]]
_NUM_KEYS = 1 << 22  # of two bands
CANDIDATE_BITS = 8  # of random hashes one pair in 4e9 is as near
SCATTER = np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing (Knuth 1998, §6.4)
BUCKET_LOOKS = 64  # of a band pair that more looks share, each look meets this many
FLAT = STEPS  # quarter levels of contrast: one level; an empty road from above has 1.5
TELLING = 2  # quarter levels from which a change is looked up
VOTES = 1 << 20  # rows held before those of the same pair are added up: 40 MB
TRIES = 4  # shifts compared per pair of clips
BLOCK = 1 << 21  # looks that are looked up together
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
    blocks = range(0, len(query_Q), BLOCK)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:  # NumPy lets go of the lock
        for bands in itertools.combinations(BANDS, 2):
            order, keys = _by_key(index_I, bands)
            table = _Table(index_I[order], order, np.cumsum(np.bincount(keys, minlength=_NUM_KEYS)))
            del order, keys
            look_up = functools.partial(_look_up, table=table, bands=bands)
            for block, found in zip(
                blocks, pool.map(look_up, (query_Q[q : q + BLOCK] for q in blocks)), strict=True
            ):
                yield from ((block + q, i) for q, i in found)


class _Table(NamedTuple):
    """Hashes by key, where each was in the index, and where each key's end."""

    hashes: np.ndarray
    order: np.ndarray
    ends: np.ndarray


def _look_up(
    query_Q: np.ndarray, *, table: _Table, bands: Bands
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The queries' near ones among those with the same key."""
    order, keys = _by_key(query_Q, bands)  # so that what they meet lies together
    found = []
    for start in range(0, len(order), CHUNK):
        rows, key = order[start : start + CHUNK], keys[start : start + CHUNK]
        begin = np.where(key > 0, table.ends[key - 1], 0)
        size = table.ends[key] - begin
        if size.max() > BUCKET_LOOKS:  # each meets another stretch of it
            spare = np.maximum(size - BUCKET_LOOKS, 0)
            begin += (query_Q[rows] * SCATTER >> np.uint64(33)).astype(np.int64) % (spare + 1)
            size = np.minimum(size, BUCKET_LOOKS)
        largest = np.argsort(-size.astype(np.int8), kind="stable")
        rows, begin = rows[largest], begin[largest]
        hashes = query_Q[rows]
        # those with more than `nth` to meet
        for nth, num in enumerate(len(size) - np.cumsum(np.bincount(size))[:-1]):
            at = begin[:num] + nth
            close = np.bitwise_count(hashes[:num] ^ table.hashes[at]) <= CANDIDATE_BITS
            if close.any():
                found.append((rows[:num][close], table.order[at[close]]))
    return found


def _by_key(hashes: np.ndarray, bands: Bands) -> tuple[np.ndarray, np.ndarray]:
    """(positions, keys) in order of the keys, the bits of two bands.

    Sorting numbers that hold key and position is several times faster than argsort.
    """
    numbers = np.zeros(len(hashes), np.uint64)
    for first, bits in bands:
        numbers <<= np.uint64(bits)
        numbers |= (hashes >> np.uint64(first)) & np.uint64((1 << bits) - 1)
    numbers <<= np.uint64(32)
    numbers |= np.arange(len(hashes), dtype=np.uint64)
    numbers.sort()
    order = numbers.astype(np.uint32)
    numbers >>= np.uint64(32)
    return order, numbers.view(np.int64)


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
