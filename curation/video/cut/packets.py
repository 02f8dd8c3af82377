"""A source's packets as an index: which picture each holds, and where a decoder may begin.

By demuxing alone (0.004 of a decode). A frame is known by the rank of its presentation stamp, which
holds wherever stamps are complete and differ; where they are not there is no index, and whoever
cuts counts frames from the beginning instead.
"""

import bisect
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import av.error

from curation.video.cut import nal
from curation.video.cut.nal import Framing

KEPT_BYTES = 64 << 20  # a minute of 1080p at 8 Mb/s; reading them again would double the cost


@dataclass(frozen=True)
class Window:
    """The stretch of a long source to be indexed, between two keyframes known to be good."""

    start_pts: int | None = None
    start_frame: int = 0
    """How many frames are shown before start_pts."""
    end_pts: int | None = None
    end_frame: int | None = None
    """How many frames are shown before end_pts; None: to the end."""


WHOLE = Window()


@dataclass(frozen=True)
class Entry:
    """A packet with which a decoder may begin."""

    position: int
    frame: int
    """-1: one that an edit list cuts off."""
    is_closed: bool
    """Nothing after it needs anything before it; else pictures shown before it do."""
    leads: frozenset[int] = frozenset()
    """Positions after it of pictures shown before it."""
    can_drop_leads: bool = True
    """Whether the leads may be left out: none of them serves a picture that is shown later."""


@dataclass(frozen=True)
class Packets:
    """The chosen stream's packets in decoding order."""

    pts: list[int]
    frame: list[int]
    """The packet's picture as index in presentation order; -1: not shown (cut off by an edit list)
    or outside the window."""
    entries: list[Entry]
    framing: Framing | None = None
    """H.264 and HEVC."""
    is_uniform: bool = True
    """One set of parameter sets serves the whole stretch."""
    last_duration: int = 0
    """Of the last packet, in the stream's time base; 0: unknown."""
    kept: list[Any] | None = None
    """The packets themselves, where they are few enough to be held."""

    @cached_property
    def position_of(self) -> dict[int, int]:
        """Frame -> position of its packet."""
        return {frame: i for i, frame in enumerate(self.frame) if frame >= 0}

    @property
    def num_frames(self) -> int:
        return len(self.position_of)

    def pts_of(self, frame: int) -> int:
        return self.pts[self.position_of[frame]]

    def end_pts_of(self, frame: int) -> int:
        """When the frame ends: as the next one begins, else after as long as the packet says."""
        if frame + 1 in self.position_of:
            return self.pts_of(frame + 1)
        step = self.pts_of(frame) - self.pts_of(frame - 1) if frame - 1 in self.position_of else 1
        return self.pts_of(frame) + (self.last_duration or step)

    @cached_property
    def reorder_frames(self) -> int:
        """Pictures that a decoder holds back to show them in order (H.264's num_reorder_frames)."""
        most = 0
        before: list[int] = []
        for frame in self.frame:
            most = max(most, len(before) - bisect.bisect(before, frame))
            bisect.insort(before, frame)
        return most


def index_packets(container: Any, stream: Any, *, window: Window = WHOLE) -> Packets | None:
    """The index, or None where stamps are missing or repeated."""
    codec = stream.codec_context.codec.canonical_name
    framing = None
    if codec in ("h264", "hevc"):
        framing = nal.framing(codec, stream.codec_context.extradata)
    found = _Found(framing, window)
    try:
        if window.start_pts is not None:
            container.seek(window.start_pts, stream=stream)
        for packet in container.demux(stream):
            if packet.size == 0:
                continue  # PyAV's flush packet
            if packet.pts is None or packet.is_corrupt:
                return None
            if found.is_complete(packet):
                break
            found.add(packet)
    except (av.error.FFmpegError, ValueError):
        return None
    return found.packets()


class _Found:
    """What has been seen while demuxing."""

    def __init__(self, framing: Framing | None, window: Window) -> None:
        self.framing = framing
        self.window = window
        self.pts: list[int] = []
        self.is_shown: list[bool] = []
        self.keys: list[tuple[int, Literal["closed", "open"], bool]] = []
        """Position, kind, whether no lead is a reference."""
        self.is_uniform = True
        self.last_duration = 0
        self.past_end = False
        self.pts_shown: list[int] = []
        self.kept: list[Any] | None = []
        self.num_bytes = 0

    def is_complete(self, packet: Any) -> bool:
        """The keyframe after the window's end: what is shown before the end lies before it."""
        done = self.past_end and packet.is_keyframe
        self.past_end = self.past_end or packet.pts == self.window.end_pts
        return done

    def add(self, packet: Any) -> None:
        if not self.pts and self.window.start_pts not in (None, packet.pts):
            return  # the seek landed earlier
        position = len(self.pts)
        self.pts.append(packet.pts)
        self.is_shown.append(not packet.is_discard)
        self.last_duration = packet.duration or 0
        self._keep(packet)
        if packet.is_keyframe:
            self._add_key(packet, position)
        elif self.keys and packet.pts < self.pts[self.keys[-1][0]] and self.framing:
            key, kind, can_drop = self.keys[-1]
            if can_drop and nal.is_reference(bytes(packet), self.framing):
                self.keys[-1] = key, kind, False

    def _keep(self, packet: Any) -> None:
        self.num_bytes += packet.size
        if self.num_bytes > KEPT_BYTES:
            self.kept = None
        elif self.kept is not None:
            self.kept.append(packet)

    def _add_key(self, packet: Any, position: int) -> None:
        if position and packet.has_sidedata("new_extradata"):
            self.is_uniform = False
        if self.framing is None:
            # VP8, VP9, AV1: a keyframe forgets all; MPEG-4's B-frames may look across one
            self.keys.append((position, "open", True))
            return
        data = bytes(packet)
        kind = nal.entry_kind(data, self.framing)
        if kind:
            self.keys.append((position, kind, True))
        for unit in self.framing.units(data):
            if self.framing.unit_type(unit) == (7 if self.framing.codec == "h264" else 33):
                self.is_uniform &= unit in self.framing.parameter_sets

    def packets(self) -> Packets | None:
        start, end = self.window.start_pts, self.window.end_pts
        shown = sorted(
            pts
            for pts, is_shown in zip(self.pts, self.is_shown, strict=True)
            if is_shown and (start is None or pts >= start) and (end is None or pts < end)
        )
        if len(set(self.pts)) != len(self.pts) or not shown:
            return None
        self.pts_shown = shown
        rank = {pts: i + self.window.start_frame for i, pts in enumerate(shown)}
        frame = [
            rank.get(pts, -1) if is_shown else -1
            for pts, is_shown in zip(self.pts, self.is_shown, strict=True)
        ]
        return Packets(
            self.pts,
            frame,
            [entry for key in self.keys if (entry := self._entry(key, frame))],
            self.framing,
            self.is_uniform,
            self.last_duration,
            self.kept,
        )

    def _entry(self, key: tuple[int, Literal["closed", "open"], bool], frame: list[int]) -> Any:
        position, kind, can_drop = key
        if frame[position] < 0 and self.pts[position] > self.pts_shown[0]:
            return None  # behind the window's end
        leads = set()
        at = position + 1
        while at < len(self.pts) and self.pts[at] < self.pts[position]:
            leads.add(at)
            at += 1
        is_closed = kind == "closed" or (self.framing is None and not leads)
        return Entry(position, frame[position], is_closed, frozenset(leads), can_drop)
