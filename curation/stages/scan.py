"""The one decode pass: every frame of a source is decoded once and seen by every meter.

First half of `split`. A unit is a whole source or, of a long one, a segment between two keyframes;
segments are scanned in parallel and give, joined, what one pass would have given. What is kept of a
frame are numbers (about 700 bytes, 400 on disk); where the cuts are is asked later, by `split`, so
that other thresholds cost no decoding.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
import pyarrow as pa

from curation import storage
from curation.clip import hash_128
from curation.memory import DECODING_GB
from curation.meters import METERS
from curation.meters.cuts import OVERLAP, REACH, Cuts, Detector, weights_digest
from curation.meters.keyframes import Thumbs
from curation.meters.record import Log, between
from curation.stage import Stage, Tables, Unit, empty_columns
from curation.stages.inventory import SIDECAR_SUFFIXES, is_sidecar, stem
from curation.stages.segments import WHOLE_RUN, segments
from curation.video.batch import batches, pictured
from curation.video.decode import WHOLE, DecodePass, Segment
from curation.video.open import Source, VideoError
from curation.video.picture import fingerprint

METER_COLUMN = {meter: f"meter_{meter.__name__.lower()}" for meter in METERS}

SEGMENTS = pa.schema(
    [
        # which stretch of which source
        ("uri", pa.string()),
        ("video_id", pa.string()),
        ("num_bytes", pa.int64()),
        ("starts_run", pa.bool_()),  # whether nothing is decoded before it
        ("start_frame", pa.int64()),  # by the stamps, to be compared with what came out
        ("end_frame", pa.int64()),  # the same; null where the run ends with the source
        ("reject", pa.string()),
        ("error", pa.string()),
        # the stream
        ("container", pa.string()),
        ("codec", pa.string()),
        ("pixel_format", pa.string()),
        ("stream_index", pa.int32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("rotation", pa.int32()),
        ("sample_aspect", pa.float32()),
        ("has_audio", pa.bool_()),
        ("is_hdr", pa.bool_()),
        ("is_image", pa.bool_()),
        # what came out of the decoder
        ("num_frames", pa.int64()),  # of the segment
        ("decoded_frames", pa.int64()),  # with the overlap
        ("corrupt_frames", pa.int64()),
        ("interlaced_frames", pa.int64()),
        ("decode_errors", pa.int64()),
        ("last_duration_s", pa.float64()),
        # arrays, one entry per frame of the segment
        ("times_s", pa.binary()),  # float64
        ("frame_bytes", pa.binary()),  # int32, of its packet
        ("fingerprints", pa.binary()),  # 144 bytes each
        # arrays of rows with a frame number from the segment's beginning
        ("scores", pa.binary()),  # curation.meters.cuts.SCORE
        *((column, pa.binary()) for column in METER_COLUMN.values()),  # the meter's record
    ]
)
THUMBS = pa.schema(
    {
        "video_id": pa.string(),
        "start_frame": pa.int64(),  # of the segment
        "frame": pa.int64(),  # from there
        "jpeg": pa.binary(),
    }
)


@dataclass(frozen=True)
class Scan(Stage):
    """Measure every source in one decode pass."""

    detector: Detector = "network"
    """Where cuts are looked for: network (ours: hard cuts, dissolves, fades and wipes), or one of
    PySceneDetect's: adaptive, content, histogram, hash (hard cuts only; long sources are then one
    task).
    """
    profile: Literal["exact", "fast"] = "exact"
    """fast leaves out the decoder's loop filter (H.264 and HEVC): a fifth cheaper, pictures drift a
    little.
    """
    segment_s: float = 300.0
    """Seconds; sources that the inventory found places to divide (`inventory.divide_from_s`) are
    scanned in segments of about this length, in parallel.
    """
    deadline_per_segment_s: float = 3600.0
    """Seconds; a segment that takes longer has its worker killed and, after two attempts, its
    source is failed.
    """
    max_source_s: float = 43200.0
    """Seconds of footage; longer sources are refused."""

    name: ClassVar[str] = "scan"
    unit: ClassVar[Any] = "source"
    memory_gb: ClassVar[Any] = DECODING_GB
    reads: ClassVar[dict[str, list[str]]] = {
        "sources": ["uri", "video_id", "num_bytes", "version", "division_points", "error"]
    }
    writes: ClassVar[dict[str, pa.Schema]] = {"segments": SEGMENTS, "thumbs": THUMBS}

    def __post_init__(self) -> None:
        if not (self.segment_s > 0 and self.deadline_per_segment_s > 0):
            raise ValueError(
                f"{self.segment_s = }, {self.deadline_per_segment_s = }; expected both above 0"
            )

    def config_hash(self) -> str:
        digest = weights_digest() if self.detector == "network" else ""
        return hash_128(super().config_hash(), digest)

    @property
    def deadline_s(self) -> float:
        return self.deadline_per_segment_s

    def run(self, tables: Tables) -> Tables:
        row = tables["rows"].to_pylist()[0]
        if row["reject"] or row["error"]:
            return _tables(row, {})
        listed = storage.Source(row["uri"], row["num_bytes"], row["version"])
        try:
            with storage.unchanged(listed), storage.open_source(row["uri"]) as source:
                found, thumbs = scan(source, knobs=self, **_stretch(row))
        except VideoError as error:
            return _tables(row | {"error": str(error)}, {})
        return _tables(row | found, thumbs)

    def failed(self, tables: Tables, *, error: str) -> Tables:
        return _tables(tables["rows"].to_pylist()[0] | {"error": error}, {})


def _stretch(row: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `scan` from a unit's row."""
    overlap = 0 if row["end_pts"] is None else OVERLAP
    segment = Segment(row["start_pts"], row["end_pts"], overlap)
    return {"segment": segment, "is_first": row["starts_run"]}


def _tables(row: dict[str, Any], thumbs: dict[int, bytes]) -> Tables:
    known = {name: row[name] for name in SEGMENTS.names if name in row}
    empty = {name: column[0].as_py() for name, column in empty_columns(SEGMENTS, 1).items()}
    pictures = [
        {
            "video_id": row["video_id"],
            "start_frame": row["start_frame"],
            "frame": frame,
            "jpeg": data,
        }
        for frame, data in sorted(thumbs.items())
    ]
    return {
        "segments": pa.Table.from_pylist([empty | known], schema=SEGMENTS),
        "thumbs": pa.Table.from_pylist(pictures, schema=THUMBS),
    }


def scan(
    source: Source, *, knobs: Scan, segment: Segment = WHOLE, is_first: bool = True
) -> tuple[dict[str, Any], dict[int, bytes]]:
    """(columns of the table segments, JPEGs by frame) of one stretch. Raises VideoError when there
    is nothing to see.

    Frames are numbered from the segment's beginning. The first REACH of them, whose measures may
    depend on what lies before, are left to the segment before, which decodes OVERLAP frames
    beyond its end.
    """
    cv2.setNumThreads(1)  # one task, one core
    decode = DecodePass(source, segment=segment, fast=knobs.profile == "fast")
    cuts, logs, thumbs = (
        Cuts(detector=knobs.detector),
        [Log(meter()) for meter in METERS],
        Thumbs(decode),
    )
    fingerprints: list[bytes] = []
    frame_bytes: list[int] = []
    before = None
    for frames in batches(decode, max_source_s=knobs.max_source_s):
        pictures = pictured(frames, decode, before=before)
        for see in (cuts.update, *(log.update for log in logs), thumbs.update):
            for picture in pictures:
                see(picture)
        fingerprints += [fingerprint(picture.luma) for picture in pictures]
        frame_bytes += [frame.num_bytes for frame in frames]
        before = pictures[-1]
    owned = decode.num_owned
    end = owned + min(segment.overlap, REACH)
    seen = {"start": 0 if is_first else REACH, "end": end, "offset": 0}
    width, height = decode.display_size()
    found = {
        "container": decode.probe.container,
        "codec": decode.probe.codec,
        "pixel_format": decode.probe.pixel_format,
        "stream_index": decode.probe.stream_index,
        "width": width,
        "height": height,
        "rotation": decode.rotation,
        "sample_aspect": decode.probe.sample_aspect,
        "has_audio": decode.probe.has_audio,
        "is_hdr": decode.probe.is_hdr,
        "is_image": decode.probe.image_extension is not None,
        "num_frames": owned,
        "decoded_frames": decode.num_frames,
        "corrupt_frames": sum(decode.corrupt[:owned]),
        "interlaced_frames": decode.interlaced_frames,
        "decode_errors": decode.decode_errors,
        "last_duration_s": decode.last_duration_s,
        "times_s": np.array(decode.times_s[:owned]).tobytes(),
        "frame_bytes": np.array(frame_bytes[:owned], np.int32).tobytes(),
        "fingerprints": b"".join(fingerprints[:owned]),
        "scores": cuts.scores()[seen["start"] : seen["end"]].tobytes(),
    }
    for log in logs:
        found[METER_COLUMN[type(log.meter)]] = between(log.array(), **seen).tobytes()
    kept = {f: data for f, data in thumbs.jpegs.items() if seen["start"] <= f < seen["end"]}
    return found, kept


# -- units -----------------------------------------------------------------------------------------


def units(stage: Scan, *, sources: pa.Table, verdicts: dict[str, Any] | None = None) -> list[Unit]:
    """One unit per source, or per segment of a long one; of a source of which triage has rejected
    something (curation.stages.verdict.Verdict by uri), per segment of what it has left.
    """
    # the other detectors' state runs from the beginning on
    every_s = stage.segment_s if stage.detector == "network" else math.inf
    found = []
    for source, reject in admitted(sources):
        points = source.pop("division_points") or []
        runs = [WHOLE_RUN]
        if verdict := (verdicts or {}).get(source["uri"]):
            runs = [stretch for stretch in verdict.row["stretches"] if not stretch["reject"]]
            reject = verdict.row["reject"]
        runs = runs if reject is None else [WHOLE_RUN]
        if points and points[-1]["time_s"] - points[0]["time_s"] > stage.max_source_s:
            source["error"] = f"too_long: more than {stage.max_source_s:g} s of footage"
        for stretch in segments(points, runs=runs, every_s=every_s):
            row = source | stretch | {"reject": reject}
            names = [str(row[name]) for name in _KEY]
            rows = pa.Table.from_pylist([row], schema=_UNIT_ROWS)
            found.append(Unit(stage.unit_key(*names), 1, rows=rows))
    return found


def admitted(sources: pa.Table) -> list[tuple[dict[str, Any], str | None]]:
    """The rows of the table sources by uri, and why one is not decoded. Of files with the same
    bytes the one with the smallest uri is taken.
    """
    listed = sorted(sources.to_pylist(), key=lambda row: row["uri"])
    first_of: dict[str, str] = {}
    stems = {
        stem(row["uri"]) for row in listed if not row["uri"].lower().endswith(SIDECAR_SUFFIXES)
    }
    found: list[tuple[dict[str, Any], str | None]] = []
    for source in listed:
        reject = None
        if is_sidecar(source["uri"], stems=stems):
            reject = "sidecar"
        elif (
            source["num_bytes"]
            and source["video_id"]
            and first_of.setdefault(source["video_id"], source["uri"]) != source["uri"]
        ):
            reject = "duplicate_file"
        found.append((source, reject))
    return found


_UNIT_ROWS = pa.schema(
    {
        "uri": pa.string(),
        "video_id": pa.string(),
        "num_bytes": pa.int64(),
        "version": pa.string(),
        "start_pts": pa.int64(),
        "end_pts": pa.int64(),
        "starts_run": pa.bool_(),
        "start_frame": pa.int64(),
        "end_frame": pa.int64(),
        "reject": pa.string(),
        "error": pa.string(),
    }
)
_KEY = (
    *("uri", "video_id", "num_bytes", "version", "reject", "error"),
    *("start_pts", "end_pts", "start_frame", "end_frame", "starts_run"),
)
