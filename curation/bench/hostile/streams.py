"""Bare streams and containers of nothing: what keeps a demuxer searching, or a decoder asking."""

from curation.bench.hostile.plain import HUGE_PX, LARGE_PX, SIDE_PX, video


def streams() -> dict[str, bytes]:
    annexb = video("h264", "libx264")
    later = annexb.index(b"\0\0\1", annexb.index(b"\0\0\1") + 3)  # behind the first unit, the SPS
    return {
        "30000.h264": sps(HUGE_PX) + annexb[later:],
        "8192.h264": sps(LARGE_PX) + annexb[later:],
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
