"""What of a clip is copied and what is encoded: pure work on the index of packets.

A run of packets may be copied where it begins with one that needs nothing before it and where its
pictures, without those shown before the first, are consecutive frames: then it is a valid stream by
itself. Frames of the clip before and after the run are its head and tail. With B-frames a run may
end behind any group of them that is complete, so a tail is a few frames and never a whole group of
pictures.
"""

from dataclasses import dataclass
from typing import Literal

from curation.video.cut.packets import Entry, Packets

SMART_CODECS = ("h264", "hevc", "vp9")  # that are encoded here as well as copied
MAX_ENCODED_SHARE = 0.7  # beyond it one plain encode costs hardly more and has no seams


@dataclass(frozen=True)
class Run:
    """Packets [first, last) without `dropped`, which hold exactly the frames [start, end)."""

    first: int
    last: int
    start: int
    end: int
    dropped: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Plan:
    """How the frames [start, end) of a clip are had."""

    route: Literal["copy", "smart", "encode"]
    start: int
    end: int
    run: Run | None = None
    reason: str | None = None
    """Why not a copy."""

    @property
    def head(self) -> tuple[int, int]:
        return (self.start, self.run.start) if self.run else (self.start, self.end)

    @property
    def tail(self) -> tuple[int, int]:
        return (self.run.end, self.end) if self.run else (self.end, self.end)

    @property
    def frames_encoded(self) -> int:
        return self.head[1] - self.head[0] + self.tail[1] - self.tail[0]


def plan_exact(packets: Packets, *, start: int, end: int, codec: str) -> Plan:
    """A copy where a run is the whole clip, else a smart cut, else one encode."""
    run = longest_run(packets, start=start, end=end)
    if run is None:
        return Plan("encode", start, end, None, "no keyframe inside the clip can begin a stream")
    plan = Plan("smart", start, end, run, "cut not on closed keyframes")
    if not plan.frames_encoded:
        return Plan("copy", start, end, run)
    if codec not in SMART_CODECS:
        return Plan("encode", start, end, None, f"cut not on closed keyframes, {codec}")
    share = plan.frames_encoded / (end - start)
    if share > MAX_ENCODED_SHARE:
        reason = f"only {100 * (1 - share):.0f} % of the frames could be copied"
        return Plan("encode", start, end, None, reason)
    return plan


def longest_run(packets: Packets, *, start: int, end: int) -> Run | None:
    """The run that leaves the fewest of the frames [start, end) to be encoded, or None."""
    best: Run | None = None
    for entry in packets.entries:
        if not start <= entry.frame < end or (best and entry.frame < best.end):
            continue  # a run that passes another entry is the longer one
        if not may_begin(entry, packets, joined=entry.frame > start):
            continue
        run = run_from(entry, packets, end=end)
        if run and (best is None or run.end - run.start > best.end - best.start):
            best = run
    return best


def may_begin(entry: Entry, packets: Packets, *, joined: bool) -> bool:
    """Whether a copied run may begin here; joined: behind other frames.

    Behind others the pictures must count anew, as at a H.264 IDR, or be told that the group is
    broken off, which HEVC can say of any group and H.264 of none.
    """
    if entry.leads and not entry.can_drop_leads:
        return False
    is_h264 = packets.framing is not None and packets.framing.codec == "h264"
    return entry.is_closed or not (joined and is_h264)


def run_from(entry: Entry, packets: Packets, *, end: int) -> Run | None:
    """The longest run of consecutive frames before `end` that begins with the entry."""
    best: Run | None = None
    highest, count = entry.frame - 1, 0
    for position in range(entry.position, len(packets.frame)):
        if position in entry.leads:
            continue
        frame = packets.frame[position]
        if frame < entry.frame:
            break  # not shown, or a picture from before that came late
        highest, count = max(highest, frame), count + 1
        if highest >= end:
            break
        if highest - entry.frame + 1 == count:
            dropped = frozenset(lead for lead in entry.leads if lead < position)
            best = Run(entry.position, position + 1, entry.frame, highest + 1, dropped)
    return best


def plan_copy(packets: Packets, *, start: int, end: int) -> tuple[Run, int] | None:
    """(run, first_frame): packets from the last possible beginning to the last that the frames
    [start, end) need, and how many pictures come out before `start`.

    The run's pictures need not be consecutive behind `end`. None where none begins early enough.
    """
    entries = [
        e for e in packets.entries if e.frame <= start and may_begin(e, packets, joined=False)
    ]
    if not entries:
        return None
    entry = max(entries, key=lambda e: e.position)
    last = max(packets.position_of[frame] for frame in range(start, end)) + 1
    places = [p for p in range(entry.position, last) if p not in entry.leads]
    dropped = frozenset(lead for lead in entry.leads if lead < last)
    highest = max(packets.frame[p] for p in places)
    run = Run(entry.position, last, entry.frame, highest + 1, dropped)
    return run, sum(packets.pts[p] < packets.pts_of(start) for p in places)
