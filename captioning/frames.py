"""Which frames of a clip a model sees: when, how large, at what cost in tokens.

Frames are taken at equal steps of time, not of frame numbers, since footage of phones and screens
has no constant rate, and every frame goes to the model with the time at which it is really shown.
They are sized to the model's own grid of patches, so that the server scales nothing again and the
tokens can be counted before anything is sent.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from curation.video.at_times import TimeReader
from curation.video.decode import DecodePass, turn
from curation.video.open import Source, VideoError
from curation.video.picture import jpeg_of


@dataclass(frozen=True)
class Frames:
    """What a model gets to see of a clip, and what that costs."""

    per_s: float = 2.0
    """Frames per second of the clip."""
    min_frames: int = 4
    """At least so many, of a short clip."""
    max_frames: int = 32
    """At most so many, of a long one; they are then further apart."""
    send_as: Literal["video", "images"] = "video"
    """How the server takes them: as one video with its times (Qwen-VL), or as pictures with the
    time before each.
    """
    told_rate: bool = False
    """Of a video: tell the model's processor how many frames a second these are, for models that
    read no times (Qwen2.5-VL).
    """
    patch_px: int = 32
    """Side of the square that becomes one token: 32 for Qwen3-VL, 28 for Qwen2.5-VL. Sides are
    multiples of it."""
    min_pixels: int = 4 * 32 * 32
    """Of a frame; smaller ones are enlarged, as the model's own processor does."""
    max_pixels: int = 256 * 32 * 32
    """Of a frame; larger ones are reduced."""
    frames_per_token: int = 2
    """Frames that share their tokens: 2 for the Qwen-VL family's video, 1 for pictures."""
    tokens_per_frame: int | None = None
    """For models that turn any frame into a fixed number of tokens (InternVL 256, SmolVLM2 81)."""

    def __post_init__(self) -> None:
        if not 1 <= self.min_frames <= self.max_frames or self.per_s <= 0:
            raise ValueError(
                f"frames: per_s = {self.per_s}, min_frames = {self.min_frames}, max_frames = "
                f"{self.max_frames}; expected per_s > 0 and 1 <= min_frames <= max_frames"
            )
        if not self.patch_px**2 <= self.min_pixels <= self.max_pixels:
            raise ValueError(
                f"frames: min_pixels = {self.min_pixels}, max_pixels = {self.max_pixels}; expected "
                f"one patch of {self.patch_px} x {self.patch_px} <= min_pixels <= max_pixels"
            )

    def count(self, length_s: float) -> int:
        """Frames of a clip; one of a still image, which has no length."""
        if length_s <= 0:
            return 1
        return min(self.max_frames, max(self.min_frames, round(length_s * self.per_s)))

    def times_s(self, start_s: float, end_s: float) -> list[float]:
        """When to look: in the middle of equal stretches, clear of the cuts at both ends."""
        count = self.count(end_s - start_s)
        return [start_s + (i + 0.5) / count * (end_s - start_s) for i in range(count)]

    def size(self, display: tuple[int, int]) -> tuple[int, int]:
        """(width, height) in pixels at which a frame is sent: on the grid, its aspect kept as well
        as the grid allows, its area between min_pixels and max_pixels.
        """
        width, height = display
        area = width * height
        scale = math.sqrt(min(max(area, self.min_pixels), self.max_pixels) / area)
        grown = area < self.min_pixels
        columns, rows = (
            _patches(side * scale / self.patch_px, up=grown) for side in (width, height)
        )
        while columns * rows * self.patch_px**2 > self.max_pixels and max(columns, rows) > 1:
            if columns >= rows:
                columns -= 1
            else:
                rows -= 1
        return columns * self.patch_px, rows * self.patch_px

    def tokens(self, count: int, display: tuple[int, int]) -> int:
        """What `count` frames cost in a prompt, without the words around them."""
        return self.tokens_of(count, self.size(display))

    def tokens_of(self, count: int, size: tuple[int, int]) -> int:
        """The same of frames of exactly this (width, height)."""
        if self.tokens_per_frame is not None:
            return count * self.tokens_per_frame
        width, height = size
        per_token = self.frames_per_token if self.send_as == "video" else 1
        return math.ceil(count / per_token) * (width // self.patch_px) * (height // self.patch_px)


def _patches(side: float, *, up: bool) -> int:
    return max(1, math.ceil(side) if up else round(side))


@dataclass(frozen=True)
class Shown:
    """The frames of one clip as they go to the model."""

    jpegs: list[bytes]
    times_s: list[float]
    """When each is shown, from the clip's first frame on."""
    length_s: float
    """Of the clip; 0 for a still image."""
    size: tuple[int, int]
    """(width, height) in pixels."""


class FrameReader:
    """The frames of one source's clips, in order of time, no frame decoded twice."""

    def __init__(self, source: Source, frames: Frames) -> None:
        self.source, self.frames = source, frames
        self.num_decoded = 0

    def read(self, clips: Sequence[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], Shown | str]]:
        """Each clip with its frames, or with "reason_code: why" there are none.

        clips: rows with start_s, end_s and num_frames, by start_s.
        """
        waiting = list(reversed(clips))
        try:
            with TimeReader(self.source) as reader:
                is_image = reader.probe.image_extension is not None
                while waiting:
                    shown = self._still() if is_image else self._shown(reader, waiting[-1])
                    yield waiting.pop(), shown
        except VideoError as error:
            for clip in reversed(waiting):
                yield clip, str(error)

    def _still(self) -> Shown:
        one = DecodePass(self.source)
        frame = next(iter(one))
        self.num_decoded += 1
        size = self.frames.size(one.display_size())
        return Shown([jpeg_of(frame.picture, size=size, rotation=one.rotation)], [0.0], 0.0, size)

    def _shown(self, reader: TimeReader, clip: dict[str, Any]) -> Shown | str:
        start_s, end_s = clip["start_s"], clip["end_s"]
        before = reader.num_decoded
        chosen = pick(reader.between(start_s, end_s), self.frames.times_s(start_s, end_s))
        self.num_decoded += reader.num_decoded - before
        if not chosen:
            return "no_frames: no frame of the clip could be decoded again"
        size = self.frames.size(reader.display_size(chosen[0]))
        jpegs = [jpeg_of(picture, size=size, rotation=turn(picture)) for picture in chosen]
        times_s = [max(0.0, picture.time - start_s) for picture in chosen]
        return Shown(jpegs, times_s, end_s - start_s, size)


def pick(pictures: Iterator[Any], times_s: Sequence[float]) -> list[Any]:
    """The picture that is on the screen at each time; one that is there at several times is taken
    once. pictures: with `time`, in order.
    """
    chosen: list[Any] = []
    waiting = list(reversed(times_s))
    shown = None
    for picture in pictures:
        while waiting and shown is not None and waiting[-1] < picture.time:
            _add(chosen, shown)
            waiting.pop()
        shown = picture
    if waiting and shown is not None:
        _add(chosen, shown)
    return chosen


def _add(chosen: list[Any], picture: Any) -> None:
    if not chosen or chosen[-1] is not picture:
        chosen.append(picture)
