"""Raw footage -> clips: one decode pass per source feeds every meter and finds the shots.

Nothing is cut or re-encoded here: a clip is a row with a range of frames, its measures and three
small pictures.
"""

import dataclasses
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from curation import storage
from curation.clip import CLIPS, KEYFRAMES, VIDEOS, clip_id
from curation.meters import METERS
from curation.meters.cuts import Cuts, Detector, Transition
from curation.meters.freeze import mean_difference
from curation.meters.span import Span
from curation.stage import Stage, Tables, Unit, empty_columns
from curation.stages.inventory import is_sidecar, stem
from curation.video.decode import DecodePass, mean_fps, varies
from curation.video.open import VideoError
from curation.video.picture import Picture, fingerprint, jpeg, small_planes, small_size

KEYFRAME_POSITIONS = (0.1, 0.5, 0.9)
SAMPLES_PER_S = 2.0  # pictures kept as JPEG in the pass, from which keyframes are chosen
CUT_CHANGE = 8.0  # of 255: a mean change that may be a cut; a picture is kept three frames later
CLIP_COLUMNS = pa.schema(
    [
        *CLIPS,
        *(field for meter in METERS for field in meter.writes),
        pa.field("first_luma", pa.binary()),
        pa.field("last_luma", pa.binary()),
    ]
)
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


@dataclass(frozen=True)
class Sample:
    """A picture kept from the pass."""

    frame: int
    jpeg: bytes


def scan(path: Any, video: dict[str, Any], *, knobs: Split) -> Tables:
    """The one pass over a source. Raises VideoError when there is nothing to see."""
    decode = DecodePass(path)
    cuts = Cuts(
        detector=knobs.detector, threshold=knobs.threshold, min_shot_frames=knobs.min_shot_frames
    )
    meters = [meter() for meter in METERS]
    samples: list[Sample] = []
    lumas: list[bytes] = []
    size, due_s, before = (0, 0), float("-inf"), None
    for frame in decode:
        if frame.index == 0:
            size = small_size(*decode.display_size())
        if frame.time_s - decode.times_s[0] > knobs.max_source_s:
            raise VideoError("too_long", f"more than {knobs.max_source_s:g} s of footage")
        luma, bgr = small_planes(frame.picture, size=size, rotation=decode.rotation)
        picture = Picture(frame.index, frame.time_s, luma, bgr, is_corrupt=decode.corrupt[-1])
        cuts.update(picture)
        for meter in meters:
            meter.update(picture)
        lumas.append(fingerprint(luma))
        if before is not None and mean_difference(before, luma) > CUT_CHANGE:
            due_s = min(due_s, frame.time_s + 3 * decode.last_duration_s)
        before = luma
        if frame.time_s >= due_s:
            due_s = frame.time_s + 1 / SAMPLES_PER_S
            samples.append(_sample(frame, decode))
    edges_s = decode.edges_s()
    shots = shots_between(cuts.transitions(), num_frames=decode.num_frames)
    clips = [
        _clip(piece, video=video, decode=decode, edges_s=edges_s, meters=meters, lumas=lumas)
        for shot in shots
        for piece in divide(shot, edges_s=edges_s, max_s=knobs.max_s)
    ]
    wanted = _wanted_frames(clips, [sample.frame for sample in samples])
    extra = _late_samples(path, [f for f in wanted if f not in {s.frame for s in samples}])
    pictures = {sample.frame: sample.jpeg for sample in [*samples, *extra.samples]}
    row = _video(video, decode, edges_s) | {
        "decoded_frames": decode.num_frames + extra.decoded_frames
    }
    keyframes = [k for clip in clips for k in _keyframes(clip, sorted(pictures), pictures, edges_s)]
    return _tables(row, clips, keyframes)


# -- from transitions to clips ---------------------------------------------------------------------


@dataclass(frozen=True)
class Piece:
    """Frames [start, end) and what bounds them."""

    start: int
    end: int
    transition_in: str
    transition_out: str


def shots_between(transitions: list[Transition], *, num_frames: int) -> list[Piece]:
    """The frames between transitions; those inside a gradual one belong to no shot."""
    ins = [(0, "edge"), *((t.end, t.kind) for t in transitions)]
    outs = [*((t.start, t.kind) for t in transitions), (num_frames, "edge")]
    return [
        Piece(start, end, kind_in, kind_out)
        for (start, kind_in), (end, kind_out) in zip(ins, outs, strict=True)
        if end > start
    ]


def divide(shot: Piece, *, edges_s: np.ndarray, max_s: float) -> list[Piece]:
    """Near-equal pieces of at most max_s seconds, divided at the frames nearest to equal times.

    A single frame that is shown for longer is a piece of its own.
    """
    parts = max(1, int(np.ceil((edges_s[shot.end] - edges_s[shot.start]) / max_s - 1e-6)))
    bounds = _equal_bounds(shot, edges_s, parts)
    if _too_long(bounds, edges_s, max_s):
        bounds = _equal_bounds(shot, edges_s, parts + 1)  # rounding to a frame made one too long
    while long := _too_long(bounds, edges_s, max_s):  # the frame rate varies: halve what is left
        halves = [_nearest_frame(edges_s, a, b, (edges_s[a] + edges_s[b]) / 2) for a, b in long]
        bounds = sorted({*bounds, *halves})
    ins = [shot.transition_in, *["division"] * (len(bounds) - 2)]
    outs = [*["division"] * (len(bounds) - 2), shot.transition_out]
    return [Piece(a, b, i, o) for a, b, i, o in zip(bounds, bounds[1:], ins, outs, strict=False)]


def _equal_bounds(shot: Piece, edges_s: np.ndarray, parts: int) -> list[int]:
    times = np.linspace(edges_s[shot.start], edges_s[shot.end], parts + 1)[1:-1]
    if shot.end - shot.start == 1:
        return [shot.start, shot.end]
    inner = {_nearest_frame(edges_s, shot.start, shot.end, time_s) for time_s in times}
    return sorted({shot.start, *inner, shot.end})


def _nearest_frame(edges_s: np.ndarray, start: int, end: int, time_s: float) -> int:
    """The frame after start and before end that begins nearest to a time."""
    return start + 1 + int(np.abs(edges_s[start + 1 : end] - time_s).argmin())


def _too_long(bounds: list[int], edges_s: np.ndarray, max_s: float) -> list[tuple[int, int]]:
    pieces = zip(bounds, bounds[1:], strict=False)
    return [(a, b) for a, b in pieces if b - a > 1 and edges_s[b] - edges_s[a] > max_s + 1e-6]


def _clip(
    piece: Piece,
    *,
    video: dict[str, Any],
    decode: DecodePass,
    edges_s: np.ndarray,
    meters: list[Any],
    lumas: list[bytes],
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
        "first_luma": lumas[piece.start],
        "last_luma": lumas[piece.end - 1],
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


# -- keyframes -------------------------------------------------------------------------------------


def _sample(frame: Any, decode: DecodePass) -> Sample:
    return Sample(
        frame.index, jpeg(frame.picture, display=decode.display_size(), rotation=decode.rotation)
    )


@dataclass
class _Late:
    samples: list[Sample] = dataclasses.field(default_factory=list)
    decoded_frames: int = 0


def _wanted_frames(clips: list[dict[str, Any]], sampled: list[int]) -> list[int]:
    """The middle frame of every clip too short to have been sampled."""
    return [
        (clip["start_frame"] + clip["end_frame"] - 1) // 2
        for clip in clips
        if bisect_left(sampled, clip["start_frame"]) == bisect_left(sampled, clip["end_frame"])
    ]


def _late_samples(path: Any, frames: list[int]) -> _Late:
    """Pictures that the pass did not keep: a second, counted look up to the last of them."""
    late = _Late()
    if not frames:
        return late
    decode, wanted = DecodePass(path), set(frames)
    for frame in decode:
        late.decoded_frames += 1
        if frame.index in wanted:
            late.samples.append(_sample(frame, decode))
        if frame.index >= max(wanted):
            break
    return late


def _keyframes(
    clip: dict[str, Any], frames: list[int], pictures: dict[int, bytes], edges_s: np.ndarray
) -> list[dict[str, Any]]:
    """Up to three pictures of a clip, those nearest to a tenth, half and nine tenths of its
    length.
    """
    first, last = clip["start_frame"], clip["end_frame"] - 1
    inside = frames[bisect_left(frames, first) : bisect_left(frames, clip["end_frame"])]
    targets = [first + position * (last - first) for position in KEYFRAME_POSITIONS]
    chosen = sorted({min(inside, key=lambda f: (abs(f - target), f)) for target in targets})
    return [
        {
            "clip_id": clip["clip_id"],
            "position": (frame - first) / max(1, last - first),
            "frame": frame,
            "time_s": float(edges_s[frame]),
            "jpeg": pictures[frame],
        }
        for frame in chosen
    ]


# -- units -----------------------------------------------------------------------------------------


def units(stage: Split, *, sources: pa.Table) -> list[Unit]:
    """One unit per source. Of files with the same bytes the one with the smallest uri is taken."""
    rows = sorted(sources.to_pylist(), key=lambda row: row["uri"])
    first_of: dict[str, str] = {}
    stems = {
        stem(row["uri"])
        for row in rows
        if not row["uri"].lower().endswith((".txt", ".vtt", ".srt", ".json"))
    }
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
