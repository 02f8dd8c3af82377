"""What is copied and what is encoded, on indices of packets made by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from curation.bench.mixed import MORE, SOURCES, film, make
from curation.video.cut import open_reel
from curation.video.cut.nal import (
    Bits,
    annex_b,
    framing,
    h264_ids,
    split_annex_b,
    without_emulation,
)
from curation.video.cut.packets import Entry, Packets, Window
from curation.video.cut.plan import Run, longest_run, plan_copy, plan_exact


def packets(frames: list[int], *entries: Entry, codec: str = "h264") -> Packets:
    """Packets in decoding order, given the frame that each holds."""
    known = framing(codec, b"") if codec in ("h264", "hevc") else None
    return Packets([10 * frame for frame in frames], frames, list(entries), known)


def closed(position: int, frame: int) -> Entry:
    return Entry(position, frame, is_closed=True)


def opened(position: int, frame: int, *leads: int, can_drop: bool = True) -> Entry:
    return Entry(position, frame, False, frozenset(leads), can_drop)


# two closed groups with B-frames: I0 P3 B1 B2 | I4 P7 B5 B6
TWO_GROUPS = packets([0, 3, 1, 2, 4, 7, 5, 6], closed(0, 0), closed(4, 4))


def test_a_clip_of_whole_groups_is_copied() -> None:
    for start, end in ((0, 4), (4, 8), (0, 8)):
        plan = plan_exact(TWO_GROUPS, start=start, end=end, codec="h264")
        assert (plan.route, plan.run) == ("copy", Run(start, end, start, end))
        assert plan.frames_encoded == 0


def test_a_run_may_end_behind_any_complete_group_of_b_frames() -> None:
    # I0 P2 B1 P4 B3 P6 B5
    found = packets([0, 2, 1, 4, 3, 6, 5], closed(0, 0))
    assert longest_run(found, start=0, end=5) == Run(0, 5, 0, 5)
    plan = plan_exact(found, start=0, end=6, codec="h264")
    assert (plan.route, plan.run, plan.head, plan.tail) == (
        "smart",
        Run(0, 5, 0, 5),
        (0, 0),
        (5, 6),
    )


def test_the_head_before_the_first_keyframe_is_encoded() -> None:
    plan = plan_exact(TWO_GROUPS, start=3, end=8, codec="h264")
    assert (plan.route, plan.run, plan.head, plan.tail) == (
        "smart",
        Run(4, 8, 4, 8),
        (3, 4),
        (8, 8),
    )
    plan = plan_exact(TWO_GROUPS, start=3, end=8, codec="mpeg4")
    assert (plan.route, plan.reason) == ("encode", "cut not on closed keyframes, mpeg4")


def test_a_clip_that_would_mostly_be_encoded_is_encoded_whole() -> None:
    plan = plan_exact(TWO_GROUPS, start=1, end=5, codec="h264")
    assert (plan.route, plan.run) == ("encode", None)
    assert plan.reason == "only 25 % of the frames could be copied"
    plan = plan_exact(TWO_GROUPS, start=1, end=4, codec="h264")
    assert plan.reason == "no keyframe inside the clip can begin a stream"


def test_pictures_shown_before_an_open_keyframe_are_left_out() -> None:
    # I0 P1 I4 b2 b3 P5: b2 and b3 are shown before I4 and need P1
    found = packets([0, 1, 4, 2, 3, 5], closed(0, 0), opened(2, 4, 3, 4))
    assert longest_run(found, start=4, end=6) == Run(2, 6, 4, 6, frozenset({3, 4}))
    assert longest_run(found, start=0, end=6) == Run(0, 6, 0, 6)
    assert longest_run(found, start=0, end=4) == Run(0, 2, 0, 2)
    kept = packets([0, 1, 4, 2, 3, 5], opened(2, 4, 3, 4, can_drop=False))
    assert longest_run(kept, start=4, end=6) is None  # a later picture needs them


def test_only_hevc_joins_an_open_group_behind_other_frames() -> None:
    frames = [0, 1, 4, 2, 3, 5, 6, 7, 8, 9]
    for codec, expected in (("hevc", Run(2, 10, 4, 10, frozenset({3, 4}))), ("h264", None)):
        found = packets(frames, opened(2, 4, 3, 4), codec=codec)
        assert longest_run(found, start=3, end=10) == expected


def test_hidden_packets_end_a_run() -> None:
    found = packets([-1, -1, 0, 1, 2], Entry(0, -1, True))
    assert longest_run(found, start=0, end=3) is None


def test_copying_with_preroll_begins_at_the_last_keyframe_before() -> None:
    run, first_frame = plan_copy(TWO_GROUPS, start=6, end=7) or (None, -1)
    assert (run, first_frame) == (Run(4, 8, 4, 8), 2)
    run, first_frame = plan_copy(TWO_GROUPS, start=4, end=6) or (None, -1)
    assert (run, first_frame) == (Run(4, 7, 4, 8), 0)  # frame 7 is decoded before 5: a tail
    assert plan_copy(packets([0, 1], closed(1, 1)), start=0, end=2) is None


def test_as_many_pictures_are_held_back_as_are_shown_after_one_decoded_later() -> None:
    assert packets([0, 1, 2]).reorder_frames == 0
    assert packets([0, 2, 1, 4, 3]).reorder_frames == 1
    assert packets([0, 4, 2, 1, 3]).reorder_frames == 2
    assert packets([0, 8, 4, 6, 2]).reorder_frames == 3


def test_headers_are_read_bit_by_bit() -> None:
    assert [Bits(bytes([0b10100110, 0b00100000])).ue() for _ in range(1)] == [0]
    bits = Bits(bytes([0b10100110, 0b01000000]))
    assert [bits.ue() for _ in range(4)] == [0, 1, 2, 3]  # 1 010 011 00100
    with pytest.raises(ValueError, match="ends too early"):
        Bits(b"\0").ue()
    assert without_emulation(b"\0\0\3\1\0\0\3") == b"\0\0\1\0\0"
    units = [b"\x67\x64\0\x1f\x80", b"\x68\x40"]
    assert list(split_annex_b(annex_b(units))) == units
    assert h264_ids(units) == {0, 1}


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("h264 fixed", {0: True, 30: True, 60: True, 90: True, 120: True}),
        ("h264 open", {0: True, 30: False, 60: False, 90: False, 120: False}),
        ("hevc open", {0: True, 30: False, 60: False, 90: False, 120: False}),
        ("h264 intra refresh", {0: True}),
    ],
)
def test_an_index_knows_where_a_decoder_may_begin(
    tmp_path: Path, name: str, kinds: dict[int, bool]
) -> None:
    path = make(tmp_path / "a", (SOURCES | MORE)[name], film())
    with open_reel(path) as reel:
        assert reel.packets is not None and reel.packets.num_frames == 130
        assert {e.frame: e.is_closed for e in reel.packets.entries} == kinds
        assert sum(bool(e.leads) for e in reel.packets.entries) == ("open" in name) * 4 or (
            name == "h264 open"
        )


@pytest.mark.parametrize("name", ["h264 fixed", "hevc open"])
def test_a_window_of_a_long_source_has_the_indices_of_the_whole(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / "a", SOURCES[name], film())
    with open_reel(path) as reel:
        whole = reel.packets
    assert whole is not None
    window = Window(whole.pts_of(30), 30, whole.pts_of(90), 90)
    with open_reel(path, window=window) as reel:
        part = reel.packets
        assert part is not None and sorted(part.position_of) == list(range(30, 90))
        assert {f: part.pts_of(f) for f in range(30, 90)} == {
            f: whole.pts_of(f) for f in range(30, 90)
        }
        assert [e.frame for e in part.entries] == [30, 60]
        stamps = [round(s / reel.stream.time_base) for s, _ in reel.frames(47, 89)]
    assert stamps == [whole.pts_of(f) for f in range(47, 89)]


@pytest.mark.parametrize("name", [*SOURCES, "h264 one B ts", "h264 avi", "h264 edit list"])
def test_packets_read_again_are_those_that_were_kept(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / "a", (SOURCES | MORE)[name], film())
    with open_reel(path) as reel:
        assert reel.packets is not None
        kept = [(packet.pts, bytes(packet)) for packet in reel.packets.kept or []]
        assert len(kept) == len(reel.packets.pts)
        reel.packets = replace(reel.packets, kept=None)
        for first, last in ((0, 7), (61, 95), (30, 31), (100, len(kept))):
            again = [(packet.pts, bytes(packet)) for _, packet in reel.read(first, last)]
            assert again == kept[first:last]
        reel.packets.pts[70] += 1
        with pytest.raises(LookupError, match="packet 70 of the source is not where it was"):
            list(reel.read(61, 95))


def test_more_than_a_worker_may_hold_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / "a", SOURCES["h264 fixed"], film())
    with open_reel(path) as reel:
        whole = reel.packets
    monkeypatch.setattr("curation.video.cut.packets.KEPT_BYTES", path.stat().st_size // 2)
    with open_reel(path) as reel:
        assert whole is not None and reel.packets is not None
        assert reel.packets.kept is None and reel.packets.pts == whole.pts


def test_frames_come_from_the_keyframe_before_and_no_more_are_decoded(tmp_path: Path) -> None:
    path = make(tmp_path / "a", SOURCES["h264 fixed"], film())
    with open_reel(path) as reel:
        assert np.allclose([s for s, _ in reel.frames(70, 75)], np.arange(70, 75) / 24)
        assert reel.decoded_frames <= 15 + 3  # from frame 60; B-frames may bring a few more
