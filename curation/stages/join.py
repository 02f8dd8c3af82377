"""A source's segments joined: what one pass over it would have kept.

First part of `split`, pure. Where triage rejected stretches, what was decoded lies in several runs.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from curation.meters import METERS
from curation.meters.cuts import SCORE, without_returns
from curation.meters.record import between, row_dtype
from curation.stages.scan import METER_COLUMN

FINGERPRINT_BYTES = 144


@dataclass(frozen=True)
class Numbers:
    """Frames are counted as they come out of the decoder. In what was damaged they may be fewer, or
    more, than the stamps of the packets promised, by which segments and stretches are numbered.
    """

    ends: tuple[int, ...]
    """The frame before which each segment but the last ends, by the stamps."""
    gained: tuple[int, ...]
    """Frames that came out of it more than promised."""

    @classmethod
    def of(cls, segments: list[dict[str, Any]]) -> "Numbers":
        ended = [s for s in segments if s["end_frame"] is not None]
        return cls(
            tuple(s["end_frame"] for s in ended),
            tuple(s["num_frames"] - (s["end_frame"] - s["start_frame"]) for s in ended),
        )

    def counted(self, frame: int) -> int:
        """The number of a frame, at which a segment or stretch begins or ends, as decoded."""
        return frame + sum(
            more for end, more in zip(self.ends, self.gained, strict=True) if end <= frame
        )


@dataclass(frozen=True)
class Run:
    """Frames [start, end) that were decoded one after another."""

    start: int
    end: int
    scored_end: int
    """The frames behind it that were decoded for the scores of its last ones have scores too."""
    has_more: bool
    """Whether the source goes on behind it."""


@dataclass(frozen=True)
class Scanned:
    """A source's segments joined: what one pass over it would have kept.

    Frames are counted in the source. Without triage all of them are one run; what triage rejected
    is a hole in the arrays, NaN or 0.
    """

    facts: dict[str, Any]
    """Of the stream: the first segment's columns, counts summed."""
    numbers: "Numbers"
    runs: list[Run]
    edges_s: np.ndarray
    """(num_frames + 1,) when each frame begins, and when the last one ends."""
    frame_bytes: np.ndarray
    fingerprints: np.ndarray
    """(num_frames, 144)"""
    scores: np.ndarray
    meters: list[np.ndarray]
    """The rows of each of METERS."""

    @property
    def num_frames(self) -> int:
        return len(self.frame_bytes)


def join(segments: list[dict[str, Any]]) -> Scanned:
    """Segments in order, each row of the table segments."""
    numbers = Numbers.of(segments)
    starts = [numbers.counted(segment["start_frame"]) for segment in segments]
    ends = [start + s["num_frames"] for start, s in zip(starts, segments, strict=True)]
    first = [i for i, segment in enumerate(segments) if segment["starts_run"]]
    parts = list(zip(first, [*first[1:], len(segments)], strict=True))
    num_frames = ends[-1]

    def arrays(column: str, dtype: Any, hole: Any, *, shape: tuple[int, ...] = ()) -> np.ndarray:
        whole = np.full((num_frames, *shape), hole, dtype)
        for a, b in parts:
            rows = [np.frombuffer(s[column], dtype).reshape(-1, *shape) for s in segments[a:b]]
            run = np.concatenate(rows)[: num_frames - starts[a]]
            whole[starts[a] : starts[a] + len(run)] = run
        return whole

    def run_of(a: int, b: int) -> Run:
        scored = sum(len(s["scores"]) for s in segments[a:b]) // SCORE.itemsize
        more = segments[b - 1]["end_frame"] is not None
        return Run(starts[a], ends[b - 1], min(starts[a] + scored, num_frames), more)

    def meter_rows(meter: Any) -> np.ndarray:
        found = [
            between(
                np.frombuffer(s[METER_COLUMN[meter]], row_dtype(meter)),
                start=0,
                end=ends[b - 1] - start,
                offset=start,
            )
            for a, b in parts
            for s, start in zip(segments[a:b], starts[a:b], strict=True)
        ]
        return np.concatenate(found)

    sums = ("corrupt_frames", "interlaced_frames", "decode_errors")
    edges_s = np.append(arrays("times_s", np.float64, np.nan), np.nan)
    for _, b in parts:
        last_s = edges_s[ends[b - 1] - 1]
        edges_s[ends[b - 1]] = last_s + segments[b - 1]["last_duration_s"]
    fingerprints = arrays("fingerprints", np.uint8, 0, shape=(FINGERPRINT_BYTES,))
    return Scanned(
        facts=segments[0] | {name: sum(s[name] for s in segments) for name in sums},
        numbers=numbers,
        runs=[run_of(a, b) for a, b in parts],
        edges_s=edges_s,
        frame_bytes=arrays("frame_bytes", np.int32, 0),
        fingerprints=fingerprints,
        scores=without_returns(arrays("scores", SCORE, np.zeros((), SCORE)), fingerprints),
        meters=[meter_rows(meter) for meter in METERS],
    )
