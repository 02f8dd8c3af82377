"""Good files made bad: seeded damage to bytes, as disks, networks and attackers do it. Pure.

A single flipped bit in a header does more than a hundred in the pictures, so every other variant
aims at what a demuxer reads first: the beginning of the file and an mp4's `moov`, wherever it lies.
"""

import random
import struct
from collections.abc import Callable, Iterator

HEADER_BYTES = 4096  # of most files: all that is not pictures
BOXES = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1", b"avcC", b"hev1", b"hvcC",
         b"stts", b"ctts", b"stsc", b"stsz", b"stco", b"co64", b"stss", b"elst", b"mdhd", b"tkhd",
         b"mvhd", b"dref", b"udta", b"meta", b"mdat", b"ftyp", b"moof", b"traf", b"trun",
         b"tfhd")  # fmt: skip
SIZES = (0, 1, 7, 8, 9, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)  # each has a meaning or an overflow


def variants(data: bytes, *, seed: int, each: int) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of `each` files per kind of damage; the same seed gives the same files."""
    for kind, harm in DAMAGE.items():
        for i in range(each):
            rng = random.Random(f"{seed} {kind} {i}")
            yield f"{kind}-{i:03d}", harm(data, rng)


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    """One bit in half of the files, up to a hundred in the others."""
    spans = _headers(data) if rng.random() < 0.5 else [(0, len(data))]
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 10, 30, 100))):
        start, end = rng.choice(spans)
        out[rng.randrange(start, end)] ^= 1 << rng.randrange(8)
    return bytes(out)


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def zero_hole(data: bytes, rng: random.Random) -> bytes:
    """A stretch of up to a tenth of the file that a download never filled."""
    start = rng.randrange(len(data))
    end = min(len(data), start + rng.randrange(1, max(2, len(data) // 10)))
    return data[:start] + bytes(end - start) + data[end:]


def swap_chunks(data: bytes, rng: random.Random) -> bytes:
    size = rng.randrange(1, max(2, len(data) // 8))
    a, b = sorted(rng.randrange(len(data) - size + 1) for _ in range(2))
    b = max(b, a + size)
    chunk = data[b : b + size]
    return data[:a] + chunk + data[a + size : b] + data[a : a + size] + data[b + len(chunk) :]


def repeat_chunk(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    end = start + rng.randrange(1, max(2, len(data) // 8))
    return data[:end] + data[start:end] * rng.choice((1, 1, 5)) + data[end:]


def wrong_number(data: bytes, rng: random.Random) -> bytes:
    """A size, count or offset in the header replaced by one that overflows something.

    In an mp4 the size or the first field of a box, elsewhere any four bytes.
    """
    places = [at for box in BOXES if (at := data.find(box)) >= 4]
    if places:
        at = rng.choice(places)
        at += rng.choice((-4, 4, 8, 12, 16, 20, rng.randrange(4, 64)))
    else:
        at = rng.randrange(min(len(data), HEADER_BYTES))
    at = min(max(at, 0), len(data) - 4)
    number = rng.choice((*SIZES, rng.getrandbits(32)))
    return data[:at] + struct.pack(">I", number) + data[at + 4 :]


DAMAGE: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "flip": flip_bits,
    "cut": truncate,
    "hole": zero_hole,
    "swap": swap_chunks,
    "repeat": repeat_chunk,
    "number": wrong_number,
}


def _headers(data: bytes) -> list[tuple[int, int]]:
    """Spans of bytes that tell how to read the others."""
    spans = [(0, min(len(data), HEADER_BYTES))]
    at = data.find(b"moov")
    return [*spans, (at, min(len(data), at + 8 * HEADER_BYTES))] if at >= 0 else spans
