"""Files made to attack whoever opens them: what each does to a reader that trusts it.

Written byte by byte where no encoder would write such a file. Every one is small; what it claims is
not.
"""

import io
import itertools
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

SIDE_PX = 64
NUM_FRAMES = 12
HUGE_PX = 30000
BOMB_PX = 8192  # the largest side that is opened
MILLIONS = 20_000_000  # samples of which a demuxer keeps 40 bytes each


def write_hostile(folder: Path, *, secret: Path, url: str) -> list[Path]:
    """Write all of them. Some name `secret`, a real video beside the footage, and `url`: whoever
    opens either has been led astray.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = {**playlists(str(secret), url), **movies(str(secret)), **matroskas(str(secret))}
    found |= {**pictures(), **streams()}
    paths = []
    for name, data in found.items():
        paths.append(folder / name)
        paths[-1].write_bytes(data)
    return paths


# -- files that name others ------------------------------------------------------------------------


def playlists(secret: str, url: str) -> dict[str, bytes]:
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"
    dash = (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4">'
        '<Representation id="1" bandwidth="1"><BaseURL>{}</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>"
    )
    sdp = (
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
        "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
    )
    texts = {
        "hls of a file.mp4": hls.format(secret),
        "hls of a url.mp4": hls.format(url),
        "hls with a key.mp4": hls.replace(
            "#EXTINF", f'#EXT-X-KEY:METHOD=AES-128,URI="{url}"\n#EXTINF'
        ).format(secret),
        "master hls.mp4": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{url}\n",
        "concat.mp4": f"ffconcat version 1.0\nfile '{secret}'\n",
        "concat of a url.mp4": f"ffconcat version 1.0\nfile '{url}'\n",
        "dash.mp4": dash.format(url),
        "session.mp4": sdp,
        "reference.mov": f"RTSPtext\n{url}\n",
        "list.asf": f"[Reference]\nRef1={url}\n",
    }
    return {name: text.encode() for name, text in texts.items()}


# -- mp4 -------------------------------------------------------------------------------------------


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


# -- Matroska --------------------------------------------------------------------------------------


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
        "grows to 8192.mkv": matroska([*packets[:3], vp9_size(packets[0], BOMB_PX), *packets[3:]]),
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


# -- pictures --------------------------------------------------------------------------------------


def pictures() -> dict[str, bytes]:
    """Still images and GIFs: a small file, a large canvas."""
    import cv2

    image = np.random.default_rng(0).integers(0, 255, (SIDE_PX, SIDE_PX, 3), np.uint8)

    def encoded(suffix: str) -> bytes:
        ok, data = cv2.imencode(suffix, image)
        assert ok
        return data.tobytes()

    photo, png = encoded(".jpg"), encoded(".png")
    sof = photo.index(b"\xff\xc0") + 5
    huge = struct.pack(">2H", HUGE_PX, HUGE_PX)
    black = zlib.compress(bytes((4 * BOMB_PX + 1) * BOMB_PX), 1)
    text = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * (32 << 20), 1))
    head = png[:8]
    bmp = encoded(".bmp")
    return {
        "30000.jpg": photo[:sof] + huge + photo[sof + 4 :],
        "30000.png": head + png_header(HUGE_PX, bits=8, colour=2) + png[33:],
        "8192.png": head
        + png_header(BOMB_PX, bits=8, colour=6)
        + png_chunk(b"IDAT", black)
        + png_chunk(b"IEND", b""),
        "megabytes of comment.png": png[:33] + text + png[33:],
        "30000.bmp": bmp[:18] + struct.pack("<2i", HUGE_PX, HUGE_PX) + bmp[26:],
        "65535.gif": gif(65535, num_frames=2),
        "many times 8192.gif": gif(BOMB_PX, num_frames=20_000),
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


# -- bare streams ----------------------------------------------------------------------------------


def streams() -> dict[str, bytes]:
    annexb = video("h264", "libx264")
    later = annexb.index(b"\0\0\1", annexb.index(b"\0\0\1") + 3)  # behind the first unit, the SPS
    return {
        "30000.h264": sps(HUGE_PX) + annexb[later:],
        "8192.h264": sps(BOMB_PX) + annexb[later:],
        "nothing but start codes.h264": b"\0\0\1" * 200_000,
        "one parameter set a million times.h264": sps(SIDE_PX) * 50_000,
        "all sync bytes.ts": b"\x47" * 188 * 5000,
        "pages of nothing.ogg": b"OggS".ljust(27, b"\0") * 20_000,
        "tags without end.flv": b"FLV\1\1\0\0\0\x09" + bytes(4) + b"\x09\0\0\0" * 100_000,
        "a riff in a riff.avi": b"RIFF\xff\xff\xff\xffAVI LIST\xff\xff\xff\xff" * 20_000,
    }


def sps(side_px: int) -> bytes:
    """An H.264 sequence parameter set (ITU-T H.264, 7.3.2.1.1): baseline, level 6.2, 16 reference
    frames.
    """
    side_mb = side_px // 16
    ue = [0, 0, 0, 0, 16]  # id, log2_max_frame_num-4, poc type, log2_max_poc-4, reference frames
    bits = "".join(golomb(n) for n in ue) + "0" + golomb(side_mb - 1) + golomb(side_mb - 1)
    bits += "1" + "1" + "0" + "0" + "1"  # frames only, direct 8x8, no crop, no VUI, stop bit
    bits = bits.ljust(-(-len(bits) // 8) * 8, "0")
    return b"\0\0\0\1\x67" + bytes([66, 0xC0, 62]) + int(bits, 2).to_bytes(len(bits) // 8)


def golomb(number: int) -> str:
    bits = f"{number + 1:b}"
    return "0" * (len(bits) - 1) + bits


# -- a video to start from -------------------------------------------------------------------------


def frames() -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 255, (SIDE_PX, SIDE_PX + 4 * NUM_FRAMES, 3), np.uint8)
    for i in range(NUM_FRAMES):
        yield np.ascontiguousarray(wide[:, 4 * i : 4 * i + SIDE_PX])


def video(format: str, codec: str, options: dict[str, str] | None = None) -> bytes:
    """A second of video, sound in every way; its mp4 has the moov behind the mdat."""
    import av

    out = io.BytesIO()
    with av.open(out, "w", format=format, options=options or {}) as target:
        stream: Any = target.add_stream(codec, rate=Fraction(12))
        stream.width = stream.height = SIDE_PX
        stream.pix_fmt = "yuv420p"
        stream.options = {"threads": "1", "bf": "0", "g": "6"}
        for i, image in enumerate(frames()):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = i
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return out.getvalue()
