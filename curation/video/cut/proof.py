"""Proof that a written clip is what was planned, by reading it again.

Three strengths, of growing cost: its packets (counted), one decode (every frame counted; the first,
the last and all re-encoded ones held against their fingerprints; damage), and two readers more.
"""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import cv2

from curation.video.decode import DecodePass
from curation.video.open import VideoError
from curation.video.picture import (
    Picture,
    fingerprint,
    fingerprint_difference,
    small_planes,
    small_size,
)

Verify = Literal["packets", "decode", "readers"]
COPY_TOLERANCE = 1.0  # of 255; a copy decodes to the same pictures
SAMPLE_TABLE = (b"mdia", b"minf", b"stbl")
KEYS = (*SAMPLE_TABLE, b"stss")
ENCODE_TOLERANCE = 4.0  # of 255, mean over 16x9: far above crf 18, far below another shot


@dataclass(frozen=True)
class Expected:
    """What a reader must find in a clip's mp4."""

    num_frames: int
    """Of the clip itself."""
    total_frames: int
    """Of the mp4: with what is decoded before the clip's first frame and after its last."""
    first_frame: int
    prints: Mapping[int, bytes]
    """Place among the mp4's frames -> fingerprint."""
    encoded: frozenset[int]
    """Those of the places whose frames were encoded again."""


@dataclass(frozen=True)
class Proof:
    verify: Verify
    wrong: str | None
    """The first thing that is not as expected."""
    frames_counted: int = 0
    first_difference: float | None = None
    """Of the clip's first frame to the source's, mean of 255; None where it was not decoded."""
    last_difference: float | None = None
    is_interlaced: bool = False
    pictures: tuple[Picture, ...] = ()
    """The clip's own frames, where they were asked for."""


def prove(data: bytes, expected: Expected, *, verify: Verify, keep_pictures: bool = False) -> Proof:
    try:
        if verify == "packets":
            return count_packets(data, expected)
        proof = decode_again(data, expected, keep_pictures=keep_pictures, verify=verify)
    except VideoError as error:
        return Proof(verify, str(error))
    if verify == "readers" and proof.wrong is None:
        wrong = readers_disagree(data, num_frames=expected.total_frames)
        if wrong:
            return Proof(verify, wrong, proof.frames_counted)
    return proof


def count_packets(data: bytes, expected: Expected) -> Proof:
    """By the mp4's own tables, without a demuxer: as many samples as pictures, the first a
    keyframe. Opening the clip instead would decode its first frames, which costs as much as
    copying it.
    """
    track = video_track(data)
    sizes, keys = find_box(track, (*SAMPLE_TABLE, b"stsz")), find_box(track, KEYS)
    count = int.from_bytes(sizes[8:12], "big")  # ISO 14496-12 8.7.3.2: version, size, count
    first_key = int.from_bytes(keys[8:12], "big") if keys else 1  # 8.6.2.2; no table: all are
    wrong = None
    if count != expected.total_frames:
        wrong = f"{count} packets, planned {expected.total_frames}"
    elif first_key != 1:
        wrong = "the first packet is no keyframe"
    return Proof("packets", wrong, count)


def video_track(data: bytes) -> bytes:
    for kind, content in boxes(find_box(data, (b"moov",))):
        if kind == b"trak" and find_box(content, (b"mdia", b"hdlr"))[8:12] == b"vide":
            return content
    return b""


def find_box(data: bytes, path: tuple[bytes, ...]) -> bytes:
    """Content of the first box along a path, b"" where there is none."""
    for name in path:
        data = next((content for kind, content in boxes(data) if kind == name), b"")
    return data


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, content) of the boxes in a box (ISO 14496-12 4.2)."""
    at = 0
    while at + 8 <= len(data):
        size, header = int.from_bytes(data[at : at + 4], "big"), 8
        if size == 1:
            size, header = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        if size < header:
            return
        if data[at + 4 : at + 8] != b"mdat":
            yield data[at + 4 : at + 8], data[at + header : at + size]
        at += size


def decode_again(
    data: bytes, expected: Expected, *, keep_pictures: bool = False, verify: Verify = "decode"
) -> Proof:
    last_frame = expected.first_frame + expected.num_frames - 1
    differences: dict[int, float] = {}
    pictures: list[Picture] = []
    interlaced = 0
    decode = DecodePass(data)
    for frame in decode:
        is_own = expected.first_frame <= frame.index <= last_frame
        interlaced += is_own and bool(frame.picture.interlaced_frame)
        is_known = frame.index in expected.prints
        if not is_known and not (keep_pictures and is_own):
            continue
        size = small_size(*decode.display_size())
        planes = small_planes(frame.picture, size=size, rotation=decode.rotation)
        if is_known:
            found = fingerprint(planes[0])
            planned = expected.prints[frame.index]
            differences[frame.index] = fingerprint_difference(found, planned)
        if keep_pictures and is_own:
            before = pictures[-1] if pictures else None
            place = frame.index - expected.first_frame
            pictures.append(
                Picture(place, frame.time_s, planes, before=before, frame=frame.picture)
            )
    damaged = decode.decode_errors or any(decode.corrupt)
    return Proof(
        verify,
        _wrong(decode.num_frames, differences, expected)
        or ("the decoder reports damage" if damaged else None),
        decode.num_frames,
        differences.get(expected.first_frame),
        differences.get(last_frame),
        2 * interlaced > expected.num_frames,
        tuple(pictures),
    )


def _wrong(num_frames: int, differences: Mapping[int, float], expected: Expected) -> str | None:
    if num_frames != expected.total_frames:
        return f"{num_frames} frames, planned {expected.total_frames}"
    last_frame = expected.first_frame + expected.num_frames - 1
    names = {expected.first_frame: "first frame", last_frame: "last frame"}
    for place, difference in sorted(differences.items()):
        limit = ENCODE_TOLERANCE if place in expected.encoded else COPY_TOLERANCE
        if difference > limit:
            name = names.get(place, f"frame {place - expected.first_frame}")
            return f"{name} differs from the source's by {difference:.1f} of 255"
    return None


def readers_disagree(data: bytes, *, num_frames: int) -> str | None:
    """The first of decord and OpenCV that does not decode num_frames, or None."""
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        file.write(data)
        file.flush()
        for name, count in (("decord", count_decord), ("opencv", count_opencv)):
            if (found := count(file.name)) != num_frames:
                return f"{name} reads {found} frames, planned {num_frames}"
    return None


def count_decord(path: str) -> int:
    """Frames that decord gives; 0 where it cannot open the file."""
    import decord

    try:
        reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
        reader[len(reader) - 1]
    except (decord.DECORDError, RuntimeError, IndexError):
        return 0
    return len(reader)


def count_opencv(path: str) -> int:
    capture = cv2.VideoCapture(path)
    count = 0
    while capture.grab():
        count += 1
    capture.release()
    return count
