"""Which sources show the same pictures in the same order as another: copies told by keyframes.

A fixed camera shows one scene for hours, and two of its recordings are not copies. So a copy needs
several different pictures that follow each other at the same distances in time: looks of two
sources that lie at one offset, to a tenth of a second, nearly all show the same (perceptual hashes
at most 10 of 64 bits apart, as pHash's authors have it for re-encodes), and among them at least a
few are unlike each other. Encoders place keyframes on scene cuts, which is where looks of two
encodes of one film meet.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SAME_BITS = 10
OTHER_BITS = 20  # unlike pictures: unrelated ones differ in 32 on average, a standard deviation 4
LEAST_SEEN = 8.0  # of 255: below, the picture is too even for its hash to say much
TOLERANCE_S = 0.1  # containers round stamps, encoders place a keyframe a frame later
AGREEMENT = 0.9  # of the looks that two sources share at an offset
BANDS = 5  # of 12 or 13 bits: at up to 4 differing bits one of them is surely equal
MOST_ALIKE = 64  # a picture that is found more often (a logo, a test card) tells nothing
LONGEST_GAP_S = 12.0  # between shared looks, for what lies between to be the same


@dataclass(frozen=True)
class Looks:
    """The looks of one source, in order of time."""

    times_s: np.ndarray
    hashes: np.ndarray
    """uint64."""
    seen: np.ndarray
    """Standard deviation of luma that the hash describes, of 255."""


def find_copies(sources: Sequence[Looks]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Per source and look: (how many different pictures show that this is a copy of an earlier
    source in the list, which one); (0, -1) where there is none.

    The list is in order of preference: the first of several copies is the original.
    """
    found = [
        (np.zeros(len(looks.times_s), np.int32), np.full(len(looks.times_s), -1))
        for looks in sources
    ]
    for (original, copy), offsets_s in candidates(sources).items():
        a, b = sources[copy], sources[original]
        is_shared, pictures = align(a, b, offset_s=best_offset(offsets_s))
        votes, which = found[copy]
        better = is_shared & (pictures > votes)
        votes[better], which[better] = pictures, original
    return found


def candidates(sources: Sequence[Looks]) -> dict[tuple[int, int], list[float]]:
    """(earlier, later source) -> offsets in seconds between looks that show the same picture."""
    counts = [len(looks.times_s) for looks in sources]
    source = np.repeat(np.arange(len(sources)), counts)
    if not len(source):
        return {}
    times_s = np.concatenate([looks.times_s for looks in sources])
    hashes = np.concatenate([looks.hashes for looks in sources])
    sound = np.concatenate([looks.seen for looks in sources]) >= LEAST_SEEN
    pairs = defaultdict(list)
    for i, j in _alike(hashes, np.flatnonzero(sound)):
        if source[i] != source[j]:
            first, second = (i, j) if source[i] < source[j] else (j, i)
            pairs[int(source[first]), int(source[second])].append(
                float(times_s[first] - times_s[second])
            )
    return pairs


def _alike(hashes: np.ndarray, which: np.ndarray) -> set[tuple[int, int]]:
    """Pairs of positions, among `which`, whose hashes are the same to SAME_BITS."""
    found: set[tuple[int, int]] = set()
    edges = np.linspace(0, 64, BANDS + 1).astype(np.uint64)
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        band = (hashes[which] >> low) & ((np.uint64(1) << (high - low)) - np.uint64(1))
        order = which[np.argsort(band, kind="stable")]
        bounds = np.flatnonzero(np.diff(np.sort(band))) + 1
        for group in np.split(order, bounds):
            if not 2 <= len(group) <= MOST_ALIKE:
                continue
            i, j = np.triu_indices(len(group), 1)
            near = distance(hashes[group[i]], hashes[group[j]]) <= SAME_BITS
            found.update(zip(group[i[near]].tolist(), group[j[near]].tolist(), strict=True))
    return found


def best_offset(offsets_s: list[float]) -> float:
    """The middle of the tightest cluster: the window of twice the tolerance that holds most."""
    ordered = np.sort(offsets_s)
    ends = np.searchsorted(ordered, ordered + 2 * TOLERANCE_S, side="right")
    start = int(np.argmax(ends - np.arange(len(ordered))))
    return float(np.median(ordered[start : ends[start]]))


def align(a: Looks, b: Looks, *, offset_s: float) -> tuple[np.ndarray, int]:
    """(which looks of a lie where a shows the same as b, by how many different pictures that is
    known), with b's clock ahead of a's by offset_s.
    """
    at = a.times_s + offset_s
    nearest = np.abs(b.times_s[None] - at[:, None]).argmin(axis=1)
    shared = np.abs(b.times_s[nearest] - at) <= TOLERANCE_S
    shared &= (a.seen >= LEAST_SEEN) & (b.seen[nearest] >= LEAST_SEEN)
    same = shared & (distance(a.hashes, b.hashes[nearest]) <= SAME_BITS)
    within = np.zeros(len(at), dtype=bool)
    if same.sum() < AGREEMENT * shared.sum():
        return within, 0
    looks = np.flatnonzero(same)
    within[looks] = True
    for i, j in zip(looks[:-1], looks[1:], strict=True):
        if a.times_s[j] - a.times_s[i] <= LONGEST_GAP_S and not (shared & ~same)[i:j].any():
            within[i:j] = True
    return within, different(a.hashes[looks])


def different(hashes: np.ndarray) -> int:
    """How many pictures there are that are unlike each other."""
    kept = np.zeros(0, np.uint64)
    for value in hashes:
        if (distance(kept, value) >= OTHER_BITS).all():
            kept = np.append(kept, value)
    return len(kept)


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Bits in which hashes differ."""
    return np.bitwise_count(a ^ b)
