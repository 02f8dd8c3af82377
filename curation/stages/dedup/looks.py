"""Which clips show the same pictures: perceptual hashes compared look by look.

Two steps. Candidates: two looks whose 64 bits agree in two of six bands and differ in at most 8
bits elsewhere say that their clips may be copies, shifted by the difference of their places; with
at most 4 flipped bits two bands always agree (pigeonhole: multi-index hashing, Norouzi et al. 2012,
with pairs of bands for keys), with 6 in three of four cases, and a clip has many looks. Verdict:
the two clips are laid over each other at that shift and all looks that overlap are compared.

A pair's distance is d = scene / 64 + change: the mean number of differing bits of the scenes, and
the share of differing bits of the changes weighed by how much moved. Scenes tell that it is the
same place, changes that it is the same moment. Where nothing moves there is no moment to tell, and
where little moves coding noise takes part: then clips of the same scene are a pair only at the same
place of their sources. Whole pictures are compared with whole ones, with the middle of the other
(which a cropped copy shows), and centres with centres (which a logo leaves alone); the best counts.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from curation.meters.phash import LOOKS_PER_S, PART_EVERY, STEPS

BITS = 64
BANDS = ((0, 11), (11, 11), (22, 11), (33, 11), (44, 10), (54, 10))  # first bit, bits
CANDIDATE_BITS = 8  # of random hashes one pair in 4e9 is as near
SCATTER = np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing (Knuth 1998, §6.4)
BUCKET_LOOKS = 64  # of a band pair that more looks share, each look meets this many
FLAT = STEPS  # quarter levels of contrast: one level; an empty road from above has 1.5
MOVING = 1.5  # quarter levels; the changes of coding noise alone reach 1
TELLING = 2  # quarter levels from which a change is looked up
TRIES = 4  # shifts compared per pair of clips

OVERLAP = 0.5  # of the shorter clip, at least
COUNTED = 0.5  # of the overlapping looks have something to see, at least
STILL_BITS = 6  # of 64, mean; a crop of 5 % costs 5
SAME_PLACE = 0.08  # by so much the distance of clips at the same place may be larger
SAME_SHIFT = LOOKS_PER_S  # looks: one second
SAME_OVERLAP = 0.8  # of the longer clip

QUERY_EVERY = 2  # looks: four a second are looked up among two a second
FAST = 10 * STEPS  # quarter levels: of what moves so fast, every look is looked up
CHUNK = 1 << 18  # looks compared at a time: stays in the cache


@dataclass(frozen=True)
class Looks:
    """The looks of N clips, end to end."""

    start_N: np.ndarray
    """Place of each clip's first look on the grid."""
    first_N1: np.ndarray
    """Clip i has the looks first[i] to first[i + 1]."""
    scene_L: np.ndarray
    change_L: np.ndarray
    contrast_L: np.ndarray
    energy_L: np.ndarray
    centre_contrast_L: np.ndarray
    centre_energy_L: np.ndarray
    first_part_N1: np.ndarray
    middle_scene_P: np.ndarray
    middle_change_P: np.ndarray
    centre_scene_P: np.ndarray
    centre_change_P: np.ndarray

    @property
    def num_clips(self) -> int:
        return len(self.start_N)

    def count(self, clips: np.ndarray) -> np.ndarray:
        return self.first_N1[clips + 1] - self.first_N1[clips]


class Pairs(NamedTuple):
    """Clips a < b where b's look at place p + shift shows what a's look at p does."""

    a: np.ndarray
    b: np.ndarray
    shift: np.ndarray
    bits: np.ndarray
    """Mean differing bits of 64 of the scenes."""


def read_looks(clips: pa.Table) -> Looks:
    """From the columns that the meter writes."""
    scene_L, first_N1 = _flat(clips["phash"], "<u8")
    change_L, _ = _flat(clips["phash_change"], "<u8")
    seen_L4, _ = _flat(clips["phash_seen"], "u1")
    parts_P4, first_part_N1 = _flat(clips["phash_parts"], "<u8")
    start = clips["phash_start_look"].fill_null(0).to_numpy()
    contrast, energy, centre_contrast, centre_energy = (
        np.ascontiguousarray(seen_L4[i::4]) for i in range(4)
    )
    middle, middle_change, centre, centre_change = (
        np.ascontiguousarray(parts_P4[i::4]) for i in range(4)
    )
    return Looks(
        start_N=start,
        first_N1=first_N1,
        scene_L=scene_L,
        change_L=change_L,
        contrast_L=contrast,
        energy_L=energy,
        centre_contrast_L=centre_contrast,
        centre_energy_L=centre_energy,
        first_part_N1=first_part_N1 // 4,
        middle_scene_P=middle,
        middle_change_P=middle_change,
        centre_scene_P=centre,
        centre_change_P=centre_change,
    )


def _flat(column: pa.ChunkedArray, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """All values' bytes as one array, and where each row's begin; null is a row without."""
    item = np.dtype(dtype).itemsize
    parts, sizes = [np.zeros(0, dtype)], [np.zeros(1, np.int64)]
    for chunk in column.chunks:
        chunk = chunk.cast(pa.large_binary()).fill_null(b"")
        offsets = np.frombuffer(chunk.buffers()[1], np.int64)[chunk.offset :][: len(chunk) + 1]
        data = chunk.buffers()[2]
        if len(chunk) and data is not None:
            parts.append(np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]].view(dtype))
        sizes.append(np.diff(offsets) // item)
    return np.concatenate(parts), np.cumsum(np.concatenate(sizes))


def pairs(looks: Looks, *, limit: float) -> Pairs:
    """All pairs of clips within the limit, by (a, b), each at its best shift."""
    a, b, shift = around(*candidates(looks))
    kept, bits, distance = verdicts(looks, a, b, shift, limit=limit)
    a, b, shift, bits = a[kept], b[kept], shift[kept], bits[kept]
    order = np.lexsort((shift, np.abs(shift), distance[kept], b, a))
    best = order[_first_of_each(a[order], b[order])]
    return Pairs(a[best], b[best], shift[best], bits[best])


# -- candidates ------------------------------------------------------------------------------------


def candidates(looks: Looks) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(a, b, shift) that some pair of looks speaks for, up to TRIES shifts per pair of clips."""
    clip_L, place_L = _clips_and_places(looks)
    halves = np.flatnonzero(place_L % PART_EVERY == 0)  # the looks that have parts, in order
    assert len(halves) == len(looks.middle_scene_P), "parts for each look at a half second"
    fast_L = looks.energy_L >= FAST
    queried = np.flatnonzero((place_L % QUERY_EVERY == 0) | fast_L)
    found: list[np.ndarray] = []
    seen_L, centre_seen_L = looks.contrast_L >= FLAT, looks.centre_contrast_L >= FLAT
    moves_L, centre_moves_L = looks.energy_L >= TELLING, looks.centre_energy_L >= TELLING
    for is_change, telling_L, whole_L, middle_P, centre_telling_L, centre_P in (
        (
            *(0, seen_L, looks.scene_L, looks.middle_scene_P),
            *(centre_seen_L, looks.centre_scene_P),
        ),
        (
            *(1, seen_L & moves_L, looks.change_L, looks.middle_change_P),
            *(centre_seen_L & centre_moves_L, looks.centre_change_P),
        ),
    ):
        query = queried[telling_L[queried]]
        telling_P, centre_telling_P = telling_L[halves], centre_telling_L[halves]
        index, centre = halves[telling_P], halves[centre_telling_P]
        views = (
            (
                *(whole_L[query], query),
                *(np.concatenate([whole_L[index], middle_P[telling_P]]), np.tile(index, 2)),
            ),
            (*(centre_P[centre_telling_P], centre) * 2,),
        )
        for hash_Q, at_Q, hash_I, at_I in views:
            hash_Q, at_Q = _once(hash_Q, at_Q, clip_L)
            hash_I, at_I = _once(hash_I, at_I, clip_L)
            for q, i in near(hash_Q, hash_I):
                q, i = at_Q[q], at_I[i]
                other = clip_L[q] != clip_L[i]
                q, i = q[other], i[other]
                votes = np.broadcast_to([is_change, 1], (len(q), 2))
                found.append(_counted(clip_L[i], clip_L[q], place_L[q] - place_L[i], votes))
    if not found:
        none = np.zeros(0, np.int64)
        return none, none, none
    a, b, shift, moments, hits = _summed(np.concatenate(found)).T
    # shifts for which most changes speak first, then most looks, then the shortest
    order = np.lexsort((shift, np.abs(shift), -hits, -moments, b, a))
    a, b, shift = a[order], b[order], shift[order]
    new = _first_of_each(a, b)
    nth = np.arange(len(a)) - np.flatnonzero(new)[np.cumsum(new) - 1]
    return a[nth < TRIES], b[nth < TRIES], shift[nth < TRIES]


def _clips_and_places(looks: Looks) -> tuple[np.ndarray, np.ndarray]:
    """(L,) int32 the clip of each look, and its place on the clip's source's grid."""
    count = np.diff(looks.first_N1)
    clip_L = np.repeat(np.arange(looks.num_clips, dtype=np.int32), count)
    begin = np.repeat((looks.start_N - looks.first_N1[:-1]).astype(np.int64), count)
    begin += np.arange(len(clip_L))
    return clip_L, begin.astype(np.int32)


def around(
    a: np.ndarray, b: np.ndarray, shift: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Also the shifts one look to either side, which looks on every second place cannot find."""
    shifts = np.concatenate([shift - 1, shift, shift + 1])
    rows = np.column_stack([np.tile(a, 3), np.tile(b, 3), shifts])
    rows = rows[np.lexsort(rows.T)]
    rows = rows[_first_of_each(*rows.T)]
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
    for start, end in _stretches(upto):
        n = size[start:end]
        rows = np.repeat(np.arange(start, end), n)
        inside = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
        yield rows, np.repeat(begin[start:end], n) + inside


def _stretches(upto: np.ndarray) -> Iterator[tuple[int, int]]:
    """[start, end) of rows that hold about CHUNK positions together, from the running sum."""
    start = 0
    while start < len(upto):
        before = upto[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(upto, before + CHUNK, side="right")))
        yield start, end
        start = end


def _once(
    hashes: np.ndarray, looks: np.ndarray, clip_L: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Without the hashes that repeat the one before in the same clip: a picture that stands."""
    once = np.ones(len(hashes), dtype=bool)
    once[1:] = (hashes[1:] != hashes[:-1]) | (clip_L[looks[1:]] != clip_L[looks[:-1]])
    return hashes[once], looks[once]


def _counted(one: np.ndarray, two: np.ndarray, shift: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """Rows (a, b, shift, votes…), a < b, the votes of equal rows summed."""
    turn = one > two
    a, b = np.where(turn, two, one), np.where(turn, one, two)
    shift = np.where(turn, -shift, shift)
    return _summed(np.column_stack([a, b, shift, votes]))


def _summed(rows: np.ndarray) -> np.ndarray:
    order = np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))
    rows = rows[order]
    new = np.flatnonzero(_first_of_each(*rows[:, :3].T))
    if not len(new):
        return rows
    sums = np.add.reduceat(rows[:, 3:], new, axis=0)
    return np.concatenate([rows[new, :3], sums], axis=1)


def _first_of_each(*sorted_columns: np.ndarray) -> np.ndarray:
    new = np.zeros(len(sorted_columns[0]), dtype=bool)
    new[:1] = True
    for column in sorted_columns:
        new[1:] |= column[1:] != column[:-1]
    return new


# -- verdict ---------------------------------------------------------------------------------------


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
    for rows in np.split(possible, [end for _, end in _stretches(np.cumsum(overlap[possible]))]):
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
            still = same_place[rows] & (scene <= STILL_BITS)
            alike = np.where(moves, d <= limit + SAME_PLACE * same_place[rows], still) & (
                counted >= COUNTED
            )
            better = alike & (d < distance[rows])
            pair[rows] |= alike
            bits[rows] = np.where(better, scene, bits[rows])
            distance[rows] = np.where(better, d, distance[rows])
    return pair, bits, distance


def _whole(
    looks: Looks, a: np.ndarray, b: np.ndarray, shift: np.ndarray, start: np.ndarray, n: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Whole pictures of a and b over n looks from a's place `start` on."""
    at_a = _spread(looks.first_N1[a] + start - looks.start_N[a], n)
    at_b = _spread(looks.first_N1[b] + start + shift - looks.start_N[b], n)
    scene = looks.scene_L[at_a], looks.scene_L[at_b]
    change = looks.change_L[at_a], looks.change_L[at_b]
    seen = looks.contrast_L, looks.energy_L
    return _compare(n, at_a, at_b, scene=scene, change=change, seen=seen)


def _middle(
    looks: Looks, a: np.ndarray, b: np.ndarray, shift: np.ndarray, start: np.ndarray, n: np.ndarray
) -> tuple[np.ndarray, ...]:
    """The middle of a's pictures against b's whole ones, at a's half seconds."""
    at_m, n, place = _parts(looks, a, start, n)
    at_a = _spread(looks.first_N1[a] + place - looks.start_N[a], n, step=PART_EVERY)
    at_b = _spread(looks.first_N1[b] + place + shift - looks.start_N[b], n, step=PART_EVERY)
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
    at_a = _spread(looks.first_N1[a] + place - looks.start_N[a], n, step=PART_EVERY)
    at_b = _spread(looks.first_N1[b] + place + shift - looks.start_N[b], n, step=PART_EVERY)
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
    return _spread(looks.first_part_N1[a] + half - first, n), n, half * PART_EVERY


def _spread(first: np.ndarray, n: np.ndarray, *, step: int = 1) -> np.ndarray:
    inside = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    return np.repeat(first, n) + step * inside


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
    sums = [_sums(x, n) for x in (scene_bits, change_bits, weight, counts)]
    scene_bits, change_bits, weight, counts = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        return scene_bits / counts, change_bits / weight / BITS, weight / counts, counts / n


def _sums(values: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Sum of each run of n values."""
    total = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
    ends = np.cumsum(n)
    return total[ends] - total[ends - n]
