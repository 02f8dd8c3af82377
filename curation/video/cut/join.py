"""A clip from its source's own packets: copied, or copied between re-encoded edges."""

from collections.abc import Iterator
from typing import Any

from curation.video.cut import nal
from curation.video.cut.edges import Piece, encode_piece
from curation.video.cut.mux import Sample
from curation.video.cut.plan import Plan, Run
from curation.video.cut.reel import Reel
from curation.video.picture import fingerprint, small_planes, small_size

Prints = dict[int, bytes]
"""Place in the clip -> fingerprint of the picture that the encoder was given for it."""


def copied(reel: Reel, run: Run) -> list[Sample]:
    """The run's packets as they are."""
    sync = _sync_positions(reel, run)
    return [
        Sample(packet.pts, bytes(packet), position in sync)
        for position, packet in reel.read(run.first, run.last)
        if position not in run.dropped
    ]


def joined(reel: Reel, plan: Plan) -> tuple[list[Sample], bytes | None, Prints]:
    """(samples, header if not the source's, prints) of a smart cut: head, run, tail."""
    assert reel.packets is not None and plan.run is not None
    prints: Prints = {}
    head = _edge(reel, *plan.head, prints=prints, start=plan.start)
    middle = list(_rewrapped(reel, plan.run, after_other=bool(head.packets)))
    tail = _edge(reel, *plan.tail, prints=prints, start=plan.start)
    samples = [*_samples(reel, head), *middle, *_samples(reel, tail)]
    return samples, _header(reel, head, tail), prints


def _edge(reel: Reel, first: int, last: int, *, prints: Prints, start: int) -> Piece:
    assert reel.packets is not None
    if first == last:
        return Piece([], ())

    def frames() -> Iterator[tuple[int, Any]]:
        for number, (_, frame) in enumerate(reel.frames(first, last), first):
            prints[number - start] = print_of(frame)
            yield number, frame

    return encode_piece(frames(), codec=reel.codec, packets=reel.packets)


def print_of(frame: Any) -> bytes:
    """Of a frame that is stored as it is shown."""
    size = small_size(frame.width, frame.height)
    return fingerprint(small_planes(frame, size=size, rotation=0)[0])


def _samples(reel: Reel, piece: Piece) -> list[Sample]:
    assert reel.packets is not None
    return [Sample(reel.packets.pts_of(p.frame), p.data, p.is_key) for p in piece.packets]


def _rewrapped(reel: Reel, run: Run, *, after_other: bool) -> Iterator[Sample]:
    """The run's packets as pieces are joined: H.264 and HEVC as Annex B, each HEVC keyframe behind
    its parameter sets.
    """
    assert reel.packets is not None
    framing = reel.packets.framing
    sync = _sync_positions(reel, run)
    for position, packet in reel.read(run.first, run.last):
        if position in run.dropped:
            continue
        data = bytes(packet)
        if framing is not None and framing.codec == "hevc" and position in sync:
            is_joint = after_other and position == run.first
            unit_bytes = (
                nal.as_broken_link(data, framing) if is_joint else nal.annex_b(framing.units(data))
            )
            data = nal.annex_b(framing.parameter_sets) + unit_bytes
        elif framing is not None:
            data = nal.annex_b(framing.units(data))
        yield Sample(packet.pts, data, position in sync)


def _sync_positions(reel: Reel, run: Run) -> set[int]:
    """Where a reader may begin inside the clip: open groups are left out, whose first pictures need
    the group before.
    """
    assert reel.packets is not None
    closed = {e.position for e in reel.packets.entries if e.is_closed and not e.leads}
    return {run.first} | {p for p in closed if run.first <= p < run.last}


def _header(reel: Reel, head: Piece, tail: Piece) -> bytes | None:
    assert reel.packets is not None
    framing = reel.packets.framing
    if framing is None:
        return None
    sets = dict.fromkeys([*framing.parameter_sets, *head.parameter_sets, *tail.parameter_sets])
    return nal.annex_b(sets)
