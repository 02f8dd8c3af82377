"""Raw footage -> clips: one decode pass per source feeds every meter and finds the shots.

Nothing is cut or re-encoded here: a clip is a row with a range of frames, its measures and three
small pictures.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa

from curation import storage
from curation.clip import CLIPS, KEYFRAMES, VIDEOS, clip_id
from curation.meters import METERS
from curation.meters.cuts import Cuts, Detector
from curation.meters.keyframes import Keyframes
from curation.meters.shots import Piece, divide, shots_between
from curation.meters.span import Span
from curation.stage import Stage, Tables, Unit, empty_columns
from curation.stages.inventory import SIDECAR_SUFFIXES, is_sidecar, stem
from curation.video.decode import DecodePass, mean_fps, varies
from curation.video.open import VideoError
from curation.video.picture import Picture, fingerprint, small_planes, small_size

CLIP_COLUMNS = pa.schema(
    [
        *CLIPS,
        *(field for meter in METERS for field in meter.writes),
        pa.field("first_luma", pa.binary()),
        pa.field("last_luma", pa.binary()),
    ]
)
MAX_SOURCE_FRAMES = 12 * 3600 * 120  # what is kept of each frame for the meters takes 2.5 KB
VIDEO_COLUMNS = pa.schema([*VIDEOS, pa.field("decoded_frames", pa.int64())])


@dataclass(frozen=True)
class Split(Stage):
    """Find the shots of every source and measure them in one decode pass."""

    detector: Detector = "adaptive"
    """PySceneDetect detector for hard cuts."""
    threshold: float | None = None
    """Detector's own unit; null keeps its default (adaptive 3.0, content 27, histogram 0.2, hash
    0.35).
    """
    min_shot_frames: int = 6
    """Frames; a cut nearer than this to the one before is not a cut."""
    max_s: float = 20.0
    """Seconds; longer shots are divided at frames into near-equal clips."""
    deadline_per_file_s: float = 3600.0
    """Seconds; a file that takes longer has its worker killed and, after two attempts, is
    failed.
    """
    max_source_s: float = 43200.0
    """Seconds of footage; longer sources are refused."""

    name: ClassVar[str] = "split"
    unit: ClassVar[Any] = "source"
    reads: ClassVar[dict[str, list[str]]] = {
        "sources": ["uri", "video_id", "num_bytes", "version", "error"]
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

    @property
    def deadline_s(self) -> float:
        return self.deadline_per_file_s

    def run(self, tables: Tables) -> Tables:
        source = tables["rows"].to_pylist()[0]
        video = {name: source[name] for name in ("uri", "video_id", "num_bytes", "reject", "error")}
        if source["reject"] or source["error"]:
            return _tables(video, [], [])
        try:
            with storage.local_copy(source["uri"]) as path:
                return scan(path, video, knobs=self)
        except VideoError as error:
            return _tables(video | {"error": str(error)}, [], [])
        except FileNotFoundError:
            return _tables(
                video | {"error": "vanished: the file was there when the run began"}, [], []
            )

    def failed(self, tables: Tables, *, error: str) -> Tables:
        source = tables["rows"].to_pylist()[0]
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


def scan(path: Any, video: dict[str, Any], *, knobs: Split) -> Tables:
    """The one pass over a source. Raises VideoError when there is nothing to see."""
    cv2.setNumThreads(1)  # one task, one core
    decode, keyframes = DecodePass(path), Keyframes()
    cuts = Cuts(
        detector=knobs.detector, threshold=knobs.threshold, min_shot_frames=knobs.min_shot_frames
    )
    meters = [meter() for meter in METERS]
    fingerprints: list[bytes] = []
    size = (0, 0)
    for frame in decode:
        if frame.index == 0:
            size = small_size(*decode.display_size())
        if frame.time_s - decode.times_s[0] > knobs.max_source_s:
            raise VideoError("too_long", f"more than {knobs.max_source_s:g} s of footage")
        if frame.index == MAX_SOURCE_FRAMES:
            raise VideoError("too_many_frames", f"more than {MAX_SOURCE_FRAMES} frames")
        luma, bgr = small_planes(frame.picture, size=size, rotation=decode.rotation)
        picture = Picture(frame.index, frame.time_s, luma, bgr, is_corrupt=decode.corrupt[-1])
        for meter in (cuts, *meters):
            meter.update(picture)
        keyframes.update(frame, luma, decode)
        fingerprints.append(fingerprint(luma))
    edges_s = decode.edges_s()
    clips = [
        _clip(piece, video, decode, edges_s=edges_s, meters=meters, fingerprints=fingerprints)
        for shot in shots_between(cuts.transitions(), num_frames=decode.num_frames)
        for piece in divide(shot, edges_s=edges_s, max_s=knobs.max_s)
    ]
    keyframes.complete(path, clips, decode)
    row = _video(video, decode, edges_s)
    row["decoded_frames"] = decode.num_frames + keyframes.decoded_frames
    return _tables(row, clips, [k for clip in clips for k in keyframes.rows(clip, edges_s=edges_s)])


def _clip(
    piece: Piece,
    video: dict[str, Any],
    decode: DecodePass,
    *,
    edges_s: np.ndarray,
    meters: list[Any],
    fingerprints: list[bytes],
) -> dict[str, Any]:
    span = Span(piece.start, piece.end, edges_s[piece.start : piece.end + 1])
    width, height = decode.display_size()
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
        "first_luma": fingerprints[piece.start],
        "last_luma": fingerprints[piece.end - 1],
    }
    for meter in meters:
        row |= meter.clip(span)
    return row


def _video(video: dict[str, Any], decode: DecodePass, edges_s: np.ndarray) -> dict[str, Any]:
    width, height = decode.display_size()
    is_image = decode.probe.image_extension is not None
    return video | {
        "container": decode.probe.container,
        "codec": decode.probe.codec,
        "pixel_format": decode.probe.pixel_format,
        "stream_index": decode.probe.stream_index,
        "width": width,
        "height": height,
        "rotation": decode.rotation,
        "sample_aspect": decode.probe.sample_aspect,
        "fps": mean_fps(edges_s),
        "is_vfr": varies(edges_s),
        "num_frames": decode.num_frames,
        "duration_s": 0.0 if is_image else float(edges_s[-1] - edges_s[0]),
        "has_audio": decode.probe.has_audio,
        "is_hdr": decode.probe.is_hdr,
        "is_image": is_image,
        "decode_errors": decode.decode_errors,
        "corrupt_frames": sum(decode.corrupt),
    }


# -- units -----------------------------------------------------------------------------------------


def units(stage: Split, *, sources: pa.Table) -> list[Unit]:
    """One unit per source. Of files with the same bytes the one with the smallest uri is taken."""
    rows = sorted(sources.to_pylist(), key=lambda row: row["uri"])
    first_of: dict[str, str] = {}
    stems = {stem(row["uri"]) for row in rows if not row["uri"].lower().endswith(SIDECAR_SUFFIXES)}
    found = []
    for row in rows:
        reject = None
        if is_sidecar(row["uri"], stems=stems):
            reject = "sidecar"
        elif (
            row["num_bytes"]
            and row["video_id"]
            and first_of.setdefault(row["video_id"], row["uri"]) != row["uri"]
        ):
            reject = "duplicate_file"
        unit_rows = pa.Table.from_pylist([row | {"reject": reject}], schema=_UNIT_ROWS)
        key = stage.unit_key(
            row["uri"], str(row["num_bytes"]), row["version"], row["video_id"] or "", reject or ""
        )
        found.append(Unit(key, 1, rows=unit_rows))
    return found


_UNIT_ROWS = pa.schema(
    {
        "uri": pa.string(),
        "video_id": pa.string(),
        "num_bytes": pa.int64(),
        "version": pa.string(),
        "reject": pa.string(),
        "error": pa.string(),
    }
)
