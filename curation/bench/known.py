"""A source decoded once from its beginning: what split knows of it, and what its clips are held
against.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from curation.bench.readers import small_grey
from curation.video import DecodePass
from curation.video.cut import Clip, Look, Order, Reel, make_clip, open_reel
from curation.video.decode import mean_fps
from curation.video.picture import TURNS, fingerprint, small_planes, small_size

COPIED, ENCODED = 1.5, 4.0  # of 255: readers round colours differently; crf 18
NEARER = 0.25  # of 255: by which coding may bring a frame nearer to its neighbour


class Known:
    def __init__(self, path: Path, *, with_pictures: bool = True) -> None:
        self.path = path
        self.decode = DecodePass(path)
        self.prints: list[bytes] = []
        self.grey: list[np.ndarray] = []
        """As a player shows them."""
        for frame in self.decode:
            size = small_size(*self.decode.display_size())
            planes = small_planes(frame.picture, size=size, rotation=self.decode.rotation)
            self.prints.append(fingerprint(planes[0]))
            if with_pictures:
                self.grey.append(self._grey(frame.picture))
        self.edges_s = self.decode.edges_s()

    def _grey(self, picture: Any) -> np.ndarray:
        stored = picture.to_ndarray(format="rgb24")
        turn = TURNS.get(self.decode.rotation)
        return small_grey(stored if turn is None else cv2.rotate(stored, turn))

    @property
    def num_frames(self) -> int:
        return len(self.prints)

    @property
    def is_image(self) -> bool:
        return self.decode.probe.image_extension is not None

    def order(self, start: int, end: int, **knobs: Any) -> Order:
        """As `shard` orders the clip [start, end)."""
        probe = self.decode.probe
        look = Look(
            display=self.decode.display_size(),
            short_side_px=knobs.pop("short_side_px", None),
            crop=knobs.pop("crop", (0.0, 0.0, 0.0, 0.0)),
            is_interlaced=self.is_interlaced and knobs.pop("interlaced_known", True),
            tone_map=knobs.pop("tone_map", False),
        )
        return Order(
            start=start,
            end=end,
            fps=mean_fps(self.edges_s[start : end + 1]),
            look=look,
            pixel_format=probe.pixel_format,
            rotation=self.decode.rotation,
            sample_aspect=probe.sample_aspect,
            first_luma=self.prints[start],
            last_luma=self.prints[end - 1],
            **knobs,
        )

    @property
    def is_interlaced(self) -> bool:
        return 2 * self.decode.interlaced_frames > self.num_frames

    @contextlib.contextmanager
    def reel(self) -> Iterator[Reel]:
        """As `shard` opens it."""
        with open_reel(self.path) as reel:
            if reel.packets is None or reel.packets.num_frames != self.num_frames:
                reel.packets = None
            yield reel

    def cut(self, start: int, end: int, **knobs: Any) -> Clip:
        with self.reel() as reel:
            return make_clip(reel, self.order(start, end, **knobs))

    def wrong(
        self,
        frames: Sequence[np.ndarray],
        start: int,
        end: int,
        *,
        limit: float,
        view: Sequence[np.ndarray] | None = None,
    ) -> str | None:
        """What is not as it should be with a clip's small grey frames, or None.

        Each must be near its own frame of the source, and no nearer to the one before or after.
        view: the source as the clip's reader shows it, where that differs.
        """
        if len(frames) != end - start:
            return f"{len(frames)} frames, planned {end - start}"
        source = self.grey if view is None else view
        for place, found in enumerate(frames):
            own = distance(found, source[start + place])
            if own > limit:
                return f"frame {place} differs by {own:.1f} of 255"
            for near in (start + place - 1, start + place + 1):
                if 0 <= near < self.num_frames and distance(found, source[near]) < own - NEARER:
                    return f"frame {place} is frame {near - start} of the source"
        return None


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Mean difference, of 255."""
    return float(np.abs(a - b).mean())
