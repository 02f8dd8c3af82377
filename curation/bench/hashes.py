"""A dataset of random hashes, some of whose clips are copies of others with flipped bits."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from curation.meters.phash import LOOKS_PER_S, PART_EVERY, Phash, pack
from curation.stages.dedup import Dedup

CLIP_S = 2, 8  # shortest and longest: five seconds on average, as training clips have
SHARE = 0.1  # of the clips, that are copies
FLIPS = 0.01, 0.05, 0.1, 0.14  # of the bits: a better copy than most of real footage … a poor one
BLOCK = 1 << 18  # hashes flipped at a time
SOURCE_LOOKS = 3600 * LOOKS_PER_S  # clips lie anywhere in an hour
SEEN = 24  # quarter levels of contrast and of movement: every look counts, as of usual footage
CHUNK = 1000  # clips: tables come in the pieces in which they were written
STREAM = 0.1  # bits per pixel


class Planted(NamedTuple):
    clips: pa.Table
    """What dedup reads of them."""
    originals: np.ndarray
    copies: np.ndarray
    """Rows; the copy at i is of the original at i, with FLIPS[i % 4] of the bits flipped."""


def planted(num: int, *, seed: int = 0) -> Planted:
    """Clips whose last tenth are copies of others; their middles and centres are copied as well."""
    rng = np.random.default_rng(seed)
    num_copies = int(SHARE * num)
    originals = rng.permutation(num - num_copies)[:num_copies]
    copies = np.arange(num - num_copies, num)
    count = rng.integers(CLIP_S[0] * LOOKS_PER_S, CLIP_S[1] * LOOKS_PER_S + 1, num)
    # on half seconds: looks that have parts meet looks that have them
    start = rng.integers(0, SOURCE_LOOKS // PART_EVERY, num) * PART_EVERY
    count[copies] = count[originals]
    num_parts = -(-count // PART_EVERY)
    share = np.resize(FLIPS, num_copies).astype(np.float32)
    hashes = {
        name: _hashes(n, each, originals=originals, share=share, rng=rng)
        for name, n, each in (
            ("phash", count, 1),
            ("phash_change", count, 1),
            ("phash_parts", num_parts, 4),
        )
    }
    seen = np.full(4 * int(count.sum()), SEEN, np.uint8)
    columns = {name: _binary(data, count) for name, (data, count) in hashes.items()}
    columns |= {"phash_seen": _binary(seen, 4 * count), "phash_start_look": pa.array(start)}
    assert columns.keys() == set(Phash.writes.names)
    nothing = pa.nulls(num, pa.string())
    columns |= {"clip_id": pa.array([f"{i:032x}" for i in range(num)]), "reject": nothing}
    columns |= {"video_id": _same("video", num), "error": nothing}
    columns |= {"num_frames": pa.array(3 * count)}
    columns |= {name: pa.array(np.full(num, 1280, np.int32)) for name in ("width", "height")}
    columns |= {"bits_per_pixel": pa.array(rng.random(num, np.float32) * STREAM)}
    columns |= {"sharpness_pct": pa.array(np.full(num, 50, np.float32))}
    zero = pa.array(np.zeros(num, np.float32))
    columns |= {name: zero for name in ("border_pct", "duplicate_frames_pct", "overlay_pct")}
    columns |= {"corrupt_frames": pa.array(np.zeros(num, np.int32))}
    assert columns.keys() == set(Dedup.reads["clips"])
    clips = pa.table(columns)
    chunks = [clips.slice(start, CHUNK) for start in range(0, num, CHUNK)]
    return Planted(pa.concat_tables(chunks), originals, copies)


def _same(text: str, num: int) -> pa.Array:
    return pa.array(np.full(num, text))


def _hashes(count, each, *, originals, share, rng) -> tuple[np.ndarray, np.ndarray]:
    """(hashes of all clips end to end, how many each clip has): each of them per look."""
    count = count * each
    first = np.cumsum(count) - count
    hashes = rng.integers(0, 1 << 64, int(count.sum()), dtype=np.uint64)
    num_copies = len(originals)
    at = first[-num_copies]
    for start in range(0, num_copies, 4096):
        of = originals[start : start + 4096]
        n = count[of]
        inside = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
        found = hashes[np.repeat(first[of], n) + inside]
        flips = np.repeat(share[start : start + 4096], n)[:, None]
        end = at + len(found)
        hashes[at:end] = found ^ pack(rng.random((len(found), 64), np.float32) < flips)
        at = end
    return hashes, count


def _binary(values: np.ndarray, count: np.ndarray) -> pa.Array:
    """Runs of so many values as binary, without a copy."""
    offsets = np.concatenate([[0], np.cumsum(count * values.itemsize)])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(values)]
    return pa.Array.from_buffers(pa.large_binary(), len(count), buffers)
