"""What the sizes of packets say of the footage between two looks at keyframes.

A picture that was not there before costs the encoder about what a keyframe of it costs, whether it
comes at once, in one large packet, or fades in over many. And a picture that comes and goes between
two keyframes costs that twice, unless it goes with the very keyframe: encoders that look for cuts
put a keyframe there, and all do when the last one is too long ago.
"""

from typing import Any

import numpy as np

from curation.meters.cuts import REACH
from curation.video.keys import Key, KeyPass

KEY_PERCENTILE = 90  # a source half black has keyframes of 200 bytes: what a full picture takes
LEAST_KEY_BPP = 0.1  # bits a pixel; keyframes of pictures worth keeping have 0.2 to 1
APART_S = 0.5  # a cut may swell the packets beside it: references ahead, refinement after


def stretches(keys: KeyPass, looks: list[Key], *, num_pixels: int) -> list[dict[str, Any]]:
    """Per look: where it is, and what the packets say of the stretch up to the next."""
    order = np.argsort(keys.pts)
    pts = np.array(keys.pts)[order]
    is_key = np.array(keys.is_key)[order]
    sizes = np.where(is_key, 0, np.array(keys.num_bytes)[order]).astype(np.float64)
    key_bytes = [float(keys.num_bytes[look.packet]) for look in looks]
    full = max(float(np.percentile(key_bytes, KEY_PERCENTILE)), LEAST_KEY_BPP * num_pixels / 8)
    # bytes other than keyframes' before each packet, and in the second that begins with it
    before = np.concatenate([[0], np.cumsum(sizes)])
    a_second, apart = round(1 / keys.time_base), round(APART_S / keys.time_base)
    due = is_due(keys, looks)
    frames = np.searchsorted(pts, [look.pts for look in looks]).tolist()
    rows = []
    for i, (look, start) in enumerate(zip(looks, frames, strict=True)):
        end = frames[i + 1] if i + 1 < len(looks) else len(pts)
        end_pts = int(pts[end]) if end < len(pts) else int(pts[-1]) + keys.last_ticks
        seconds = np.minimum(np.searchsorted(pts, pts[start:end] + a_second), end)
        inner = 100 * sizes[start:end] / max(*key_bytes[i : i + 2], full / 2)
        is_apart = np.abs(pts[start:end] - pts[start + int(inner.argmax())]) >= apart
        rows.append(
            {
                "pts": look.pts,
                "frame": start,
                "time_s": look.time_s,
                "length_s": (end_pts - look.pts) * keys.time_base,
                "num_frames": end - start,
                "coded_pct": 100 * float((before[seconds] - before[start:end]).max()) / full,
                "largest_packet_pct": float(inner.max()),
                "second_packet_pct": float(inner[is_apart].max(initial=0)),
                "early_packet_pct": float(inner[:REACH].max()),
                "is_due": due[i],
            }
        )
    return rows


def is_due(keys: KeyPass, looks: list[Key]) -> list[bool]:
    """Per look: whether all keyframes after it, up to the next look, came when the source's longest
    distance between keyframes was reached; False for the last look.
    """
    packets = np.flatnonzero(keys.is_key)
    distances = np.diff(packets)
    longest = distances == distances.max(initial=0)
    if longest.sum() < 2:  # the one longest of several is chance
        return [False] * len(looks)
    counts = np.concatenate([[0], np.cumsum(~longest)])  # keyframes up to each that came early
    at = np.searchsorted(packets, [look.packet for look in looks])
    early = counts[at]
    return [*(early[1:] == early[:-1]).tolist(), False]
