"""A mixed set of sources as the world has them, and the four readers that clips must satisfy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from curation.video import DecodePass
from curation.video.cut import Clip, Look, Order, make_clip, open_reel
from curation.video.picture import fingerprint, small_planes, small_size
from tests.videos import pan

SHOTS = (40, 45, 45)
HEIGHT, WIDTH = 96, 160
X265 = "log-level=none:pools=none:frame-threads=1"


@dataclass(frozen=True)
class Source:
    """How a source is made."""

    container: str
    codec: str
    options: dict[str, str] = field(default_factory=dict)
    pixel_format: str = "yuv420p"
    pts_ms: Callable[[int], int] | None = None
    """Presentation time of a frame; None: 24 frames per second from 0."""
    hide_frames: int = 0
    """Frames at the beginning that the mp4's edit list leaves out."""
    flags: int = 0
    """Of the encoder: 0x40000 codes two fields per frame."""


def x265(params: str) -> dict[str, str]:
    return {"x265-params": f"{params}:{X265}"}


FIXED = {"g": "30", "sc_threshold": "0"}
SOURCES: dict[str, Source] = {
    "h264 scene cut": Source("mp4", "libx264", {"g": "250", "bf": "3", "sc_threshold": "80"}),
    "h264 fixed": Source("mp4", "libx264", FIXED | {"bf": "3"}),
    "h264 open": Source("mp4", "libx264", FIXED | {"bf": "3", "x264-params": "open-gop=1"}),
    "hevc open": Source("mp4", "libx265", x265("keyint=30:scenecut=0")),
    "vp9 alt-ref": Source(
        "webm",
        "libvpx-vp9",
        {"g": "30", "lag-in-frames": "16", "auto-alt-ref": "1", "cpu-used": "8"},
    ),
    "av1": Source("mkv", "libsvtav1", {"preset": "12", "g": "30", "svtav1-params": "lp=1"}),
}
MORE: dict[str, Source] = {
    "h264 long": Source("mp4", "libx264", {"g": "9999", "sc_threshold": "0", "bf": "3"}),
    "h264 no B mkv": Source("mkv", "libx264", FIXED | {"bf": "0"}),
    "h264 one B ts": Source("ts", "libx264", FIXED | {"bf": "1", "b_strategy": "0"}),
    "h264 pyramid": Source(
        "mp4", "libx264", FIXED | {"bf": "8", "b_strategy": "2", "x264-params": "b-pyramid=normal"}
    ),
    "h264 open ts": Source(
        "ts", "libx264", {"g": "30", "x264-params": "open-gop=1:b-pyramid=none"}
    ),
    "h264 slices cavlc": Source("flv", "libx264", FIXED | {"slices": "4", "coder": "vlc"}),
    "h264 full range": Source("mkv", "libx264", FIXED, "yuvj420p"),
    "h264 avi": Source("avi", "libx264", FIXED | {"bf": "0"}),
    "h264 variable rate": Source(
        "mkv", "libx264", FIXED | {"bf": "3"}, pts_ms=lambda i: 40 * i + 15 * (i % 3)
    ),
    "h264 starts late": Source(
        "mkv", "libx264", FIXED | {"bf": "3"}, pts_ms=lambda i: 5000 + 40 * i
    ),
    "h264 edit list": Source("mp4", "libx264", FIXED | {"bf": "3"}, hide_frames=7),
    "h264 intra refresh": Source(
        "mp4", "libx264", FIXED | {"bf": "0", "x264-params": "intra-refresh=1"}
    ),
    "hevc closed": Source("mkv", "libx265", x265("keyint=30:scenecut=0:open-gop=0")),
    "hevc deep": Source("ts", "libx265", x265("keyint=30:scenecut=0:bframes=8:rc-lookahead=20")),
    "hevc ten bits": Source("mp4", "libx265", x265("keyint=30:scenecut=0"), "yuv420p10le"),
    "vp9 scene cut": Source("webm", "libvpx-vp9", {"g": "128", "cpu-used": "8"}),
    "vp8": Source("webm", "libvpx", {"g": "30", "cpu-used": "8"}),
    "mpeg4": Source("mp4", "mpeg4", {"g": "12", "q": "3"}),
    "mpeg4 B avi": Source("avi", "mpeg4", {"g": "12", "bf": "2"}),
    "mpeg2 ts": Source("ts", "mpeg2video", {"g": "12", "bf": "2"}),
    "h264 4:4:4": Source("mp4", "libx264", FIXED, "yuv444p"),
    "h264 ten bits": Source("mp4", "libx264", FIXED, "yuv420p10le"),
    "h264 fields": Source("mp4", "libx264", FIXED | {"x264-params": "tff=1"}, flags=0x40000),
    "mjpeg": Source("avi", "mjpeg", {"q": "2"}, "yuvj420p"),
    "prores": Source("mov", "prores_ks", {}, "yuv422p10le"),
}


def film() -> np.ndarray:
    """(T, H, W, 3): three shots whose every frame differs from its neighbours."""
    return np.concatenate(
        [pan(seed, n, height=HEIGHT, width=WIDTH, step_px=3) for seed, n in enumerate(SHOTS, 1)]
    )


def make(path: Path, source: Source, frames_THWC: np.ndarray) -> Path:
    path = path.with_suffix(f".{source.container}")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(source.codec, rate=24, options=dict(source.options))
        stream.height, stream.width = frames_THWC.shape[1:3]
        stream.pix_fmt = source.pixel_format
        stream.codec_context.thread_count = 1
        stream.codec_context.flags |= source.flags
        if source.pts_ms:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i, image in enumerate(frames_THWC):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = source.pts_ms(i) if source.pts_ms else i
            frame.time_base = Fraction(1, 1000) if source.pts_ms else Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    if source.hide_frames:
        hide_by_edit_list(path, source.hide_frames)
    return path


def hide_by_edit_list(path: Path, num_frames: int) -> None:
    """Have the mp4's edit list begin later, as trimming in an editor does."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        step = round(1 / 24 / container.streams.video[0].time_base)
    at = data.index(b"elst") + 4 + 4 + 4 + 4  # version, count, segment duration
    begin = int.from_bytes(data[at : at + 4], "big") + num_frames * step
    data[at : at + 4] = begin.to_bytes(4, "big")
    path.write_bytes(bytes(data))


# -- what is known of a source ---------------------------------------------------------------------


class Known:
    """A source decoded once from its beginning: what clips of it are held against."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.decode = DecodePass(path)
        self.grey: list[np.ndarray] = []
        self.prints: list[bytes] = []
        for frame in self.decode:
            self.grey.append(grey(frame.picture.to_ndarray(format="rgb24")))
            size = small_size(*self.decode.display_size())
            planes = small_planes(frame.picture, size=size, rotation=self.decode.rotation)
            self.prints.append(fingerprint(planes[0]))

    @property
    def num_frames(self) -> int:
        return len(self.prints)

    def order(self, start: int, end: int, **knobs: Any) -> Order:
        """As `shard` orders the clip [start, end)."""
        probe = self.decode.probe
        is_interlaced = self.decode.interlaced_frames * 2 > self.num_frames
        look = Look(
            display=self.decode.display_size(),
            short_side_px=knobs.pop("short_side_px", None),
            crop=knobs.pop("crop", (0.0, 0.0, 0.0, 0.0)),
            is_interlaced=is_interlaced and knobs.pop("interlaced_known", True),
            tone_map=knobs.pop("tone_map", False),
        )
        return Order(
            start=start,
            end=end,
            fps=24.0,
            look=look,
            pixel_format=probe.pixel_format,
            rotation=self.decode.rotation,
            sample_aspect=probe.sample_aspect,
            first_luma=self.prints[start],
            last_luma=self.prints[end - 1],
            **knobs,
        )

    def cut(self, start: int, end: int, **knobs: Any) -> Clip:
        with open_reel(self.path) as reel:
            return make_clip(reel, self.order(start, end, **knobs))

    def difference(self, frames: Sequence[np.ndarray], start: int) -> float:
        """The largest mean difference, of 255, of RGB frames to the source's from start on."""
        pairs = zip(frames, self.grey[start:], strict=False)
        return max(float(np.abs(grey(frame) - known).mean()) for frame, known in pairs)


def grey(rgb_HW3: np.ndarray) -> np.ndarray:
    return rgb_HW3.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


# -- readers ---------------------------------------------------------------------------------------


def by_pyav(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def by_opencv(path: Path) -> list[np.ndarray]:
    import cv2

    capture, frames = cv2.VideoCapture(str(path)), []
    while (frame := capture.read()[1]) is not None:
        frames.append(frame[:, :, ::-1])
    return frames


def by_decord(path: Path) -> Sequence[np.ndarray]:
    import decord

    reader = decord.VideoReader(str(path), num_threads=1)
    return reader.get_batch(range(len(reader))).asnumpy()


def by_decord_at_random(path: Path) -> Sequence[np.ndarray]:
    """The same frames, each after a seek."""
    import decord

    reader = decord.VideoReader(str(path), num_threads=1)
    frames: list[np.ndarray] = [np.empty(0)] * len(reader)
    for i in np.random.default_rng(0).permutation(len(reader)):
        frames[i] = reader[int(i)].asnumpy()
    return frames


def by_torchcodec(path: Path) -> Sequence[np.ndarray]:
    from torchcodec.decoders import VideoDecoder

    reader = VideoDecoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=1)
    return [reader[i].numpy() for i in range(len(reader))]


def readers() -> dict[str, Callable[[Path], Sequence[np.ndarray]]]:
    """All that are installed here."""
    found: dict[str, Callable[[Path], Sequence[np.ndarray]]] = {
        "PyAV": by_pyav,
        "OpenCV": by_opencv,
        "decord": by_decord,
        "decord at random": by_decord_at_random,
    }
    try:
        import torchcodec.decoders  # noqa: F401
    except (ImportError, RuntimeError, OSError):
        return found  # not installed, or no FFmpeg libraries on this machine
    return found | {"torchcodec": by_torchcodec}
