"""How the pictures of an encoded clip look: upright, square pixels, even sides; on request smaller,
without borders, tone-mapped.

Fields are deinterlaced, a frame for each frame (bwdif), so that counts and times hold.
"""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import av.error
import av.filter
import cv2
import numpy as np

from curation.video.cut.tone import cube_text
from curation.video.decode import turn
from curation.video.open import HDR_TRANSFERS
from curation.video.picture import TURNS, is_full_range

BT709 = 1  # ITU-T H.273: colour primaries, transfer and matrix alike


@dataclass(frozen=True)
class Look:
    display: tuple[int, int]
    """(width, height) of the source as shown, square pixels."""
    short_side_px: int | None = None
    """Of what is left after cropping; None: the source's."""
    crop: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    """Shares (0-1) cut off at top, bottom, left, right, as shown."""
    is_interlaced: bool = False
    tone_map: bool = False
    """PQ and HLG to BT.709."""

    def cropped(self) -> tuple[int, int]:
        """(width, height) left of the display size."""
        top, bottom, left, right = self.crop
        width, height = self.display
        return round(width * (1 - left - right)), round(height * (1 - top - bottom))

    def size(self) -> tuple[int, int]:
        """(width, height) of the encoded pictures: even, whole, never enlarged."""
        width, height = self.cropped()
        short = min(width, height)
        if self.short_side_px is None or self.short_side_px >= short:
            return max(2, width & ~1), max(2, height & ~1)
        scale = self.short_side_px / short
        return max(2, 2 * round(width * scale / 2)), max(2, 2 * round(height * scale / 2))

    def format_of(self, frame: Any) -> str:
        """10 bits are kept for high dynamic range, where 8 show bands."""
        deep = frame.format.components[0].bits > 8
        is_hdr = int(frame.color_trc) in HDR_TRANSFERS
        return "yuv420p10le" if deep and is_hdr else "yuv420p"


def pictures(frames: Iterable[Any], look: Look) -> Iterator[Any]:
    """A picture for each frame, in order."""
    tone = _ToneMap() if look.tone_map else None
    for frame in deinterlaced(frames) if look.is_interlaced else frames:
        picture = upright(frame, look)
        yield tone.of(picture) if tone else picture


def upright(frame: Any, look: Look) -> Any:
    """The frame in 4:2:0, scaled, turned, cropped."""
    width, height = look.size()
    whole = look.cropped()
    scale_x, scale_y = (1.0, 1.0)
    if look.short_side_px is not None and look.short_side_px < min(whole):
        scale_x, scale_y = width / whole[0], height / whole[1]
    full = max(2, round(look.display[0] * scale_x)), max(2, round(look.display[1] * scale_y))
    rotation = turn(frame)
    stored = full[::-1] if rotation % 180 else full
    pixel_format = look.format_of(frame)
    plain = frame.reformat(
        width=stored[0],
        height=stored[1],
        format=pixel_format,
        src_color_range="JPEG" if is_full_range(frame) else "MPEG",
        dst_color_range="MPEG",
        interpolation="LANCZOS",
    )
    top, _, left, _ = look.crop
    x, y = _even_offset(left, full[0], width), _even_offset(top, full[1], height)
    if not rotation and full == (width, height):
        return plain
    planes = [_plane(plane) for plane in plain.planes]
    if rotation:
        planes = [cv2.rotate(plane, TURNS[rotation]) for plane in planes]
    luma = planes[0][y : y + height, x : x + width]
    chroma = [p[y // 2 : (y + height) // 2, x // 2 : (x + width) // 2] for p in planes[1:]]
    image: Any = np.concatenate([plane.ravel() for plane in (luma, *chroma)])
    made = av.VideoFrame.from_ndarray(image.reshape(height * 3 // 2, width), format=pixel_format)
    for tag in ("color_primaries", "color_trc", "colorspace"):
        setattr(made, tag, int(getattr(frame, tag)))
    return made


def _even_offset(share: float, full: int, kept: int) -> int:
    """Where the kept part begins: behind the border, on a chroma sample, inside the picture."""
    behind = 2 * -(-round(share * full) // 2)
    return min(behind, (full - kept) & ~1)


def _plane(plane: Any) -> np.ndarray:
    """(h, w) view of a plane of 8 or 16 bits."""
    kind = np.uint8 if plane.line_size < 2 * plane.width else np.uint16
    rows = np.frombuffer(plane, kind).reshape(plane.height, -1)
    return rows[:, : plane.width]


class _Filter:
    """A chain of FFmpeg's filters that gives a frame for each frame."""

    def __init__(self, *chain: tuple[str, str]) -> None:
        self.chain = chain
        self.graph: Any = None

    def feed(self, frame: Any) -> Iterator[Any]:
        """The frames that are ready; None at the end: those that are left."""
        if self.graph is None:
            if frame is None:
                return
            self.graph = av.filter.Graph()
            source = self.graph.add_buffer(
                width=frame.width,
                height=frame.height,
                format=frame.format,
                time_base=Fraction(1, 1000),
            )
            nodes = [self.graph.add(name, args) for name, args in self.chain]
            self.graph.link_nodes(source, *nodes, self.graph.add("buffersink")).configure()
        self.graph.push(frame)
        while True:
            try:
                yield self.graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return


def deinterlaced(frames: Iterable[Any]) -> Iterator[Any]:
    """A whole picture for each frame of two fields; others as they are."""
    bwdif = _Filter(("bwdif", "mode=send_frame:parity=auto:deint=interlaced"))
    for number, frame in enumerate(frames):
        frame.pts, frame.time_base = 40 * number, Fraction(1, 1000)
        yield from bwdif.feed(frame)
    yield from bwdif.feed(None)


class _ToneMap:
    """BT.2020 PQ or HLG to BT.709, 8 bits; other pictures as they are."""

    def __init__(self) -> None:
        self.filters: dict[int, _Filter] = {}
        self.count = 0

    def of(self, picture: Any) -> Any:
        transfer = int(picture.color_trc)
        if transfer not in HDR_TRANSFERS:
            return picture
        if transfer not in self.filters:
            self.filters[transfer] = self._filter(transfer)
        picture.pts, picture.time_base = self.count, Fraction(1, 1000)
        self.count += 1
        (made,) = self.filters[transfer].feed(picture)
        for tag in ("color_primaries", "color_trc", "colorspace"):
            setattr(made, tag, BT709)
        return made

    def _filter(self, transfer: int) -> _Filter:
        self.file = tempfile.NamedTemporaryFile("w", suffix=".cube")  # noqa: SIM115
        self.file.write(cube_text(transfer))
        self.file.flush()
        to_rgb = "in_color_matrix=bt2020:in_range=tv:out_range=pc"
        to_yuv = "out_color_matrix=bt709:in_range=pc:out_range=tv"
        return _Filter(
            ("scale", to_rgb),
            ("format", "gbrp16le"),
            ("lut3d", f"file={self.file.name}:interp=tetrahedral"),
            ("scale", to_yuv),
            ("format", "yuv420p"),
        )
