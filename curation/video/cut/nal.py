"""H.264 and HEVC packets as NAL units: just enough to know where a decoder may begin and which
parameter sets a piece of a stream needs.

Sources: ITU-T H.264 (08/2021) sections 7.3.1, 7.4.1, D.1.8; ITU-T H.265 (09/2023) sections 7.3.1.2,
7.4.2.2. Containers hold units with their length in front (mp4, Matroska) or with start codes
(MPEG-TS, "Annex B"); pieces are joined as Annex B, which the mp4 muxer turns back into lengths.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Codec = Literal["h264", "hevc"]
START_CODE = b"\0\0\0\1"

H264_IDR, H264_SEI, H264_SPS, H264_PPS = 5, 6, 7, 8
H264_SLICES = range(1, 6)
SEI_RECOVERY_POINT = 6
HEVC_SLICES = range(0, 32)
HEVC_BLA_N_LP = 18  # a broken link without leading pictures: what a splice leaves of a CRA
HEVC_IDR_OR_BLA = range(16, 21)
HEVC_CRA = 21
HEVC_PARAMETER_SETS = range(32, 35)  # VPS, SPS, PPS
HEVC_SEI = (39, 40)


@dataclass(frozen=True)
class Framing:
    """How a source's packets hold their units, and the parameter sets of its header."""

    codec: Codec
    length_bytes: int
    """Of the length before each unit; 0: start codes."""
    parameter_sets: tuple[bytes, ...]

    def units(self, packet: bytes) -> Iterator[bytes]:
        """The packet's units without length or start code."""
        if self.length_bytes == 0:
            yield from split_annex_b(packet)
            return
        at = 0
        while at + self.length_bytes <= len(packet):
            size = int.from_bytes(packet[at : at + self.length_bytes], "big")
            at += self.length_bytes
            if size:
                yield packet[at : at + size]
            at += size

    def unit_type(self, unit: bytes) -> int:
        return unit_type(unit, self.codec)


def unit_type(unit: bytes, codec: Codec) -> int:
    return unit[0] & 31 if codec == "h264" else unit[0] >> 1 & 63


def framing(codec: Codec, extradata: bytes | None) -> Framing:
    """From the codec's header: avcC (ISO 14496-15 5.3.3.1), hvcC (8.3.3.1) or Annex B."""
    data = extradata or b""
    is_box = len(data) > 6 and data[0] == 1 and data[:3] != b"\0\0\1"
    if not is_box:
        return Framing(codec, 0, tuple(split_annex_b(data)))
    if codec == "h264":
        return Framing(codec, (data[4] & 3) + 1, tuple(_sets_of_avcc(data)))
    return Framing(codec, (data[21] & 3) + 1, tuple(_sets_of_hvcc(data)))


def _sets_of_avcc(data: bytes) -> Iterator[bytes]:
    at = 5
    for mask in (31, 255):
        count, at = data[at] & mask, at + 1
        for _ in range(count):
            size = int.from_bytes(data[at : at + 2], "big")
            yield data[at + 2 : at + 2 + size]
            at += 2 + size
        if at >= len(data):
            return


def _sets_of_hvcc(data: bytes) -> Iterator[bytes]:
    at = 23
    for _ in range(data[22]):
        count = int.from_bytes(data[at + 1 : at + 3], "big")
        kind = data[at] & 63
        at += 3
        for _ in range(count):
            size = int.from_bytes(data[at : at + 2], "big")
            if kind in HEVC_PARAMETER_SETS:
                yield data[at + 2 : at + 2 + size]
            at += 2 + size


def split_annex_b(data: bytes) -> Iterator[bytes]:
    at = data.find(b"\0\0\1")
    while at >= 0:
        end = data.find(b"\0\0\1", at + 3)
        unit = data[at + 3 : end if end >= 0 else len(data)].rstrip(b"\0")
        if unit:
            yield unit
        at = end


def annex_b(units: Iterable[bytes]) -> bytes:
    return b"".join(START_CODE + unit for unit in units)


# -- what a picture is -----------------------------------------------------------------------------


def entry_kind(packet: bytes, framing: Framing) -> Literal["closed", "open"] | None:
    """Whether a decoder may begin with this packet.

    "closed": nothing after it needs anything before it; "open": pictures shown before it do; None:
    nothing promises that later ones do not.
    """
    recovers = False
    for unit in framing.units(packet):
        kind = framing.unit_type(unit)
        if framing.codec == "hevc":
            if kind in HEVC_SLICES:
                return "closed" if kind in HEVC_IDR_OR_BLA else "open" if kind == HEVC_CRA else None
        elif kind == H264_IDR:
            return "closed"
        elif kind == H264_SEI:
            recovers = recovers or _recovers_at_once(unit)
        elif kind in H264_SLICES:
            break
    return "open" if recovers else None


def _recovers_at_once(sei: bytes) -> bool:
    """A recovery point message that counts no frames: exact from this picture on."""
    data = without_emulation(sei)[1:]
    at = 0
    while at + 2 <= len(data) and data[at:] != b"\x80":
        kind, at = _sei_number(data, at)
        size, at = _sei_number(data, at)
        if kind == SEI_RECOVERY_POINT and size:
            bits = Bits(data[at : at + size])
            return bits.ue() == 0 and bits.bit() == 1  # exact_match_flag
        at += size
    return False


def _sei_number(data: bytes, at: int) -> tuple[int, int]:
    total = 0
    while at < len(data) and data[at] == 255:
        total, at = total + 255, at + 1
    return total + (data[at] if at < len(data) else 0), at + 1


def is_reference(packet: bytes, framing: Framing) -> bool:
    """Whether later pictures may be predicted from this one (H.264 nal_ref_idc); what is shown
    before a HEVC picture and decoded after it never serves those shown after it (H.265 8.3.2).
    """
    if framing.codec == "hevc":
        return False
    return any(unit[0] >> 5 & 3 for unit in framing.units(packet) if unit[0] & 31 in H264_SLICES)


def as_broken_link(packet: bytes, framing: Framing) -> bytes:
    """A HEVC packet whose CRA slices say that the pictures before it are not there (H.265 7.4.2.2):
    how the standard has streams spliced at an open group. As Annex B.
    """
    return annex_b(
        bytes([HEVC_BLA_N_LP << 1 | unit[0] & 0x81]) + unit[1:]
        if framing.unit_type(unit) == HEVC_CRA
        else unit
        for unit in framing.units(packet)
    )


# -- parameter sets --------------------------------------------------------------------------------


def h264_ids(parameter_sets: Iterable[bytes]) -> set[int]:
    """Ids of the sequence and picture parameter sets."""
    ids = set()
    for unit in parameter_sets:
        data = without_emulation(unit)
        if unit[0] & 31 == H264_SPS:
            ids.add(Bits(data[4:]).ue())  # after profile, constraints, level
        elif unit[0] & 31 == H264_PPS:
            ids.add(Bits(data[1:]).ue())
    return ids


def without_emulation(unit: bytes) -> bytes:
    """The unit without the 3 that keeps 0 0 1 out of its bytes."""
    return unit.replace(b"\0\0\3", b"\0\0")


class Bits:
    """Reads fixed-length and Exp-Golomb numbers (H.264 9.1)."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def bit(self) -> int:
        byte, shift = divmod(self.at, 8)
        if byte >= len(self.data):
            raise ValueError("a header ends too early")
        self.at += 1
        return self.data[byte] >> 7 - shift & 1

    def ue(self) -> int:
        zeros = 0
        while self.bit() == 0:
            zeros += 1
        number = 1
        for _ in range(zeros):
            number = number << 1 | self.bit()
        return number - 1
