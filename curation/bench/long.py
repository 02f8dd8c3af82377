"""Long sources: what two workers gain on one file, and how much memory a worker takes.

The file is an edit played again and again, in more segments than workers. Both runs are the command
that a user types, Ray and all; its start is the same few seconds for ten minutes and for ten hours,
so the stage's own time stands beside the command's.
"""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from curation import dataset, storage
from curation.bench import corpus
from curation.bench.clock import bare_decode
from curation.bench.passes import curate
from curation.stages.scan import Scan

LONG_S = 900
SEGMENT_S = 60  # as finely as the inventory allows: 15 segments
LONG_4K_S = 24
SPEED_GOAL, MEMORY_GOAL_GIB = 1.8, 1.5
TABLES = ("videos", "clips", "keyframes")
Figure = tuple[str, str, str]


@dataclass(frozen=True)
class Run:
    """One `split` of a folder."""

    command_s: float
    """By the clock, with the start of Python and Ray."""
    scan_s: float
    """By the clock, the stage alone."""
    cpu_s: float
    """Of the scan, all workers."""
    tables: dict[str, pa.Table]


def measure_long(folder: Path) -> list[Figure]:
    edit = next(edit for edit in corpus.EDITS if edit.height == 480)
    short = corpus.make_edit(folder, edit)
    long = corpus.looped(short, seconds=LONG_S)
    short_4k = corpus.make_edit(folder, corpus.EDIT_4K)
    long_4k = corpus.looped(short_4k, seconds=LONG_4K_S)
    print(f"\none file of {LONG_S / 60:g} minutes in segments of {SEGMENT_S} s, split by Ray")
    print(f"{'workers':<10}{'command s':>12}{'scan s':>12}{'scan CPU s':>12}")
    runs = {}
    for workers in (1, 2):
        runs[workers] = run = split(long, workers=workers)
        print(f"{workers:<10}{run.command_s:>12.1f}{run.scan_s:>12.1f}{run.cpu_s:>12.1f}")
    machine = two_at_once(short)
    print(f"two bare decodes at once do {machine:.2f} x the work of one in the same time")
    peaks, whole = {}, {}
    for path in (short, long, short_4k, long_4k):
        peaks[path], whole = peak_gib(path)
        print(f"peak memory of a scan of {path.name}: {peaks[path]:.2f} GiB")
        if path == long:
            undivided = whole
    equal = all(same(run.tables, undivided) for run in runs.values())
    return [
        (
            "2 workers / 1 on one long file, scan by the clock",
            f">= {SPEED_GOAL}",
            f"{runs[1].scan_s / runs[2].scan_s:.2f}",
        ),
        ("  two bare decodes at once, on this machine", "", f"{machine:.2f}"),
        ("  tables of 1 worker, 2 workers and one pass", "equal", "equal" if equal else "DIFFER"),
        (
            "memory of a worker, 4K H.264",
            f"<= {MEMORY_GOAL_GIB} GiB",
            f"{max(peaks[short_4k], peaks[long_4k]):.2f} GiB",
        ),
        (
            f"  {LONG_4K_S:g} s of it more than {corpus.EDIT_4K.seconds:g} s",
            "flat",
            f"{peaks[long_4k] - peaks[short_4k]:+.2f} GiB",
        ),
        (
            f"  {LONG_S:g} s of 480p more than {edit.seconds:g} s",
            "flat",
            f"{peaks[long] - peaks[short]:+.2f} GiB",
        ),
    ]


def split(path: Path, *, workers: int) -> Run:
    with tempfile.TemporaryDirectory(prefix="dailies-") as data:
        command = [sys.executable, "-m", "curation", "split", "--footage", str(path)]
        command += ["--data", data, "--workers", str(workers)]
        begin = time.monotonic()
        subprocess.run(
            [*command, "--scan.segment_s", str(SEGMENT_S)], check=True, stdout=subprocess.DEVNULL
        )
        command_s = time.monotonic() - begin
        seconds = json.loads((Path(data) / "runs" / "scan.json").read_text())["seconds"]
        return Run(command_s, seconds["wall"], seconds["cpu"], read(data))


def read(data: str) -> dict[str, pa.Table]:
    return {name: dataset.require(data, name) for name in TABLES}


def same(one: dict[str, pa.Table], other: dict[str, pa.Table]) -> bool:
    """But for the frames that segments decode beyond their ends."""
    return all(
        one[name].select(columns).equals(other[name].select(columns))
        for name in TABLES
        for columns in [[c for c in one[name].column_names if c != "decoded_frames"]]
    )


def peak_kib() -> int:
    """Of this process since its program began; getrusage counts what its parent held too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def two_at_once(path: Path) -> float:
    """How much of a second core this machine has, for the reader of the figure above."""
    from concurrent.futures import ThreadPoolExecutor

    def decode(_: int) -> None:
        bare_decode(str(path), stream=0)

    begin = time.monotonic()
    decode(0)
    one_s = time.monotonic() - begin
    with ThreadPoolExecutor(2) as pool:
        begin = time.monotonic()
        list(pool.map(decode, range(2)))
    return 2 * one_s / (time.monotonic() - begin)


def peak_gib(path: Path) -> tuple[float, dict[str, pa.Table]]:
    """(largest resident memory of a process that scans the file in one pass and splits it, the
    tables).
    """
    with tempfile.TemporaryDirectory(prefix="dailies-") as folder:
        code = f"from {__name__} import scan_here; scan_here({str(path)!r}, {folder!r})"
        subprocess.run([sys.executable, "-c", code], check=True)
        peak = float((Path(folder) / "peak_gib").read_text())
        return peak, {name: storage.read_table(f"{folder}/{name}.parquet") for name in TABLES}


def scan_here(path: str, folder: str) -> None:
    tables = curate(path, knobs=Scan(segment_s=float("inf")))
    (Path(folder) / "peak_gib").write_text(f"{peak_kib() / (1 << 20)}")
    for name in TABLES:
        storage.write_table(f"{folder}/{name}.parquet", tables[name])
