"""Survivors are cut now: copied where that is exact in every reader, encoded as little as can be
elsewhere.

First half of `shard`; `pack.py` is the second, `sharding.py` runs both. A unit is a handful of
neighbouring clips of one video; their media wait in the table `media` until `pack` has put them
into tars. Clips that lie in a standing shard already are not cut again.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pyarrow as pa

from curation import storage
from curation.clip import bucket_name, hash_128
from curation.memory import DECODING_GB
from curation.stage import Stage, Tables
from curation.stages.inventory import identify
from curation.stages.unit_source import UnitSource
from curation.video.cut import GOP_FRAMES, Clip, Look, Mode, Order, Verify, make_clip
from curation.video.open import IMAGE_DEMUXERS, VideoError

GOP_FRAMES_SHORT = 16  # of mode encode: a random read decodes 8 frames more on average

SHARD = pa.schema(
    {
        "clip_id": pa.string(),
        "bucket": pa.string(),
        "media": pa.string(),  # extension
        "route": pa.string(),  # copy | smart | encode | bytes
        "route_reason": pa.string(),  # why not a copy
        "frames_encoded": pa.int64(),
        "proof": pa.string(),  # packets | decode | readers
        "frames_counted": pa.int64(),  # in the clip's file, by that proof
        "first_frame_difference": pa.float32(),  # to the source's frame, mean of 255 over 16x9
        "last_frame_difference": pa.float32(),
        "residual_score_as_cut": pa.float32(),  # of a transition inside the written clip, 0-1
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

    mode: Mode = "exact"
    """exact: every reader sees exactly the planned frames: copied where a cut falls on closed
    keyframes, else only the frames at its edges encoded, else all. copy: the source's packets from
    the keyframe before, frames [first_frame, first_frame + num_frames) of them are the clip.
    encode: one encode at the bucket's short side, a keyframe every 16 frames: a quarter of the
    bytes and a sixth of the decoding at 256p."""
    audio: Literal["drop", "keep"] = "drop"
    """keep: the source's own sound where an mp4 can hold it, else AAC."""
    crop_borders: bool = False
    """Mode encode: cut off the black bars that border_*_pct tells of."""
    tone_map: bool = False
    """Mode encode: HDR to BT.709; elsewhere its tag is kept."""
    verify: Verify = "decode"
    """What is read again of every clip written: packets (counted: 0.01 of a decode), decode (all
    frames counted, first and last held against the source: 1.0), readers (decord and OpenCV too:
    4)."""
    residual_max: float | None = None
    """0-1; a clip in which a cut or dissolve scores higher is rejected. Needs verify other than
    packets."""
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
    version: ClassVar[int] = 2
    memory_gb: ClassVar[Any] = DECODING_GB
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
        "videos": ["video_id", "codec", "rotation", "num_frames", "is_interlaced"],
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

        if self.mode != "encode" and (self.crop_borders or self.tone_map):
            raise ValueError(
                f"shard.crop_borders and shard.tone_map change pictures; expected "
                f"shard.mode: encode with them, not {self.mode}"
            )
        if self.residual_max is not None and self.verify == "packets":
            raise ValueError(
                f"{self.residual_max = } looks at decoded clips; expected shard.verify: decode"
            )

    def bucket(self, clip: dict[str, Any]) -> str | None:
        width, height = self.look(clip, short_side_px=None).cropped()
        return bucket_name(
            width=width,
            height=height,
            num_frames=clip["num_frames"],
            fps=clip["fps"],
            short_sides=list(self.short_sides),
            aspects=list(self.aspects),
            frame_counts=list(self.frame_counts),
            bucket_fps=self.bucket_fps,
        )

    def look(self, clip: dict[str, Any], *, short_side_px: int | None) -> Look:
        """How an encoded clip looks; short_side_px: its bucket's."""
        is_encode = self.mode == "encode"
        return Look(
            display=(clip["width"], clip["height"]),
            short_side_px=short_side_px if is_encode else None,
            crop=_crop(clip) if self.crop_borders else (0.0, 0.0, 0.0, 0.0),
            is_interlaced=bool(clip.get("is_interlaced")),
            tone_map=self.tone_map,
        )

    def cut_config_hash(self) -> str:
        """Hash of what decides a sample's media; not how many samples a shard holds."""
        knobs = (self.audio, self.crop_borders, self.tone_map, self.verify, self.residual_max)
        return hash_128(self.name, str(self.version), self.mode, *map(str, knobs))

    def cut_hash(self, clip: dict[str, Any]) -> str:
        """Hash of everything that decides the clip's media but its bucket, which stands beside."""
        crop = map(str, _crop(clip)) if self.crop_borders else ()
        return hash_128(clip["clip_id"], self.cut_config_hash(), *crop)

    def run(self, tables: Tables) -> Tables:
        clips = tables["rows"].to_pylist()
        rows, media = [], []
        with UnitSource(clips) as source:
            for clip in clips:
                row, data = self._sample(clip, source)
                rows.append({"clip_id": clip["clip_id"]} | row)
                if data is not None:
                    media.append({"clip_id": clip["clip_id"], "bytes": data})
        return {"shard": _rows(rows), "media": pa.Table.from_pylist(media, schema=MEDIA)}

    def _sample(
        self, clip: dict[str, Any], source: UnitSource
    ) -> tuple[dict[str, Any], bytes | None]:
        """The clip's row of the shard table, and its bytes where they had to be made."""
        if clip["bucket"] is None:
            return {"reject": "no_bucket"}, None
        if clip["standing"] is not None:
            return clip["standing"], None
        try:
            data, row = self._image(clip, source) if clip["is_image"] else self._cut(clip, source)
        except (VideoError, storage.SourceError) as error:
            return {"bucket": clip["bucket"], "error": str(error)}, None
        if row.get("reject"):
            return row, None
        shape = {name: clip[name] for name in ("bucket", "cut_hash", "num_frames", "fps")}
        times = {"duration_s": clip["end_s"] - clip["start_s"]}
        return shape | times | row | {"size_media": len(data)}, data

    def _image(self, clip: dict[str, Any], source: UnitSource) -> tuple[bytes, dict[str, Any]]:
        path = source.path(clip)
        if identify(str(path))[0] != clip["video_id"]:
            raise storage.SourceError("source_changed", "the file is not the one that split read")
        return path.read_bytes(), {
            "media": IMAGE_DEMUXERS[clip["container"]],
            "route": "bytes",
            "frames_encoded": 0,
            "first_frame": 0,
            "width": clip["width"],
            "height": clip["height"],
        }

    def _cut(self, clip: dict[str, Any], source: UnitSource) -> tuple[bytes, dict[str, Any]]:
        """The clip's bytes and what was done. Raises VideoError where no way gives the planned
        frames.
        """
        made = make_clip(source.reel(clip), self._order(clip))
        proof = made.proof
        row = {
            "media": "mp4",
            "route": made.route,
            "route_reason": made.reason,
            "frames_encoded": made.frames_encoded,
            "first_frame": made.first_frame,
            "width": made.width,
            "height": made.height,
            "proof": proof.verify,
            "frames_counted": proof.frames_counted,
            "first_frame_difference": proof.first_difference,
            "last_frame_difference": proof.last_difference,
        }
        return made.data, row | self._residual(made)

    def _order(self, clip: dict[str, Any]) -> Order:
        side = int(clip["bucket"].partition("p_")[0])
        return Order(
            start=clip["start_frame"],
            end=clip["end_frame"],
            fps=clip["fps"],
            look=self.look(clip, short_side_px=side),
            pixel_format=clip["pixel_format"],
            rotation=clip["rotation"],
            sample_aspect=clip["sample_aspect"],
            first_luma=clip["first_luma"],
            last_luma=clip["last_luma"],
            mode=self.mode,
            verify=self.verify,
            keep_audio=self.audio == "keep",
            gop_frames=GOP_FRAMES_SHORT if self.mode == "encode" else GOP_FRAMES,
            keep_pictures=self.residual_max is not None,
        )

    def _residual(self, made: Clip) -> dict[str, Any]:
        if self.residual_max is None:
            return {}
        from curation.meters.cuts import residual_of_clip

        score = residual_of_clip(made.proof.pictures)
        verdict = {"reject": "residual_transition"} if score > self.residual_max else {}
        return verdict | {"residual_score_as_cut": score}

    def failed(self, tables: Tables, *, error: str) -> Tables:
        rows = [
            {"clip_id": clip_id, "error": error}
            for clip_id in tables["rows"]["clip_id"].to_pylist()
        ]
        return {"shard": _rows(rows), "media": MEDIA.empty_table()}


def _rows(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([dict.fromkeys(SHARD.names) | row for row in rows], schema=SHARD)


def _crop(clip: dict[str, Any]) -> tuple[float, float, float, float]:
    """Shares (0-1) of the picture that are bars at top, bottom, left, right."""
    sides = ("top", "bottom", "left", "right")
    top, bottom, left, right = (float(clip.get(f"border_{s}_pct") or 0) / 100 for s in sides)
    return top, bottom, left, right
