"""Matroska files (RFC 9559) whose elements lie, and VP9 packets that ask for another size."""

import io
import itertools
import struct
from collections.abc import Iterable

from curation.bench.hostile.plain import HUGE_PX, LARGE_PX, SIDE_PX, video


def element(name: str, payload: bytes | int | str | float) -> bytes:
    """An EBML element; the size takes eight bytes."""
    if isinstance(payload, int):
        payload = payload.to_bytes(8)
    elif isinstance(payload, float):
        payload = struct.pack(">d", payload)
    elif isinstance(payload, str):
        payload = payload.encode()
    return bytes.fromhex(name) + (len(payload) | 1 << 56).to_bytes(8) + payload


def matroska(
    packets: list[bytes],
    *,
    info: bytes = b"",
    track: bytes = b"",
    parts: bytes = b"",
    size: tuple[int, int] = (SIDE_PX, SIDE_PX),
    clusters: Iterable[int] | None = None,
    tracks: int = 1,
) -> bytes:
    """VP9 packets in a Matroska file: elements added to its parts, a cluster per packet with the
    stamps given.
    """
    scale = b"" if info.startswith(bytes.fromhex("2AD7B1")) else element("2AD7B1", 1_000_000)
    sides = element("B0", size[0]) + element("BA", size[1])
    entries = b"".join(
        element(
            "AE",
            element("D7", i + 1) + element("73C5", i + 1) + element("83", 1)
            + element("86", "V_VP9") + element("E0", sides + track),
        )
        for i in range(tracks)
    )  # fmt: skip
    stamps = range(0, 2**63, 40) if clusters is None else clusters
    blocks = b"".join(
        element("1F43B675", element("E7", stamp) + element("A3", b"\x81\0\0\x80" + packet))
        for stamp, packet in zip(stamps, packets, strict=False)
    )
    head = element("1A45DFA3", element("4282", "matroska"))
    body = element("1549A966", scale + info) + element("1654AE6B", entries) + parts + blocks
    return head + element("18538067", body)


def matroskas(secret: str) -> dict[str, bytes]:
    packets = vp9_packets()

    def stamped(*stamps: int) -> bytes:
        return matroska(
            packets, clusters=itertools.chain(stamps, range(stamps[-1] + 40, 2**63, 40))
        )

    nan, name = float("nan"), '../../../../tmp/escaped "q" <i>\0\n|$(id)'
    attached = element("466E", name) + element("4660", "application/x-truetype-font")
    attached += element("465C", b"font") + element("46AE", 7)
    linked = element("3E83BB", secret) + element("3C83AB", secret)
    linked += element("3EB923", b"n" * 16) + element("3CB923", b"p" * 16)
    edition = element("45BC", 1) + element("45DB", 1) + element("45DD", 1)
    chapter = element("73C4", 1) + element("91", 0) + element("6E67", b"s" * 16)
    chapters = element("1043A770", element("45B9", edition + element("B6", chapter)))
    pose = element("7673", element("7674", nan) + element("7675", nan) + element("7676", nan))
    end = 2**62
    return {
        "linked segments.mkv": matroska(packets, info=linked, parts=chapters),
        "attachments.mkv": matroska(packets, parts=element("1941A469", element("61A7", attached))),
        "no duration.mkv": matroska(packets, info=element("4489", nan)),
        "a duration without end.mkv": matroska(packets, info=element("4489", float("inf"))),
        "ticks of nothing.mkv": matroska(packets, info=element("2AD7B1", 0)),
        "ticks of centuries.mkv": matroska(packets, info=element("2AD7B1", 2**63 - 1)),
        "turned by no number.mkv": matroska(packets, track=pose),
        "shown at no size.mkv": matroska(packets, track=element("54B0", 0) + element("54BA", 0)),
        "shown at any size.mkv": matroska(
            packets, track=element("54B0", 2**32 - 1) + element("54BA", 1)
        ),
        "30000 in the header.mkv": matroska(packets, size=(HUGE_PX, HUGE_PX)),
        "30000 in the stream.mkv": matroska([vp9_size(packets[0], HUGE_PX), *packets[1:]]),
        "grows to 30000.mkv": matroska([*packets[:3], vp9_size(packets[0], HUGE_PX), *packets[3:]]),
        "grows to 8192.mkv": matroska([*packets[:3], vp9_size(packets[0], LARGE_PX), *packets[3:]]),
        "thousands of streams.mkv": matroska(packets, tracks=5000),
        "packets of nothing.mkv": matroska([packets[0], *[b""] * 20, *packets[1:]]),
        "stamps that jump.mkv": stamped(0, 40, end, 80, end + 1),
        "stamps from the end of time.mkv": stamped(end),
        "stamps that go back.mkv": stamped(400, 360, 320, 280, 240, 200, 160),
        "stamps that stand still.mkv": stamped(7, 7, 7, 7, 7, 7, 7, 7),
    }


def vp9_packets() -> list[bytes]:
    import av

    data = video("webm", "libvpx-vp9")
    with av.open(io.BytesIO(data)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def vp9_size(keyframe: bytes, side_px: int) -> bytes:
    """A keyframe whose uncompressed header (VP9 specification, 6.2) asks for another size: bits
    36 to 68.
    """
    bits = int.from_bytes(keyframe[:9])
    size = (side_px - 1) << 16 | (side_px - 1)
    low = 72 - 68
    bits = bits & ~((2**32 - 1) << low) | size << low
    return bits.to_bytes(9) + keyframe[9:]
