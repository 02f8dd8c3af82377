"""mp4 and QuickTime files that lie in one of their boxes (ISO/IEC 14496-12)."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from curation.bench.hostile.plain import HUGE_PX, NUM_FRAMES, video

MILLIONS = 20_000_000  # samples of which a demuxer keeps 40 bytes each


def box(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(payload), kind) + payload


def edit(data: bytes, path: str, change: Callable[[bytes], bytes]) -> bytes:
    """The file with the payload of one box (such as moov/trak/tkhd) changed, sizes of the boxes
    around it kept right.
    """
    first, _, rest = path.partition("/")
    out, at, done = [], 0, False
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        payload = data[at + 8 : at + size]
        if kind == first.encode() and not done:
            payload, done = (edit(payload, rest, change) if rest else change(payload)), True
        out.append(box(kind, payload))
        at += size
    assert done, f"no box {first} of {path}"
    return b"".join(out)


STBL = "moov/trak/mdia/minf/stbl"
FULL = bytes(4)  # version 0, no flags


def movies(secret: str) -> dict[str, bytes]:
    """mp4 and QuickTime files that lie in one of their boxes."""
    plain = video("mp4", "libx264", {"use_editlist": "0"})
    fragments = video("mp4", "libx264", {"movflags": "frag_keyframe+empty_moov+default_base_moof"})
    size = video_size(plain)
    u32 = struct.Struct(">I").pack

    def sizes(count: int, each: int) -> bytes:
        return FULL + u32(each) + u32(count)

    def table(data: bytes, num_samples: int, *, at: int, length: int) -> bytes:
        """All samples of the same bytes, all in one chunk."""
        for name, payload in {
            "stsz": sizes(num_samples, length),
            "stts": FULL + struct.pack(">3I", 1, num_samples, 1),
            "stsc": FULL + struct.pack(">4I", 1, 1, num_samples, 1),
            "stco": FULL + struct.pack(">2I", 1, at),
        }.items():
            data = edit(data, f"{STBL}/{name}", lambda _, payload=payload: payload)
        return data

    def every_sample_the_first(data: bytes, count: int) -> bytes:
        """A chunk of one sample each, all of them at the place of the first keyframe."""
        chunk = struct.unpack_from(">I", find(data, f"{STBL}/stco"), 8)[0]
        length = struct.unpack_from(">I", find(data, f"{STBL}/stsz"), 12)[0]
        data = table(data, count, at=chunk, length=length)
        data = edit(data, f"{STBL}/stsc", lambda _: FULL + struct.pack(">4I", 1, 1, 1, 1))
        chunks = struct.pack(f">{count + 1}I", count, *[chunk] * count)
        return edit(data, f"{STBL}/stco", lambda _: FULL + chunks)

    def matrix(*values: int) -> Callable[[bytes], bytes]:
        return lambda tkhd: tkhd[:40] + struct.pack(">9i", *values) + tkhd[76:]

    def stamp(value: int) -> Callable[[bytes], bytes]:
        return lambda tfdt: b"\1\0\0\0" + struct.pack(">Q", value)

    nested = b""
    for _ in range(5000):
        nested = box(b"moov", nested)
    one = 1 << 16
    external = box(b"dref", FULL + u32(1) + box(b"alis", FULL + alias(secret)))
    linked = box(b"dref", FULL + u32(1) + box(b"url ", FULL + b"http://127.0.0.1:1/x.mp4\0"))
    redirect = box(b"rmra", box(b"rmda", box(b"rdrf", FULL + b"url " + u32(40) + secret.encode())))
    moov = find(plain, "moov")
    trak = box(b"trak", find(plain, "moov/trak"))
    compressed = zlib.compress(bytes(200 << 20), 1)
    return {
        "external alias.mov": edit(plain, "moov/trak/mdia/minf/dinf", lambda _: external),
        "external url.mov": edit(plain, "moov/trak/mdia/minf/dinf", lambda _: linked),
        "reference movie.mov": box(b"ftyp", b"qt  " + bytes(4)) + box(b"moov", redirect),
        "empty moov.mp4": edit(plain, "moov", lambda _: b""),
        "moov alone.mp4": box(b"moov", moov),
        "no moov.mp4": edit(plain, "moov", lambda _: b"").replace(b"moov", b"free"),
        "no mdat.mp4": edit(plain, "mdat", lambda _: b""),
        "moof alone.mp4": fragments[fragments.index(b"moof") - 4 :],
        "boxes in boxes.mp4": box(b"ftyp", b"isom" + bytes(4)) + nested,
        "a box without end.mp4": plain[:32] + struct.pack(">I4sQ", 1, b"free", 2**63 - 1),
        "compressed moov.mov": box(
            b"moov",
            box(
                b"cmov",
                box(b"dcom", b"zlib") + box(b"cmvd", u32(2**31 - 1) + compressed),
            ),
        ),
        "thousands of streams.mp4": edit(plain, "moov", lambda m: m + trak * 5000),
        "millions of samples.mp4": table(plain, MILLIONS, at=48, length=1),
        "samples of nothing.mp4": table(plain, 100_000, at=48, length=0),
        "samples beyond the end.mp4": table(plain, NUM_FRAMES, at=2**32 - 9, length=2**31 - 1),
        "samples beyond any disk.mp4": edit(
            plain,
            STBL,
            lambda stbl: (
                stbl.replace(b"stco", b"free") + box(b"co64", FULL + struct.pack(">IQ", 1, 2**62))
            ),
        ),
        "one frame again and again.mp4": every_sample_the_first(plain, 20_000),
        "30000 in the header.mp4": edit(
            plain, f"{STBL}/stsd", lambda s: s.replace(size, struct.pack(">2H", HUGE_PX, HUGE_PX))
        ),
        "no size in the header.mp4": edit(
            plain, f"{STBL}/stsd", lambda s: s.replace(size, bytes(4))
        ),
        "no time scale.mp4": edit(
            plain, "moov/trak/mdia/mdhd", lambda m: m[:12] + bytes(8) + m[20:]
        ),
        "hours of nothing.mp4": edit(
            plain, f"{STBL}/stts", lambda _: FULL + struct.pack(">3I", 1, NUM_FRAMES, 2**31 - 1)
        ),
        "steps backwards.mp4": edit(
            plain, f"{STBL}/stts", lambda _: FULL + struct.pack(">3I", 1, NUM_FRAMES, 2**32 - 512)
        ),
        "shown in the past.mp4": edit(
            with_offsets(plain), f"{STBL}/ctts", lambda c: b"\1\0\0\0" + ctts(-(2**31) + 1)
        ),
        "shown in the future.mp4": edit(
            with_offsets(plain), f"{STBL}/ctts", lambda c: b"\1\0\0\0" + ctts(2**31 - 1)
        ),
        "begins at the end of time.mp4": edit(fragments, "moof/traf/tfdt", stamp(2**62)),
        "begins before time.mp4": edit(fragments, "moof/traf/tfdt", stamp(2**64 - 2**40)),
        "a matrix of zeros.mp4": edit(plain, "moov/trak/tkhd", matrix(*[0] * 9)),
        "a slanted matrix.mp4": edit(
            plain, "moov/trak/tkhd", matrix(one, one // 2, 0, one // 3, 2 * one, 0, 0, 0, 1 << 30)
        ),
        "a matrix without height.mp4": edit(
            plain, "moov/trak/tkhd", matrix(one, 0, 0, 0, 0, 0, 0, 0, 1 << 30)
        ),
        "pixels without width.mp4": edit(
            plain, "moov/trak/mdia/minf/stbl/stsd", lambda s: pasp(s, 0, 0)
        ),
        "pixels as wide as the sea.mp4": edit(
            plain, "moov/trak/mdia/minf/stbl/stsd", lambda s: pasp(s, 2**31 - 1, 1)
        ),
    }


def find(data: bytes, path: str) -> bytes:
    """The payload of a box."""
    found = []
    edit(data, path, lambda payload: found.append(payload) or payload)
    return found[0]


def with_offsets(data: bytes) -> bytes:
    return edit(data, STBL, lambda stbl: stbl + box(b"ctts", ctts(0)))


def ctts(offset: int) -> bytes:
    return struct.pack(">IIi", 1, NUM_FRAMES, offset)


def pasp(stsd: bytes, width: int, height: int) -> bytes:
    """The sample description with another pixel aspect at the end of its only entry."""
    entry = stsd[8:]
    ratio = box(b"pasp", struct.pack(">2I", width, height))
    return stsd[:8] + struct.pack(">I", len(entry) + len(ratio)) + entry[4:] + ratio


def alias(path: str) -> bytes:
    """A Mac alias record with an absolute path (type 2) and a name."""
    name = Path(path).name.encode()[:63]
    head = bytes(10) + b"\4disk".ljust(28, b"\0") + bytes(12)
    head += bytes([len(name)]) + name.ljust(63, b"\0") + bytes(16) + b"\0\1\0\1" + bytes(16)
    long = path.encode()
    fields = struct.pack(">2H", 2, len(long)) + long + bytes(len(long) % 2)
    return head + fields + struct.pack(">2H", 0xFFFF, 0)


def video_size(data: bytes) -> bytes:
    """Width and height as they stand in a sample description."""
    return find(data, f"{STBL}/stsd")[40:44]
