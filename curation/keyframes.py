"""Keyframes on a page: a few of each clip, within a budget of bytes, as images inside of it."""

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation import dataset, storage
from curation.markup import Html, clock, element

MAX_IMAGE_BYTES = 24_000_000
"""Pictures are nearly all of the page; as data URIs these make 32 MB, which still opens at once."""

Row = Mapping[str, Any]


def read_frames(data: str, clip_ids: Sequence[str], *, count: int = 3) -> dict[str, list[Row]]:
    """At most `count` keyframes of each clip that has any, evenly spread, the first and the last
    among them.

    Keyframes are the one table that may not fit in memory: of its files only those that hold a
    wanted clip are read whole.
    """
    wanted = set(clip_ids)
    found: dict[str, list[Row]] = defaultdict(list)
    for url in dataset.table_files(data, "keyframes") if clip_ids else []:
        fs, path = storage.filesystem(url)
        with fs.open(path, "rb") as opened, pq.ParquetFile(opened) as file:
            ids = file.read(columns=["clip_id"])["clip_id"].to_pylist()
            if wanted.isdisjoint(ids):
                continue
            rows = file.read(columns=["clip_id", "position", "frame", "time_s", "jpeg"])
        for row in (
            rows.filter(pa.array([i in wanted for i in ids])).sort_by("position").to_pylist()
        ):
            found[row["clip_id"]].append(row)
    return {clip: spread(found[clip], count=count) for clip in clip_ids if clip in found}


def spread(frames: Sequence[Row], *, count: int) -> list[Row]:
    """At most `count` of the frames (2 or more), with the first and the last."""
    last, gaps = len(frames) - 1, count - 1
    return [frames[i] for i in sorted({(2 * n * last + gaps) // (2 * gaps) for n in range(count)})]


def within_budget(
    frames: Mapping[str, Sequence[Row]], *, max_bytes: int = MAX_IMAGE_BYTES
) -> dict[str, list[Row]]:
    """As many frames as fit: the middle one of every clip first, then the others, clip by clip."""
    left = max_bytes
    taken: dict[str, list[Row]] = defaultdict(list)
    for wants_middle in (True, False):
        for clip, rows in frames.items():
            for place, row in enumerate(rows):
                if (place == len(rows) // 2) == wants_middle and len(row["jpeg"]) <= left:
                    left -= len(row["jpeg"])
                    taken[clip].append(row)
    return {clip: sorted(rows, key=lambda row: row["position"]) for clip, rows in taken.items()}


def image(frame: Row, *, width: int | None, height: int | None) -> Html:
    """A keyframe as an image; width and height of the clip in pixels, for its aspect."""
    return element(
        "img",
        src="data:image/jpeg;base64," + base64.b64encode(frame["jpeg"]).decode("ascii"),
        alt=f"Frame {frame['frame']} at {clock(frame['time_s'])}",
        loading="lazy",
        decoding="async",
        width=width,
        height=height,
    )
