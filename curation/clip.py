"""What a clip is: ids, the columns that cross a border, buckets.

Everything that curation, captioning and training share about a clip stands here, and costs pyarrow
to import and nothing heavier.
"""

import hashlib
import math
from fractions import Fraction

import pyarrow as pa
import pyarrow.compute as pc

VIDEOS = pa.schema(
    {
        "video_id": pa.string(),  # 128-bit hash of the file's bytes, hex
        "uri": pa.string(),
        "num_bytes": pa.int64(),
        "container": pa.string(),
        "codec": pa.string(),
        "pixel_format": pa.string(),
        "stream_index": pa.int32(),  # the video stream that split chose
        "width": pa.int32(),  # as displayed: rotation and sample aspect applied
        "height": pa.int32(),
        "rotation": pa.int32(),  # degrees clockwise that a player turns the stored picture
        "sample_aspect": pa.float32(),  # width / height of one stored pixel
        "fps": pa.float64(),  # mean over the decoded frames
        "is_vfr": pa.bool_(),
        "num_frames": pa.int64(),  # decoded, not from the header
        "duration_s": pa.float64(),
        "has_audio": pa.bool_(),
        "is_hdr": pa.bool_(),
        "is_image": pa.bool_(),
        "is_interlaced": pa.bool_(),  # most frames are two fields
        "decode_errors": pa.int64(),  # packets that the decoder refused
        "corrupt_frames": pa.int64(),  # frames that came out damaged
        "reject": pa.string(),
        "error": pa.string(),
    }
)

CLIPS = pa.schema(
    {
        "clip_id": pa.string(),  # 128-bit hash of (video_id, start_frame, end_frame), hex
        "video_id": pa.string(),
        "uri": pa.string(),
        "start_frame": pa.int64(),  # 0-based index in decoded order
        "end_frame": pa.int64(),  # exclusive
        "start_s": pa.float64(),  # presentation time of start_frame
        "end_s": pa.float64(),  # presentation time at which the last frame ends
        "num_frames": pa.int64(),
        "fps": pa.float64(),
        "width": pa.int32(),
        "height": pa.int32(),
        "transition_in": pa.string(),  # edge | cut | gradual | division
        "transition_out": pa.string(),
        "reject": pa.string(),
        "error": pa.string(),
    }
)

KEYFRAMES = pa.schema(
    {
        "clip_id": pa.string(),
        "position": pa.float32(),  # 0 = first frame of the clip, 1 = last
        "frame": pa.int64(),  # index in the source, decoded order
        "time_s": pa.float64(),
        "jpeg": pa.binary(),  # as displayed, square pixels
    }
)

INDEX = pa.schema(
    {
        "key": pa.string(),  # the clip_id
        "bucket": pa.string(),
        "shard": pa.string(),  # relative to $DATA/shards
        "media": pa.string(),  # extension: mp4, jpg, png, webp
        "offset_media": pa.int64(),
        "size_media": pa.int64(),
        "offset_json": pa.int64(),
        "size_json": pa.int64(),
        "offset_txt": pa.int64(),
        "size_txt": pa.int64(),
        "first_frame": pa.int64(),
        "num_frames": pa.int64(),
        "fps": pa.float64(),
        "height": pa.int32(),
        "width": pa.int32(),
        "duration_s": pa.float64(),
        "caption_chars": pa.int64(),
    }
)


def hash_128(*parts: str) -> str:
    """128-bit BLAKE2b of the parts, hex; a separator keeps ("a", "bc") and ("ab", "c") apart."""
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()


def clip_id(video_id: str, *, start_frame: int, end_frame: int) -> str:
    return hash_128(video_id, str(start_frame), str(end_frame))


DERIVED: dict[str, list[str]] = {
    "duration_s": ["start_s", "end_s"],
    "short_side_px": ["width", "height"],
    "aspect": ["width", "height"],  # width / height, as displayed
}
"""Quantities that follow from columns of `clips` and are stored nowhere, and from which."""


def derive(quantity: str, clips: pa.Table) -> pa.ChunkedArray:
    """One of DERIVED for every clip."""
    a, b = (clips[column] for column in DERIVED[quantity])
    if quantity == "duration_s":
        return pc.subtract(b, a)
    if quantity == "short_side_px":
        return pc.min_element_wise(a, b, skip_nulls=False)
    assert quantity == "aspect"
    return pc.divide(a.cast(pa.float64()), b.cast(pa.float64()))


def frames_at_rate(num_frames: int, *, fps: float | None, bucket_fps: float) -> int:
    """How many of the clip's decoded frames a reader gets that samples it at bucket_fps.

    A clip slower than the bucket is not stretched: it gives the frames it has.
    """
    if num_frames <= 1 or not fps:
        return num_frames
    # a hair above: 2 s at 24 fps must not lose its last frame to rounding
    return min(num_frames, math.floor((num_frames - 1) * bucket_fps / fps + 1e-6) + 1)


def bucket_name(
    *,
    width: int,
    height: int,
    num_frames: int,
    fps: float | None,
    short_sides: list[int],
    aspects: list[str],
    frame_counts: list[int],
    bucket_fps: float,
) -> str | None:
    """The largest standard shape that the clip fills, such as 256p_16x9_033f; None if none does.

    short_sides in pixels, aspects as "WxH", frame_counts of the form 4k+1 at bucket_fps.
    """
    frames = frames_at_rate(num_frames, fps=fps, bucket_fps=bucket_fps)
    side = max((s for s in short_sides if s <= min(width, height)), default=None)
    count = max((n for n in frame_counts if n <= frames), default=None)
    if side is None or count is None:
        return None
    shape = math.log(width / height)
    aspect = min(aspects, key=lambda a: (abs(math.log(_ratio(a)) - shape), a))
    return f"{side}p_{aspect}_{count:03d}f"


def _ratio(aspect: str) -> Fraction:
    width, height = aspect.split("x")
    return Fraction(int(width), int(height))
