"""CPU seconds, and ratios of them that hold on a machine that others use too.

The unit is `ffmpeg -threads 1 -i FILE -map 0:INDEX -f null -`: decoding alone, writing nothing.
It runs before and after whatever is compared with it, so that a machine whose speed drifts gives
the same ratio. It includes the start of the ffmpeg process (0.05 s): files whose decoding takes
less than a second read too low.
"""

import resource
import shutil
import statistics
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Paired:
    """A case beside the unit; medians over the rounds."""

    unit_s: float
    case_s: float
    ratio: float


def cpu_s() -> float:
    """CPU seconds of this process and of those that it has waited for, user and system."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def cpu_s_of(case: Callable[[], Any]) -> float:
    before = cpu_s()
    case()
    return cpu_s() - before


def require_ffmpeg() -> None:
    """Raise ValueError where there is nothing to compare with, or to make copies by."""
    if shutil.which("ffmpeg") is None:
        raise ValueError(
            "the command ffmpeg is not installed; bench compares with it: apt-get install ffmpeg"
        )


def bare_decode(path: str, *, stream: int) -> None:
    command = ["ffmpeg", "-v", "quiet", "-threads", "1", "-i", path, "-map", f"0:{stream}"]
    subprocess.run([*command, "-f", "null", "-"], stdin=subprocess.DEVNULL, check=False)


def paired(
    unit: Callable[[], Any], cases: dict[str, Callable[[], Any]], *, rounds: int
) -> dict[str, Paired]:
    """Each case beside the mean of the units just before and after it, in turns: unit, case, unit,
    case, unit, …
    """
    found: dict[str, list[Paired]] = {name: [] for name in cases}
    before = cpu_s_of(unit)
    for _ in range(rounds):
        for name, case in cases.items():
            case_s, after = cpu_s_of(case), cpu_s_of(unit)
            beside = (before + after) / 2
            found[name].append(Paired(beside, case_s, case_s / beside))
            before = after
    return {name: _medians(rows) for name, rows in found.items()}


def _medians(rows: list[Paired]) -> Paired:
    return Paired(
        *(statistics.median(getattr(r, f) for r in rows) for f in ("unit_s", "case_s", "ratio"))
    )
