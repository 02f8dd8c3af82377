"""Survivors are cut now: stream copy where that is exact in every reader, else one re-encode.

First half of `shard`; `pack.py` is the second. A unit is a handful of neighbouring clips of one
video; their media wait in the table `media` until `pack` has put them into tars. Clips that lie in
a standing shard already are not cut again.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pyarrow as pa

from curation import storage
from curation.clip import bucket_name, hash_128
from curation.stage import Stage, Tables, Unit
from curation.stages.inventory import identify
from curation.video.cut import (
    Encoded,
    Packets,
    check_clip,
    copy_allowed,
    copy_clip,
    copy_run,
    encode_clip,
    index_packets,
    readers_disagree,
)
from curation.video.open import IMAGE_DEMUXERS, VideoError

CLIPS_PER_UNIT = 16  # bounds what a worker holds: a clip of 20 s is a few megabytes
COPY_TOLERANCE = 1.0  # of 255; a copy decodes to the same pictures
ENCODE_TOLERANCE = 4.0  # of 255, mean over 16x9: far above crf 18, far below another shot
VANISHED = "vanished"  # an error code that the next run tries again

SHARD = pa.schema(
    {
        "clip_id": pa.string(),
        "bucket": pa.string(),
        "media": pa.string(),  # extension
        "route": pa.string(),  # copy | encode | bytes
        "route_reason": pa.string(),  # why not a copy
        "frames_encoded": pa.int64(),
        "first_frame": pa.int64(),
        "num_frames": pa.int64(),
        "fps": pa.float64(),
        "width": pa.int32(),
        "height": pa.int32(),
        "duration_s": pa.float64(),
        "size_media": pa.int64(),
        "cut_hash": pa.string(),  # of everything that decides the media's bytes
        "reject": pa.string(),
        "error": pa.string(),
    }
)
MEDIA = pa.schema({"clip_id": pa.string(), "bytes": pa.large_binary()})


@dataclass(frozen=True)
class Shard(Stage):
    """Cut the kept clips and pack them into tars by resolution and length."""

    mode: Literal["exact"] = "exact"
    """exact: every reader sees exactly the planned frames; stream copy where possible, else
    re-encode.
    """
    short_sides: tuple[int, ...] = (144, 240, 256, 360, 480, 512, 720, 1080, 1440, 2160)
    """Pixels; a clip goes to the largest that it fills."""
    aspects: tuple[str, ...] = ("16x9", "4x3", "1x1", "3x4", "9x16")
    """Width x height; the nearest is taken."""
    frame_counts: tuple[int, ...] = (1, 17, 33, 49, 65, 81, 97, 129, 161, 193, 241)
    """Frames at bucket_fps, of the form 4k+1; a clip goes to the largest that it fills."""
    bucket_fps: float = 24.0
    """Frames per second at which frame_counts count; slower clips count the frames they have."""
    samples_per_shard: int = 1000
    """Samples; a shard holds at most this many."""
    shard_mb: float = 512.0
    """Megabytes (10^6 bytes); a shard of more than one sample is at most this large."""

    name: ClassVar[str] = "shard"
    reads: ClassVar[dict[str, list[str]]] = {
        "clips": [
            "clip_id",
            "video_id",
            "uri",
            "start_frame",
            "end_frame",
            "first_luma",
            "last_luma",
        ],
        "videos": ["video_id", "codec", "rotation", "num_frames"],
        "filter": ["clip_id", "keep"],
    }
    writes: ClassVar[dict[str, pa.Schema]] = {"shard": SHARD, "media": MEDIA}

    def __post_init__(self) -> None:
        wrong = [n for n in self.frame_counts if n % 4 != 1]
        if wrong or not self.frame_counts or not self.short_sides or not self.aspects:
            raise ValueError(
                f"shard.frame_counts holds {wrong}; expected numbers 4k+1 such as 17, 33"
            )
        if self.samples_per_shard < 1 or self.shard_mb <= 0:
            raise ValueError(
                f"{self.samples_per_shard = }, {self.shard_mb = }; expected both above 0"
            )

    def bucket(self, clip: dict[str, Any]) -> str | None:
        return bucket_name(
            width=clip["width"],
            height=clip["height"],
            num_frames=clip["num_frames"],
            fps=clip["fps"],
            short_sides=list(self.short_sides),
            aspects=list(self.aspects),
            frame_counts=list(self.frame_counts),
            bucket_fps=self.bucket_fps,
        )

    def cut_config_hash(self) -> str:
        """Hash of what decides a sample's media; not how many samples a shard holds."""
        return hash_128(self.name, str(self.version), self.mode)

    def run(self, tables: Tables) -> Tables:
        clips = tables["rows"].to_pylist()
        rows, media = [], []
        uri = clips[0]["uri"]
        with _source(uri, needed=any(_is_to_cut(clip) for clip in clips)) as path:
            packets = _packets(path, clips[0])
            for clip in clips:
                row, data = self._sample(clip, path=path, packets=packets)
                rows.append(row)
                if data is not None:
                    media.append({"clip_id": clip["clip_id"], "bytes": data})
        return {"shard": _rows(rows), "media": pa.Table.from_pylist(media, schema=MEDIA)}

    def _sample(
        self, clip: dict[str, Any], *, path: Path | None, packets: Packets | None
    ) -> tuple[dict[str, Any], bytes | None]:
        """The clip's row of the shard table, and its bytes where they had to be made."""
        if clip["bucket"] is None:
            return {"clip_id": clip["clip_id"], "reject": "no_bucket"}, None
        if clip["standing"] is not None:
            return clip["standing"], None
        if path is None:
            return {
                "clip_id": clip["clip_id"],
                "error": f"{VANISHED}: the source file is gone",
            }, None
        try:
            data, row = cut(clip, path=path, packets=packets)
        except VideoError as error:
            return {"clip_id": clip["clip_id"], "bucket": clip["bucket"], "error": str(error)}, None
        shape = {
            name: clip[name] for name in ("clip_id", "bucket", "cut_hash", "num_frames", "fps")
        }
        return shape | row | {
            "size_media": len(data),
            "duration_s": clip["end_s"] - clip["start_s"],
        }, data

    def failed(self, tables: Tables, *, error: str) -> Tables:
        rows = [
            {"clip_id": clip_id, "error": error}
            for clip_id in tables["rows"]["clip_id"].to_pylist()
        ]
        return {"shard": _rows(rows), "media": MEDIA.empty_table()}


def _rows(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([dict.fromkeys(SHARD.names) | row for row in rows], schema=SHARD)


def _is_to_cut(clip: dict[str, Any]) -> bool:
    return clip["bucket"] is not None and clip["standing"] is None


class _source:
    """The source's local path, or None where it is not needed or no longer there."""

    def __init__(self, uri: str, *, needed: bool) -> None:
        self.copy = storage.local_copy(uri) if needed and storage.exists(uri) else None

    def __enter__(self) -> Path | None:
        return self.copy.__enter__() if self.copy else None

    def __exit__(self, *exception: Any) -> None:
        if self.copy:
            self.copy.__exit__(*exception)


def _packets(path: Path | None, video: dict[str, Any]) -> Packets | None:
    """The source's packets where they stand for its frames one to one, as split counted them."""
    if path is None or video["is_image"]:
        return None
    packets = index_packets(path)
    return (
        packets if packets is not None and len(packets.pts) == video["video_num_frames"] else None
    )


def cut(
    clip: dict[str, Any], *, path: Path, packets: Packets | None
) -> tuple[bytes, dict[str, Any]]:
    """(media bytes, what was done). Raises VideoError where no way gives the planned frames."""
    if path.stat().st_size != clip["num_bytes"]:
        raise VideoError("source_changed", "the file is not the one that split read")
    if clip["is_image"]:
        if identify(str(path))[0] != clip["video_id"]:
            raise VideoError("source_changed", "the file is not the one that split read")
        return path.read_bytes(), {
            "media": IMAGE_DEMUXERS[clip["container"]],
            "route": "bytes",
            "frames_encoded": 0,
            "first_frame": 0,
            "width": clip["width"],
            "height": clip["height"],
        }
    data, reason = try_copy(clip, path=path, packets=packets)
    if data is not None:
        return data, {
            "media": "mp4",
            "route": "copy",
            "frames_encoded": 0,
            "first_frame": 0,
            "width": clip["width"],
            "height": clip["height"],
        }
    encoded, wrong = _encode(clip, path=path, packets=packets)
    if wrong and packets is not None:
        # in a damaged source another picture may come out behind a keyframe than from the beginning
        encoded, wrong = _encode(clip, path=path, packets=None)
    if wrong:
        raise VideoError("cut_mismatch", wrong)
    return encoded.data, {
        "media": "mp4",
        "route": "encode",
        "route_reason": reason,
        "frames_encoded": encoded.num_frames,
        "first_frame": 0,
        "width": encoded.width,
        "height": encoded.height,
    }


def _encode(
    clip: dict[str, Any], *, path: Path, packets: Packets | None
) -> tuple[Encoded, str | None]:
    """The clip re-encoded, and what is wrong with it."""
    encoded = encode_clip(
        path,
        start=clip["start_frame"],
        end=clip["end_frame"],
        fps=clip["fps"],
        display=(clip["width"], clip["height"]),
        packets=packets,
    )
    if not encoded.num_frames:
        return encoded, "no frame could be decoded"
    return encoded, _wrong(encoded.data, clip, ENCODE_TOLERANCE)


def try_copy(
    clip: dict[str, Any], *, path: Path, packets: Packets | None
) -> tuple[bytes | None, str | None]:
    """(bytes, None) where a stream copy is exact in every reader, else (None, why not)."""
    stream = {name: clip[name] for name in ("codec", "pixel_format", "rotation", "sample_aspect")}
    if not copy_allowed(**stream):
        return None, "stream not copied: codec, pixel format, rotation or pixel aspect"
    if packets is None:
        return None, "packets do not stand for frames one to one"
    run = copy_run(packets, start=clip["start_frame"], end=clip["end_frame"])
    if run is None:
        return None, "cut not on closed keyframes"
    data = copy_clip(path, packets, run)
    wrong = _wrong(data, clip, COPY_TOLERANCE) or readers_disagree(
        data, num_frames=clip["num_frames"]
    )
    return (None, wrong) if wrong else (data, None)


def _wrong(data: bytes, clip: dict[str, Any], tolerance: float) -> str | None:
    try:
        return check_clip(
            data,
            num_frames=clip["num_frames"],
            first_luma=clip["first_luma"],
            last_luma=clip["last_luma"],
            tolerance=tolerance,
        )
    except VideoError as error:
        return str(error)


def units(stage: Shard, clips: list[dict[str, Any]]) -> list[Unit]:
    """Units of the kept clips. A clip's group depends on where it lies in its video, not on its
    neighbours' fate.

    Each clip has its columns of the clips and videos tables, `position` (its number among all clips
    of its video), bucket, cut_hash and standing (its row of the shard table where it lies in a
    standing shard).
    """
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for clip in clips:
        groups.setdefault((clip["video_id"], clip["position"] // CLIPS_PER_UNIT), []).append(clip)
    found = []
    for (video_id, group), members in sorted(groups.items()):
        members.sort(key=lambda clip: clip["position"])
        names = [f"{clip['clip_id']}/{clip['bucket']}/{clip['cut_hash']}" for clip in members]
        rows = pa.Table.from_pylist(members, schema=UNIT_ROWS)
        found.append(Unit(stage.unit_key(video_id, str(group), *names), len(members), rows=rows))
    return found


UNIT_ROWS = pa.schema(
    {
        "clip_id": pa.string(),
        "video_id": pa.string(),
        "uri": pa.string(),
        "position": pa.int64(),
        "start_frame": pa.int64(),
        "end_frame": pa.int64(),
        "start_s": pa.float64(),
        "end_s": pa.float64(),
        "num_frames": pa.int64(),
        "fps": pa.float64(),
        "width": pa.int32(),
        "height": pa.int32(),
        "first_luma": pa.binary(),
        "last_luma": pa.binary(),
        "container": pa.string(),
        "codec": pa.string(),
        "pixel_format": pa.string(),
        "rotation": pa.int32(),
        "sample_aspect": pa.float32(),
        "is_image": pa.bool_(),
        "num_bytes": pa.int64(),
        "video_num_frames": pa.int64(),
        "bucket": pa.string(),
        "cut_hash": pa.string(),
        "standing": pa.struct(list(SHARD)),
    }
)
