"""Still images and GIFs: a small file, a large canvas."""

import struct
import zlib

import numpy as np

from curation.bench.hostile.plain import HUGE_PX, LARGE_PX, SIDE_PX


def pictures() -> dict[str, bytes]:
    import cv2

    image = np.random.default_rng(0).integers(0, 255, (SIDE_PX, SIDE_PX, 3), np.uint8)

    def encoded(suffix: str) -> bytes:
        ok, data = cv2.imencode(suffix, image)
        assert ok
        return data.tobytes()

    photo, png = encoded(".jpg"), encoded(".png")
    sof = photo.index(b"\xff\xc0") + 5
    huge = struct.pack(">2H", HUGE_PX, HUGE_PX)
    black = zlib.compress(bytes((4 * LARGE_PX + 1) * LARGE_PX), 1)
    text = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * (32 << 20), 1))
    head = png[:8]
    bmp = encoded(".bmp")
    return {
        "30000.jpg": photo[:sof] + huge + photo[sof + 4 :],
        "30000.png": head + png_header(HUGE_PX, bits=8, colour=2) + png[33:],
        "8192.png": head
        + png_header(LARGE_PX, bits=8, colour=6)
        + png_chunk(b"IDAT", black)
        + png_chunk(b"IEND", b""),
        "megabytes of comment.png": png[:33] + text + png[33:],
        "30000.bmp": bmp[:18] + struct.pack("<2i", HUGE_PX, HUGE_PX) + bmp[26:],
        "65535.gif": gif(65535, num_frames=2),
        "many times 8192.gif": gif(LARGE_PX, num_frames=20_000),
    }


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    body = kind + payload
    return struct.pack(">I", len(payload)) + body + struct.pack(">I", zlib.crc32(body))


def png_header(side_px: int, *, bits: int, colour: int) -> bytes:
    return png_chunk(b"IHDR", struct.pack(">2I5B", side_px, side_px, bits, colour, 0, 0, 0))


def gif(side_px: int, *, num_frames: int) -> bytes:
    """A large canvas of which each frame paints one pixel and asks to clear all of it: 0.2 s of
    work in 27 bytes.
    """
    head = b"GIF89a" + struct.pack("<2H3B", side_px, side_px, 0x80, 0, 0) + bytes(3) + b"\xff" * 3
    control = b"!\xf9\4" + struct.pack("<BHBB", 2 << 2, 1, 0, 0)
    pixel = b"," + struct.pack("<4HB", 0, 0, 1, 1, 0) + b"\2\2\x4c\1\0"
    return head + (control + pixel) * num_frames + b";"
