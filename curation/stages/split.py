"""Raw footage -> clips: what the scan measured becomes shots, clips and their columns.

Second half of `split`. No video is decoded here but for the picture of a clip so short that the
scan kept none. Nothing is cut or re-encoded: a clip is a row with a range of frames, its measures
and up to three small pictures.
"""

import contextlib
import json
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from curation import dataset, storage
from curation.clip import CLIPS, KEYFRAMES, VIDEOS, clip_id
from curation.memory import DECODING_GB
from curation.meters import METERS
from curation.meters.cuts import RESIDUAL_WRITES, residual, transitions
from curation.meters.keyframes import choose, look_again, rows
from curation.meters.shots import Piece, divide, shots_between
from curation.meters.span import Span
from curation.stage import Stage, Tables, Unit, empty_columns
from curation.stages.join import Run, Scanned, join
from curation.stages.triage import TRIAGE as TRIAGE_COLUMNS
from curation.stages.verdict import (
    TRIAGE,
    Verdict,
    look_rows,
    rejected_rows,
    renumbered,
    unseen,
    whole,
)
from curation.video.decode import mean_fps, varies
from curation.video.open import VideoError

CLIP_COLUMNS = pa.schema(
    [
        *CLIPS,
        *(field for meter in METERS for field in meter.writes),
        *RESIDUAL_WRITES,
        pa.field("bits_per_pixel", pa.float32()),  # of the clip's packets, per pixel and frame
        pa.field("first_luma", pa.binary()),
        pa.field("last_luma", pa.binary()),
    ]
)
VIDEO_COLUMNS = pa.schema([*VIDEOS, pa.field("decoded_frames", pa.int64())])


@dataclass(frozen=True)
class Split(Stage):
    """Find the shots of every source and their measures."""

    cut_threshold: float | None = None
    """0-1; a hard cut is where the detector's score is above; null keeps the detector's own."""
    gradual_threshold: float | None = None
    """0-1; frames whose score of lying in a dissolve, fade or wipe is above belong to no clip; null
    keeps the detector's own.
    """
    min_shot_frames: int = 6
    """Frames; a cut nearer than this to the one before is not a cut."""
    max_s: float = 20.0
    """Seconds; longer shots are divided at frames into near-equal clips."""

    name: ClassVar[str] = "split"
    unit: ClassVar[Any] = "source"
    memory_gb: ClassVar[Any] = DECODING_GB  # for the pictures of clips that the scan kept none of
    reads: ClassVar[dict[str, list[str]]] = {
        "segments": ["uri", "video_id", "start_frame", "times_s", "scores", "error"],
        "thumbs": ["start_frame", "frame", "jpeg"],
    }
    writes: ClassVar[dict[str, pa.Schema]] = {
        "videos": VIDEO_COLUMNS,
        "clips": CLIP_COLUMNS,
        "keyframes": KEYFRAMES,
    }

    def __post_init__(self) -> None:
        if not self.max_s > 0 or self.min_shot_frames < 1:
            raise ValueError(
                f"{self.max_s = }, {self.min_shot_frames = }; "
                f"expected max_s > 0 and min_shot_frames >= 1"
            )

    def run(self, tables: Tables) -> Tables:
        segments = tables["segments"].sort_by("start_frame").to_pylist()
        triaged = tables["rows"].to_pylist()[0]["triage"] if "rows" in tables else None
        video = {name: segments[0][name] for name in ("uri", "video_id", "num_bytes", "reject")}
        errors = [segment["error"] for segment in segments if segment["error"]]
        if errors:
            return _tables(video | {"error": errors[0]}, [], [])
        if video["reject"]:
            rejected = rejected_rows(video, triaged) if triaged else []
            looks = look_rows(rejected, tables["look_pictures"]) if rejected else []
            return _tables(video | (unseen(triaged) if triaged else {}), rejected, looks)
        scanned = join(segments)
        numbers = scanned.numbers
        rejected, looks = [], []
        if triaged:
            triaged = renumbered(triaged, numbers.counted)
            rejected = rejected_rows(video, triaged)
            looks = look_rows(rejected, tables["look_pictures"], number=numbers.counted)
            for stretch in triaged["stretches"]:
                if not stretch["reject"] and stretch["end_pts"] is not None:
                    # the frame behind it was seen by triage alone
                    scanned.edges_s[stretch["end_frame"]] = stretch["end_s"]
        clips = self.clips(video, scanned)
        thumbs = {
            numbers.counted(row["start_frame"]) + row["frame"]: row["jpeg"]
            for row in tables["thumbs"].to_pylist()
        }
        decoded = sum(segment["decoded_frames"] for segment in segments)
        keyframes, again = _keyframes(clips, thumbs, uri=video["uri"], times_s=scanned.edges_s)
        row = video | _video(scanned) | {"decoded_frames": decoded + again}
        if triaged:
            row |= whole(triaged)
        clips = sorted([*clips, *rejected], key=lambda clip: clip["start_frame"])
        return _tables(row, clips, [*keyframes, *looks])

    def clips(self, video: dict[str, Any], scanned: Scanned) -> list[dict[str, Any]]:
        """The rows of the table clips: one per shot, or piece of a long one."""
        return [
            _clip(piece, video, scanned)
            for run in scanned.runs
            for shot in self._shots(run, scanned)
            for piece in divide(shot, edges_s=scanned.edges_s, max_s=self.max_s)
        ]

    def _shots(self, run: Run, scanned: Scanned) -> list[Piece]:
        """Where the run ends, shots end; what is known of the frames behind it still counts."""
        found = transitions(
            scanned.scores[run.start : run.scored_end],
            threshold=self.cut_threshold,
            gradual_threshold=self.gradual_threshold,
            min_shot_frames=self.min_shot_frames,
        )
        shots = []
        for shot in shots_between(found, num_frames=run.scored_end - run.start):
            start, end = run.start + shot.start, run.start + shot.end
            kind_in = TRIAGE if start == run.start > 0 else shot.transition_in
            kind_out = TRIAGE if end >= run.end and run.has_more else shot.transition_out
            if start < run.end:
                shots.append(Piece(start, min(end, run.end), kind_in, kind_out))
        return shots

    def failed(self, tables: Tables, *, error: str) -> Tables:
        source = tables["segments"].to_pylist()[0]
        video = {name: source[name] for name in ("uri", "video_id", "num_bytes")}
        return _tables(video | {"error": error}, [], [])


def _tables(
    video: dict[str, Any], clips: list[dict[str, Any]], keyframes: list[dict[str, Any]]
) -> Tables:
    row = {
        name: column[0].as_py() for name, column in empty_columns(VIDEO_COLUMNS, 1).items()
    } | video
    return {
        "videos": pa.Table.from_pylist([row], schema=VIDEO_COLUMNS),
        "clips": pa.Table.from_pylist(clips, schema=CLIP_COLUMNS),
        "keyframes": pa.Table.from_pylist(keyframes, schema=KEYFRAMES),
    }


def _clip(piece: Piece, video: dict[str, Any], scanned: Scanned) -> dict[str, Any]:
    span = Span(piece.start, piece.end, scanned.edges_s[piece.start : piece.end + 1])
    width, height = scanned.facts["width"], scanned.facts["height"]
    frame_bytes = scanned.frame_bytes[piece.start : piece.end]
    row = {
        "clip_id": clip_id(video["video_id"], start_frame=piece.start, end_frame=piece.end),
        "video_id": video["video_id"],
        "uri": video["uri"],
        "start_frame": piece.start,
        "end_frame": piece.end,
        "start_s": float(span.edges_s[0]),
        "end_s": float(span.edges_s[-1]),
        "num_frames": span.num_frames,
        "fps": mean_fps(span.edges_s),
        "width": width,
        "height": height,
        "transition_in": piece.transition_in,
        "transition_out": piece.transition_out,
        "bits_per_pixel": (
            8 * float(frame_bytes.mean()) / (width * height) if frame_bytes.all() else None
        ),
        "first_luma": scanned.fingerprints[piece.start].tobytes(),
        "last_luma": scanned.fingerprints[piece.end - 1].tobytes(),
    }
    row |= residual(scanned.scores, piece.start, piece.end)
    for meter, meter_rows in zip(METERS, scanned.meters, strict=True):
        row |= meter.clip(span.of(meter_rows), span)
    return row


def _video(scanned: Scanned) -> dict[str, Any]:
    facts, edges_s = scanned.facts, scanned.edges_s
    names = (
        "container",
        "codec",
        "pixel_format",
        "stream_index",
        "width",
        "height",
        "rotation",
        "sample_aspect",
        "has_audio",
        "is_hdr",
        "is_image",
        "decode_errors",
        "corrupt_frames",
    )
    runs = [edges_s[run.start : run.end + 1] for run in scanned.runs]
    steps, seconds = sum(len(e) - 2 for e in runs), sum(float(e[-2] - e[0]) for e in runs)
    num_seen = sum(run.end - run.start for run in scanned.runs)
    return {name: facts[name] for name in names if name in facts} | {
        "fps": steps / seconds if steps else None,
        "is_vfr": any(varies(e) for e in runs),
        "is_interlaced": facts["interlaced_frames"] > num_seen / 2,
        "num_frames": scanned.num_frames,
        "duration_s": 0.0 if facts["is_image"] else float(edges_s[-1] - edges_s[0]),
    }


def _keyframes(
    clips: list[dict[str, Any]], jpegs: dict[int, bytes], *, uri: str, times_s: np.ndarray
) -> tuple[list[dict[str, Any]], int]:
    """(rows of the table keyframes, frames decoded a second time for clips without a picture)."""
    kept = sorted(jpegs)
    chosen = {clip["clip_id"]: choose(kept, clip) for clip in clips}
    decoded = 0
    middles = {
        clip["clip_id"]: (clip["start_frame"] + clip["end_frame"] - 1) // 2
        for clip in clips
        if not chosen[clip["clip_id"]]
    }
    if middles:
        again: dict[int, bytes] = {}
        display = clips[0]["width"], clips[0]["height"]
        # a source that is gone by now gives no picture; shard will say so of its clips
        with contextlib.suppress(VideoError, FileNotFoundError), storage.open_source(uri) as source:
            again, decoded = look_again(
                source, list(middles.values()), times_s=times_s, display=display
            )
        jpegs = jpegs | again
        chosen |= {name: [frame] for name, frame in middles.items()}
    found = [
        row for clip in clips for row in rows(clip, chosen[clip["clip_id"]], jpegs, times_s=times_s)
    ]
    return found, decoded


# -- units -----------------------------------------------------------------------------------------


def units(
    stage: Split,
    scan_units: list[Unit],
    names: list[str],
    *,
    data: str,
    verdicts: dict[str, Verdict] | None = None,
) -> list[Unit]:
    """One unit per source: the segments that the scan wrote of it, under these names, and what
    triage rejected of it.
    """
    of_source: dict[str, list[str]] = {}
    for unit, name in zip(scan_units, names, strict=True):
        assert unit.rows is not None
        of_source.setdefault(unit.rows["uri"][0].as_py(), []).append(name)
    found = []
    for uri, keys in of_source.items():
        files = {
            table: [dataset.unit_url(data, table, key) for key in keys]
            for table in ("segments", "thumbs")
        }
        verdict = (verdicts or {}).get(uri)
        if verdict:
            files["look_pictures"] = verdict.pictures
        triaged = verdict.row if verdict else None
        rows = pa.Table.from_pylist([{"uri": uri, "triage": triaged}], schema=UNIT_ROWS)
        reads = [*keys, json.dumps(triaged)] if triaged else keys
        found.append(Unit(stage.unit_key(uri, *reads), 1, rows=rows, files=files))
    return found


UNIT_ROWS = pa.schema([("uri", pa.string()), ("triage", pa.struct(list(TRIAGE_COLUMNS)))])
