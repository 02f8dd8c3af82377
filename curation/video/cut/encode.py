"""One encode of a clip, the frames' own times from zero.

8-bit 4:2:0 H.264, which everything reads and decodes in hardware; high dynamic range of more than 8
bits stays 10-bit as HEVC Main 10, since 8 bits of a PQ or HLG curve show bands. Colour tags are
kept. Sources of 4:2:2, 4:4:4 or more bits without high dynamic range become 8-bit 4:2:0.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from curation.video.cut.edges import CRF, CRF_HEVC, GOP_FRAMES, PRESET
from curation.video.cut.join import Prints, print_of
from curation.video.cut.look import Look, pictures
from curation.video.cut.mux import Sample
from curation.video.cut.reel import Reel
from curation.video.decode import turn
from curation.video.picture import fingerprint, small_planes, small_size

TICKS_PER_S = 90000  # of MPEG systems; holds 24, 25, 29.97 and millisecond stamps without drift


@dataclass
class Encoded:
    """What came out of the encoder, and what went in."""

    stream: Any
    """Of the target container."""
    samples: list[Sample]
    """Stamps in 1 / TICKS_PER_S, in decoding order."""
    end_pts: int
    time_base: Fraction
    start_s: float
    end_s: float
    prints: Prints
    ends: tuple[bytes, bytes]
    """Fingerprints of the first and last frame as the source gave them."""


def encode_frames(
    target: Any,
    reel: Reel,
    *,
    start: int,
    end: int,
    fps: float | None,
    look: Look,
    gop_frames: int = GOP_FRAMES,
) -> Encoded:
    """The frames [start, end) through an encoder of `target`. Raises LookupError where the source
    does not give them.
    """
    times_s: list[float] = []
    seen: list[bytes] = []
    prints: Prints = {}
    stamps: list[int] = []
    samples: list[Sample] = []
    stream: Any = None

    def frames() -> Iterator[Any]:
        for time_s, frame in reel.frames(start, end):
            times_s.append(time_s)
            if len(times_s) in (1, end - start):
                seen.append(_source_print(frame, look))
            yield frame

    for picture in pictures(frames(), look):
        if stream is None:
            stream = _stream(target, picture, fps=fps, gop_frames=gop_frames)
        ticks = round((times_s[len(stamps)] - times_s[0]) * TICKS_PER_S)
        stamps.append(ticks if not stamps else max(ticks, stamps[-1] + 1))
        prints[len(prints)] = print_of(picture)
        picture.pts, picture.time_base = stamps[-1], Fraction(1, TICKS_PER_S)
        picture.pict_type = 0  # the source's own frame types are not to be repeated
        samples += [_sample(packet) for packet in stream.encode(picture)]
    samples += [_sample(packet) for packet in stream.encode(None)]
    step_s = 1 / fps if fps else 1 / 25
    end_s = times_s[-1] + step_s
    end_pts = stamps[-1] + round(step_s * TICKS_PER_S)
    ends = seen[0], seen[-1]
    base = Fraction(1, TICKS_PER_S)
    return Encoded(stream, samples, end_pts, base, times_s[0], end_s, prints, ends)


def _source_print(frame: Any, look: Look) -> bytes:
    """As split took it: of the whole frame, upright, fields and dynamic range as they are."""
    size = small_size(*look.display)
    return fingerprint(small_planes(frame, size=size, rotation=turn(frame))[0])


def _sample(packet: Any) -> Sample:
    return Sample(
        round(packet.pts * packet.time_base * TICKS_PER_S), bytes(packet), bool(packet.is_keyframe)
    )


def _stream(target: Any, picture: Any, *, fps: float | None, gop_frames: int) -> Any:
    # no B-frames: decoding order is display order, and every reader is quick to the first frame
    if picture.format.name == "yuv420p10le":
        name = "libx265"
        alone = "pools=none:frame-threads=1:wpp=0:log-level=none:info=0"
        params = f"bframes=0:keyint={gop_frames}:open-gop=0:{alone}"
        options = {"crf": str(CRF_HEVC), "preset": PRESET, "x265-params": params}
    else:
        name = "libx264"
        # no macroblock tree: with it one encode in thirty of the same pictures gave other bytes
        options = {"bf": "0", "mbtree": "0", "threads": "1"}
        options |= {"crf": str(CRF), "preset": PRESET, "g": str(gop_frames)}
    rate = Fraction(fps or 25).limit_denominator(1001)
    stream = target.add_stream(name, rate=rate, options=options)
    stream.width, stream.height = picture.width, picture.height
    stream.pix_fmt = picture.format.name
    context = stream.codec_context
    context.time_base = Fraction(1, TICKS_PER_S)
    for tag in ("color_primaries", "color_trc", "colorspace"):
        setattr(context, tag, int(getattr(picture, tag)))  # an HDR or BT.709 tag is kept
    context.color_range = 1  # limited, as converted
    if name == "libx265":
        context.codec_tag = "hvc1"
    return stream
