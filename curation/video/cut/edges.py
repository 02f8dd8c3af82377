"""Re-encoding the frames of a clip's edges so that they join the source's own packets.

Frames go to the encoder as the decoder gave them: no conversion, no turning, the same size, chroma,
range and colour tags. What must agree at a join: every piece begins with a picture that forgets all
before it, pictures are held back no longer by one piece than by the other, and each piece finds its
own parameter sets: H.264 by ids of their own in the mp4's header, HEVC in front of every keyframe.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av

from curation.video.cut import nal
from curation.video.cut.packets import Packets

CRF = 18  # visually lossless for x264 (FFmpeg's H.264 encoding guide)
CRF_HEVC = 18  # x265 at 18 is no worse than x264 at 18 (FFmpeg's H.265 guide: 28 for x264's 23)
CRF_VP9 = 15  # FFmpeg's VP9 guide: 15-35 recommended, 15 the best of them
PRESET = "veryfast"
GOP_FRAMES = 48  # a random read decodes 24 frames more on average
SMART_FORMATS = {
    "h264": ("yuv420p", "yuvj420p"),
    "hevc": ("yuv420p", "yuvj420p", "yuv420p10le"),
    "vp9": ("yuv420p",),  # libvpx is built for 8 bits in PyAV's wheels
}


@dataclass(frozen=True)
class Coded:
    """A packet of an encoded piece."""

    frame: int
    data: bytes
    is_key: bool


@dataclass(frozen=True)
class Piece:
    """An edge, in decoding order."""

    packets: list[Coded]
    parameter_sets: tuple[bytes, ...]
    """That a reader must find in the header; () where the keyframes carry them."""


def encode_piece(frames: Iterable[tuple[int, Any]], *, codec: str, packets: Packets) -> Piece:
    """(frame index, the decoder's frame) of consecutive frames as a piece of the same codec."""
    encoder: Any = None
    coded: list[Coded] = []
    for number, frame in frames:
        if encoder is None:
            encoder = _encoder(frame, codec=codec, packets=packets)
        frame.pts, frame.time_base = number, encoder.time_base
        frame.pict_type = 0  # the source's own frame types are not to be repeated
        coded += [_coded(packet) for packet in encoder.encode(frame)]
    if encoder is not None:
        coded += [_coded(packet) for packet in encoder.encode(None)]
    if codec != "h264":
        return Piece([_plain(packet, codec) for packet in coded], ())
    units = [unit for packet in coded for unit in nal.split_annex_b(packet.data)]
    kinds = (nal.H264_SPS, nal.H264_PPS)
    sets = dict.fromkeys(unit for unit in units if unit[0] & 31 in kinds)
    return Piece([_plain(packet, codec) for packet in coded], tuple(sets))


def _coded(packet: Any) -> Coded:
    assert packet.pts is not None
    return Coded(packet.pts, bytes(packet), bool(packet.is_keyframe))


def _plain(packet: Coded, codec: str) -> Coded:
    """Without the encoder's messages about itself, and for H.264 without parameter sets."""
    if codec == "vp9":
        return packet
    units = nal.split_annex_b(packet.data)
    if codec == "h264":
        kept = [unit for unit in units if unit[0] & 31 in nal.H264_SLICES]
    else:
        kept = [unit for unit in units if nal.unit_type(unit, "hevc") not in nal.HEVC_SEI]
    return Coded(packet.frame, nal.annex_b(kept), packet.is_key)


def _encoder(frame: Any, *, codec: str, packets: Packets) -> Any:
    name, options = {
        "h264": ("libx264", _h264_options),
        "hevc": ("libx265", _hevc_options),
        "vp9": ("libvpx-vp9", _vp9_options),
    }[codec]
    encoder: Any = av.CodecContext.create(name, "w")
    encoder.width, encoder.height = frame.width, frame.height
    encoder.pix_fmt = frame.format.name
    encoder.framerate = Fraction(25)  # stamps are set when muxing; constant quality asks for none
    encoder.time_base = 1 / encoder.framerate
    for tag in ("color_primaries", "color_trc", "colorspace", "color_range"):
        setattr(encoder, tag, int(getattr(frame, tag)))
    encoder.thread_count = 1
    encoder.options = options(packets)
    return encoder


def _h264_options(packets: Packets) -> dict[str, str]:
    assert packets.framing is not None
    free = set(range(32)) - nal.h264_ids(packets.framing.parameter_sets)
    # as many pictures held back as in the source: a decoder that learns of more at a join drops one
    reorder = packets.reorder_frames
    bframes = {0: "bframes=0", 1: "bframes=2:b-pyramid=none"}.get(
        reorder, "bframes=3:b-pyramid=normal"
    )
    return {
        "preset": PRESET,
        "crf": str(CRF),
        "g": str(GOP_FRAMES),
        # no macroblock tree: with it one encode in thirty of the same pictures gave other bytes
        "x264-params": f"sps-id={max(free)}:{bframes}:open-gop=0:mbtree=0:threads=1",
    }


def _hevc_options(packets: Packets) -> dict[str, str]:
    bframes = "0" if packets.reorder_frames == 0 else "3"
    pyramid = int(packets.reorder_frames > 1)
    params = (
        f"bframes={bframes}:b-pyramid={pyramid}:keyint={GOP_FRAMES}:open-gop=0:repeat-headers=1"
    )
    alone = "pools=none:frame-threads=1:wpp=0:log-level=none:info=0"
    return {"preset": PRESET, "crf": str(CRF_HEVC), "x265-params": f"{params}:{alone}"}


def _vp9_options(packets: Packets) -> dict[str, str]:
    del packets  # every packet of it is shown as it comes
    return {
        "crf": str(CRF_VP9),
        "b": "0",
        "g": str(GOP_FRAMES),
        "deadline": "good",
        "cpu-used": "5",
        "lag-in-frames": "0",  # no hidden pictures: as many packets as frames
        "auto-alt-ref": "0",
    }
