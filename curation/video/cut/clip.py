"""A clip of a source as the bytes of an mp4, by the cheapest way that is exact, with its proof.

exact   every reader sees the planned frames and no others: copied where a run of packets is the
        clip, else copied between re-encoded edges, else encoded
copy    the source's packets from the last keyframe before the clip on: frames before `first_frame`
        are pre-roll, a few may follow the last
encode  one encode at the wanted size
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from curation.video.cut.audio import audio_packets
from curation.video.cut.edges import GOP_FRAMES, SMART_FORMATS
from curation.video.cut.encode import encode_frames
from curation.video.cut.join import copied, joined
from curation.video.cut.look import Look
from curation.video.cut.mux import Sample, add_copied_video, open_mp4, video_packets, write
from curation.video.cut.plan import Plan, plan_copy, plan_exact
from curation.video.cut.proof import (
    ENCODE_TOLERANCE,
    Expected,
    Proof,
    Verify,
    prove,
)
from curation.video.cut.reel import Reel
from curation.video.open import VideoError
from curation.video.picture import fingerprint_difference

Mode = Literal["exact", "copy", "encode"]
Route = Literal["copy", "smart", "encode"]
COPY_FORMATS: Mapping[str, tuple[str, ...]] = {
    # what PyAV, OpenCV, decord (FFmpeg 4.1) and torchcodec all decode from an mp4
    "h264": ("yuv420p", "yuvj420p"),
    "hevc": ("yuv420p", "yuvj420p", "yuv420p10le"),
    "vp9": ("yuv420p", "yuv420p10le"),
    "mpeg4": ("yuv420p",),
    # decord cannot; only in mode copy, whose readers fall back to PyAV
    "av1": ("yuv420p", "yuv420p10le"),
}


@dataclass(frozen=True)
class Order:
    """The clip that is wanted: the source's frames [start, end)."""

    start: int
    end: int
    fps: float | None
    look: Look
    pixel_format: str
    rotation: int
    sample_aspect: float
    first_luma: bytes
    last_luma: bytes
    """Fingerprints of the source's frames start and end - 1, as split took them."""
    mode: Mode = "exact"
    verify: Verify = "decode"
    keep_audio: bool = False
    gop_frames: int = GOP_FRAMES
    keep_pictures: bool = False

    @property
    def num_frames(self) -> int:
        return self.end - self.start


@dataclass(frozen=True)
class Clip:
    data: bytes
    route: Route
    reason: str | None
    """Why not a copy."""
    frames_encoded: int
    first_frame: int
    width: int
    height: int
    proof: Proof


def make_clip(reel: Reel, order: Order) -> Clip:
    """Raises VideoError where no way gives the planned frames."""
    reason = "asked for" if order.mode == "encode" else refusal(reel, order)
    if reason is None:
        clip = _copy_with_preroll(reel, order) if order.mode == "copy" else _exact(reel, order)
        if isinstance(clip, Clip):
            return clip
        reason = clip
    try:
        clip = _encode(reel, order, reason)
        wrong = clip.proof.wrong
    except LookupError as error:
        clip, wrong = None, str(error)
    if wrong and reel.packets is not None:
        # in a damaged source another picture may come out behind a keyframe than from the beginning
        try:
            clip = _encode(replace_index(reel), order, reason)
            wrong = clip.proof.wrong
        except LookupError as error:
            wrong = str(error)
    if clip is None or wrong:
        raise VideoError("cut_mismatch", wrong or "")
    return clip


def replace_index(reel: Reel) -> Reel:
    """The same source without an index: frames are counted from the beginning."""
    return replace(reel, packets=None)


def refusal(reel: Reel, order: Order) -> str | None:
    """Why nothing of the source can be copied, or None."""
    if order.pixel_format not in COPY_FORMATS.get(reel.codec, ()):
        return f"not copied: {reel.codec} {order.pixel_format}"
    if reel.codec == "av1" and order.mode == "exact":
        return "not copied: decord does not read av1"
    if order.rotation or order.sample_aspect != 1.0:
        return "not copied: readers disagree about turned or stretched pictures"
    if order.look.is_interlaced:
        return "not copied: interlaced"
    if reel.packets is None:
        return "not copied: packets do not stand for frames one to one"
    if not reel.packets.is_uniform:
        return "not copied: the stream's parameters change inside"
    return None


def _exact(reel: Reel, order: Order) -> Clip | str:
    """The clip, or why it must be encoded."""
    assert reel.packets is not None
    plan = plan_exact(reel.packets, start=order.start, end=order.end, codec=reel.codec)
    if plan.run is None:
        return plan.reason or ""
    if plan.route == "smart" and order.pixel_format not in SMART_FORMATS[reel.codec]:
        return f"{plan.reason}, {order.pixel_format}"
    try:
        clip = _copied(reel, order, plan) if plan.route == "copy" else _joined(reel, order, plan)
    except LookupError as error:
        return str(error)
    if clip.proof.is_interlaced:
        return "not copied: interlaced"
    return clip.proof.wrong or clip


def _copied(reel: Reel, order: Order, plan: Plan) -> Clip:
    assert plan.run is not None
    data = _mp4(reel, order, copied(reel, plan.run), _end_pts(reel, plan.end - 1))
    return _proved(data, order, "copy", reason=None)


def _joined(reel: Reel, order: Order, plan: Plan) -> Clip:
    samples, header, prints = joined(reel, plan)
    tag = "hev1" if reel.codec == "hevc" else None  # parameter sets stand in the stream
    data = _mp4(reel, order, samples, _end_pts(reel, plan.end - 1), header=header, tag=tag)
    return _proved(data, order, "smart", reason=plan.reason, prints=prints)


def _copy_with_preroll(reel: Reel, order: Order) -> Clip | str:
    assert reel.packets is not None
    found = plan_copy(reel.packets, start=order.start, end=order.end)
    if found is None:
        return "no keyframe before the clip can begin a stream"
    run, first_frame = found
    try:
        samples = copied(reel, run)
    except LookupError as error:
        return str(error)
    data = _mp4(reel, order, samples, _end_pts(reel, run.end - 1))
    clip = _proved(data, order, "copy", None, first_frame=first_frame, total=len(samples))
    return clip.proof.wrong or clip


def _end_pts(reel: Reel, frame: int) -> int:
    assert reel.packets is not None
    return reel.packets.end_pts_of(frame)


def _mp4(
    reel: Reel,
    order: Order,
    samples: list[Sample],
    end_pts: int,
    *,
    header: bytes | None = None,
    tag: str | None = None,
) -> bytes:
    out = io.BytesIO()
    base = reel.stream.time_base
    if reel.codec == "hevc":
        tag = tag or "hvc1"
    with open_mp4(out) as target:
        stream = add_copied_video(target, reel.stream, header=header, tag=tag)
        video = video_packets(stream, samples, end_pts=end_pts, time_base=base)
        start_s = float(min(sample.pts for sample in samples) * base)
        write(target, video, _sound(target, reel, order, start_s, float(end_pts * base)))
    return out.getvalue()


def _sound(target: Any, reel: Reel, order: Order, start_s: float, end_s: float) -> list[Any]:
    if not order.keep_audio:
        return []
    return audio_packets(target, reel.source, start_s=start_s, end_s=end_s)


def _proved(
    data: bytes,
    order: Order,
    route: Route,
    reason: str | None,
    *,
    prints: Mapping[int, bytes] | None = None,
    first_frame: int = 0,
    total: int | None = None,
) -> Clip:
    known = dict(prints or {})
    known[first_frame] = order.first_luma
    known[first_frame + order.num_frames - 1] = order.last_luma
    expected = Expected(
        order.num_frames, total or order.num_frames, first_frame, known, frozenset(prints or ())
    )
    proof = prove(data, expected, verify=order.verify, keep_pictures=order.keep_pictures)
    width, height = order.look.display
    return Clip(data, route, reason, len(prints or ()), first_frame, width, height, proof)


def _encode(reel: Reel, order: Order, reason: str) -> Clip:
    out = io.BytesIO()
    with open_mp4(out) as target:
        made = encode_frames(
            target,
            reel,
            start=order.start,
            end=order.end,
            fps=order.fps,
            look=order.look,
            gop_frames=order.gop_frames,
        )
        video = video_packets(
            made.stream, made.samples, end_pts=made.end_pts, time_base=made.time_base
        )
        write(target, video, _sound(target, reel, order, made.start_s, made.end_s))
    data = out.getvalue()
    ends = zip(("first", "last"), made.ends, (order.first_luma, order.last_luma), strict=True)
    wrong = None
    for name, found, planned in ends:
        if fingerprint_difference(found, planned) > ENCODE_TOLERANCE:
            wrong = wrong or f"{name} frame of the source is another one than split saw"
    expected = Expected(order.num_frames, order.num_frames, 0, made.prints, frozenset(made.prints))
    proof = prove(data, expected, verify=order.verify, keep_pictures=order.keep_pictures)
    width, height = order.look.size()
    return Clip(
        data,
        "encode",
        reason,
        len(made.prints),
        0,
        width,
        height,
        replace(proof, wrong=wrong or proof.wrong),
    )
