"""A plain sentence made of measured columns only, for clips that nothing else describes.

It says what was measured and nothing more: no subject, no mood. Every adjective is a cut point
below, and the number stands beside it. Columns that are absent or null are not mentioned.
"""

from collections.abc import Mapping
from typing import Any

# Mean luma: video black is 0 % and white 100 %. Mid-grey (18 % reflectance) is coded at about
# 40 %, so footage exposed for its content lies around it; half of that and below reads as night or
# an unlit room, and 70 % needs most of the frame to be sky, snow or paper.
DARK_BELOW_PCT, BRIGHT_FROM_PCT = 20.0, 70.0
# Speed of the picture's content: at 1 % of the width per second a thing crosses the frame in
# 100 s, which looks still. Cinematography's seven-second rule: a pan that takes less than 7 s per
# frame width judders at 24 fps.
STILL_BELOW_WIDTH_PCT_PER_S, FAST_FROM_WIDTH_PCT_PER_S = 1.0, 100 / 7
# Below this a stretch of equal frames is one repeated by a rate conversion, not a freeze that
# anyone sees.
FREEZE_FROM_S = 0.5
# Less than 1 % of the area is a line or two of codec padding, no border.
BORDER_FROM_PCT = 1.0
# Shares of black or blown-out frames below this are a flash at an edge.
FRAMES_FROM_PCT = 5.0
# Sides that differ by less are called square: a square of 352 cropped to macroblocks is 352x336.
SQUARE_BELOW_RATIO = 1.05
COLUMNS = (
    *("start_s", "end_s", "num_frames", "width", "height", "fps", "luma_mean_pct"),
    *("black_frames_pct", "blown_frames_pct", "motion_width_pct_per_s", "longest_freeze_s"),
    "border_pct",
)
"""Columns of clips that a sentence is made of; only the size is needed."""


def sentence(row: Mapping[str, Any]) -> str | None:
    """The sentence of one clip's row, None where not even its size is known."""
    if not row.get("width") or not row.get("height"):
        return None
    parts = [_kind(row), *_light(row), *_motion(row), *_borders(row)]
    return f"{'; '.join(parts)}."


def _kind(row: Mapping[str, Any]) -> str:
    width, height = row["width"], row["height"]
    shape = _orientation(width, height)
    if row.get("num_frames") == 1:
        return f"A {shape} still image of {width} by {height} pixels"
    text = f"A {shape} video clip of {width} by {height} pixels"
    start_s, end_s = row.get("start_s"), row.get("end_s")
    if start_s is not None and end_s is not None and end_s > start_s:
        text += f", {end_s - start_s:.1f} seconds long"
    if row.get("fps"):
        text += f" at {row['fps']:.4g} frames per second"
    return text


def _orientation(width: int, height: int) -> str:
    if max(width, height) / min(width, height) < SQUARE_BELOW_RATIO:
        return "square"
    return "landscape" if width > height else "portrait"


def _light(row: Mapping[str, Any]) -> list[str]:
    parts = []
    luma_pct = row.get("luma_mean_pct")
    if luma_pct is not None:
        word = "medium" if luma_pct >= DARK_BELOW_PCT else "low"
        word = "high" if luma_pct >= BRIGHT_FROM_PCT else word
        parts.append(f"brightness is {word} (mean {luma_pct:.0f}%)")
    for column, what in (("black_frames_pct", "black"), ("blown_frames_pct", "overexposed")):
        share_pct = row.get(column)
        if share_pct is not None and share_pct >= FRAMES_FROM_PCT:
            parts.append(f"{share_pct:.0f}% of the frames are {what}")
    return parts


def _motion(row: Mapping[str, Any]) -> list[str]:
    if row.get("num_frames") == 1:
        return []
    parts = []
    speed = row.get("motion_width_pct_per_s")
    if speed is not None:
        word = "moderate" if speed >= STILL_BELOW_WIDTH_PCT_PER_S else "hardly any"
        word = "fast" if speed >= FAST_FROM_WIDTH_PCT_PER_S else word
        parts.append(f"there is {word} motion ({speed:.1f}% of the picture's width per second)")
    freeze_s = row.get("longest_freeze_s")
    if freeze_s is not None and freeze_s >= FREEZE_FROM_S:
        parts.append(f"the picture stands still for {freeze_s:.1f} seconds")
    return parts


def _borders(row: Mapping[str, Any]) -> list[str]:
    border_pct = row.get("border_pct")
    if border_pct is None or border_pct < BORDER_FROM_PCT:
        return []
    return [f"borders cover {border_pct:.0f}% of its area"]
