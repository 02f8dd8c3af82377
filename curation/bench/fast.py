"""What the fast profile changes: cuts, thumbnails and columns beside those of the exact one.

Without the loop filter a decoder's pictures drift from the true ones up to the next keyframe.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import pyarrow as pa

from curation.meters import METERS
from curation.stage import Tables

CUT_TOLERANCE = 1  # frame


@dataclass(frozen=True)
class Drift:
    """Of a column over the clips that both profiles found."""

    column: str
    clips: int
    mean: float
    mean_change: float
    max_change: float


def cut_f1(exact: Iterable[Tables], fast: Iterable[Tables]) -> tuple[float, int]:
    """(F1 of the fast profile's hard cuts against the exact one's at ±1 frame, cuts of the exact
    one).
    """
    hits = found = wanted = 0
    for a, b in zip(exact, fast, strict=True):
        truth, guess = hard_cuts(a["clips"]), hard_cuts(b["clips"])
        hits += matches(truth, guess)
        wanted, found = wanted + len(truth), found + len(guess)
    return (2 * hits / (wanted + found) if wanted + found else 1.0), wanted


def hard_cuts(clips: pa.Table) -> list[int]:
    """First frames of the clips that begin with a cut, in order."""
    rows = clips.select(["start_frame", "transition_in"]).to_pylist()
    return sorted(row["start_frame"] for row in rows if row["transition_in"] == "cut")


def matches(truth: list[int], guess: list[int]) -> int:
    """Pairs of frames at most one apart, each used once; both in order."""
    count = i = j = 0
    while i < len(truth) and j < len(guess):
        if abs(truth[i] - guess[j]) <= CUT_TOLERANCE:
            count, i, j = count + 1, i + 1, j + 1
        elif truth[i] < guess[j]:
            i += 1
        else:
            j += 1
    return count


def thumbs_psnr_db(exact: Iterable[Tables], fast: Iterable[Tables]) -> list[float]:
    """Of each thumbnail that both profiles kept, between their JPEGs."""
    found = []
    for a, b in zip(exact, fast, strict=True):
        left, right = (dict(_jpegs(tables["thumbs"])) for tables in (a, b))
        for key in sorted(left.keys() & right.keys()):
            found.append(psnr_db(*(_pixels(jpegs[key]) for jpegs in (left, right))))
    return found


def _jpegs(thumbs: pa.Table) -> Iterable[tuple[tuple[int, int], bytes]]:
    for row in thumbs.to_pylist():
        yield (row["start_frame"], row["frame"]), row["jpeg"]


def _pixels(jpeg: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB; infinite where the pictures are the same."""
    error = float(np.square(a.astype(np.float32) - b).mean())
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def drifts(exact: Iterable[Tables], fast: Iterable[Tables]) -> list[Drift]:
    """Of each number that a meter gives, over the clips with the same frames."""
    fields = [field for meter in METERS for field in meter.writes if _is_number(field.type)]
    values: dict[str, list[tuple[float, float]]] = {field.name: [] for field in fields}
    for a, b in zip(exact, fast, strict=True):
        left, right = (
            {clip["clip_id"]: clip for clip in tables["clips"].to_pylist()} for tables in (a, b)
        )
        for key in left.keys() & right.keys():
            for name, pairs in values.items():
                pair = left[key][name], right[key][name]
                if None not in pair:
                    pairs.append(pair)
    found = []
    for name, pairs in values.items():
        if pairs:
            x, y = np.array(pairs, np.float64).T
            change = np.abs(x - y)
            mean = float(x.mean())
            found.append(Drift(name, len(x), mean, float(change.mean()), float(change.max())))
    return found


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)
