"""What becomes of stretches that triage rejected: rows of `clips` and `videos` with the reason.

Nobody decoded them, so they have no measures; their pictures are the first look's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation import dataset
from curation.clip import clip_id
from curation.meters.keyframes import choose, rows
from curation.stage import Unit

TRIAGE = "triage"  # what bounds a clip beside a stretch that was not decoded


@dataclass(frozen=True)
class Verdict:
    """What scan and split must know of a source of which something was rejected."""

    row: dict[str, Any]
    """Of the table triage."""
    pictures: list[str]
    """Files of the table look_pictures that hold its looks."""


def verdicts(data: str, look_units: list[Unit], names: list[str]) -> dict[str, Verdict]:
    """uri -> verdict, of the sources of which triage has rejected something; the look's units lie
    under these names.
    """
    pictures = {}
    for unit, name in zip(look_units, names, strict=True):
        assert unit.rows is not None
        pictures[unit.rows["uri"][0].as_py()] = dataset.unit_url(data, "look_pictures", name)
    judged = dataset.require(data, "triage")
    lost = judged.filter(pc.greater(judged["rejected_frames"], 0)).to_pylist()
    return {row["uri"]: Verdict(row, [pictures[row["uri"]]]) for row in lost}


def rejected_rows(video: dict[str, Any], triaged: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of the table clips for stretches that nobody decoded: no measures, the reason."""
    return [
        {
            "clip_id": clip_id(
                video["video_id"],
                start_frame=stretch["start_frame"],
                end_frame=stretch["end_frame"],
            ),
            "video_id": video["video_id"],
            "uri": video["uri"],
            "start_frame": stretch["start_frame"],
            "end_frame": stretch["end_frame"],
            "start_s": stretch["start_s"],
            "end_s": stretch["end_s"],
            "num_frames": stretch["end_frame"] - stretch["start_frame"],
            "width": triaged["width"],
            "height": triaged["height"],
            "transition_in": TRIAGE if stretch["start_frame"] else "edge",
            "transition_out": (TRIAGE if stretch["end_frame"] < triaged["num_frames"] else "edge"),
            "reject": stretch["reject"],
        }
        for stretch in triaged["stretches"]
        if stretch["reject"]
    ]


def renumbered(triaged: dict[str, Any], number: Callable[[int], int]) -> dict[str, Any]:
    """The row of the table triage with its frames counted as they were decoded."""
    stretches = [
        stretch | {name: number(stretch[name]) for name in ("start_frame", "end_frame")}
        for stretch in triaged["stretches"]
    ]
    return triaged | {"num_frames": number(triaged["num_frames"]), "stretches": stretches}


def look_rows(
    rejected: list[dict[str, Any]],
    pictures: pa.Table,
    *,
    number: Callable[[int], int] = lambda frame: frame,
) -> list[dict[str, Any]]:
    """The rows of the table keyframes for them: what triage saw."""
    frames = [number(frame) for frame in pictures["frame"].to_pylist()]
    jpegs = dict(zip(frames, pictures["jpeg"].to_pylist(), strict=True))
    times_s = dict(zip(frames, pictures["time_s"].to_pylist(), strict=True))
    return [
        row
        for clip in rejected
        for row in rows(clip, choose(sorted(jpegs), clip), jpegs, times_s=times_s)
    ]


def unseen(triaged: dict[str, Any]) -> dict[str, Any]:
    """Columns of videos for a source of which nothing was decoded but keyframes: by its packets."""
    return {"width": triaged["width"], "height": triaged["height"], "decoded_frames": 0} | (
        whole(triaged)
    )


def whole(triaged: dict[str, Any]) -> dict[str, Any]:
    stretches = triaged["stretches"]
    duration_s = stretches[-1]["end_s"] - stretches[0]["start_s"]
    return {"num_frames": triaged["num_frames"], "duration_s": duration_s}
