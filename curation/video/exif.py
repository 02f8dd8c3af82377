"""Whether a still image is to be mirrored before it is shown.

FFmpeg turns the eight orientations of EXIF into a display matrix, of which PyAV tells the angle
alone. For the four mirrored ones that angle is right for the picture flipped upside down.
"""

from pathlib import Path
from typing import Any

import numpy as np

from curation.video.open import Source

ORIENTATION = 0x0112  # tag of EXIF 2.32, 4.6.4
MIRRORED = (2, 4, 5, 7)
PLACES = (b"Exif\0\0", b"eXIf", b"EXIF")  # JPEG and old WebP; PNG; WebP, before the chunk's size
SEARCH_BYTES = 1 << 17  # a JPEG's comes within its first segments of at most 64 KiB


def file_bytes(source: Source) -> bytes:
    """All of a file, which stays where it was read to."""
    if isinstance(source, bytes):
        return source
    if isinstance(source, str | Path):
        return Path(source).read_bytes()
    at = source.tell()
    source.seek(0)
    data = source.read()
    source.seek(at)
    return data


def is_mirrored(data: bytes) -> bool:
    return orientation(data) in MIRRORED


def orientation(data: bytes) -> int:
    """1 to 8 (EXIF 2.32, 4.6.4 A); 1, as stored, where nothing says otherwise."""
    head = data[:SEARCH_BYTES] if data[:2] == b"\xff\xd8" else data
    for mark in PLACES:
        at = head.find(mark)
        if at < 0:
            continue
        begin = at + len(mark) + (4 if mark == b"EXIF" else 0)
        begin += 6 if head[begin : begin + 6] == b"Exif\0\0" else 0
        if (found := _of_tiff(head[begin:])) is not None:
            return found
    return 1


def _of_tiff(data: bytes) -> int | None:
    """From a TIFF header and its first directory."""
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return None
    order = "little" if data[:2] == b"II" else "big"
    first = int.from_bytes(data[4:8], order)
    count = int.from_bytes(data[first : first + 2], order)
    for i in range(count):
        entry = data[first + 2 + 12 * i : first + 14 + 12 * i]
        if len(entry) == 12 and int.from_bytes(entry[:2], order) == ORIENTATION:
            value = int.from_bytes(entry[8:10], order)
            return value if 1 <= value <= 8 else None
    return None


def flip(picture: Any) -> None:
    """Turn the decoder's picture upside down, in place: its display matrix stays with it."""
    picture.make_writable()
    for plane in picture.planes:
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)
        plane.update(np.ascontiguousarray(rows[::-1]))
