"""What broken and hostile files do to us, tried on files made from the footage at hand.

First every good file is damaged many times over and each result decoded in a process of its own,
where a crash, a hang or a hunger for memory is seen and harms nothing. Then the good files go
through split alone and in the company of all kinds of bad ones: the run must end well, account for
every file, and write the same bytes about the good ones.
"""

import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from curation import dataset, storage
from curation.bench.damage import variants
from curation.bench.hostile import write_hostile
from curation.memory import DECODING_GB, hold_at_most
from curation.stage import STAGE_FAILED, Abort
from curation.video import DecodePass, VideoError
from curation.video.picture import small_planes, small_size

LIMIT_S = 20  # of CPU; a good file of the shared footage takes 1 s
PATIENCE = 30  # times that by the clock, on a busy machine: no decoder waits for anything
SEED = 20261121
SPLIT_TABLES = ("sources", "segments", "thumbs", "videos", "clips", "keyframes")
NOWHERE = "http://127.0.0.1:9/x.mp4"  # the discard port: nobody answers


@dataclass(frozen=True)
class Outcome:
    """How an attempt to decode a file ended."""

    code: str
    """"decoded", the code of a VideoError, "no_memory", "deadline", "crashed: SIGNAL", or
    "escaped: …": an exception that nobody foresaw."""
    num_frames: int
    seconds: float
    """Of CPU."""
    rss_mb: float
    """Most memory held at once; the process begins with 40 MB."""

    @property
    def is_ours(self) -> bool:
        """Whether the mistake is in our code and not in the file."""
        return self.code.startswith("escaped")


def decode(path: Path) -> int:
    """Frames of a file; each is looked at as the meters do."""
    found = DecodePass(path)
    size = (0, 0)
    for frame in found:
        if frame.index == 0:
            size = small_size(*found.display_size())
        small_planes(frame.picture, size=size, rotation=found.rotation)
    steps = [b - a for a, b in zip(found.times_s, found.times_s[1:], strict=False)]
    assert all(step > 0 for step in (*steps, found.last_duration_s)), "times do not rise"
    return found.num_frames


def attempt(path: Path, *, gb: float = DECODING_GB, limit_s: int = LIMIT_S) -> Outcome:
    """Decode a file in a child process with limits of CPU seconds and memory."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            os.write(writing, json.dumps(_looked(path, gb, limit_s)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        is_late = not select.select([answer], [], [], PATIENCE * limit_s)[0]
        if is_late:
            os.kill(child, signal.SIGKILL)
        data = answer.read()
    _, status, used = os.wait4(child, 0)
    if is_late or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU):
        code, num_frames = "deadline", 0
    elif os.WIFSIGNALED(status):
        code, num_frames = f"crashed: {signal.Signals(os.WTERMSIG(status)).name}", 0
    else:
        code, num_frames = json.loads(data)
    return Outcome(code, num_frames, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def _looked(path: Path, gb: float, limit_s: int) -> tuple[str, int]:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s + 1))
    try:
        with hold_at_most(gb):
            return "decoded", decode(path)
    except VideoError as error:
        return error.code, 0
    except MemoryError:
        return "no_memory", 0
    except Exception as error:
        return f"escaped: {type(error).__name__}: {error}", 0


def damaged(files: list[Path], folder: Path, *, seed: int, each: int) -> Iterator[Path]:
    """Every variant of every file, one after another, each removed when the next is asked for."""
    for file in files:
        for name, data in variants(file.read_bytes(), seed=seed, each=each):
            path = folder / f"{name} of {file.name}"
            path.write_bytes(data)
            try:
                yield path
            finally:
                path.unlink(missing_ok=True)


# -- the command -----------------------------------------------------------------------------------


def faults(footage: str, *, each: int, seed: int = SEED, workers: int | None = None) -> bool:
    """Try `each` variants of every file per kind of damage; print what came of them. False where
    one found a mistake of ours.
    """
    if storage.is_remote(footage):
        raise ValueError(f"FOOTAGE={footage!r}, expected a folder on this machine")
    files = [Path(source.uri) for source in storage.list_sources(footage)]
    print(f"{seed = }, {each} variants of each file per kind of damage")
    with tempfile.TemporaryDirectory(prefix="dailies-faults-") as name:
        folder = Path(name)
        good = [file for file in files if attempt(file).code == "decoded"]
        hostile = write_hostile(folder / "hostile", secret=good[0], url=NOWHERE)
        tried = {path.name: attempt(path) for path in hostile}
        tried |= {path.name: attempt(path) for path in damaged(good, folder, seed=seed, each=each)}
        report(tried)
        bad = [file for file in files if file not in good] + hostile
        is_unharmed = beside(good, bad, folder, seed=seed, workers=workers)
    return is_unharmed and not any(outcome.is_ours for outcome in tried.values())


def report(tried: dict[str, Outcome]) -> None:
    codes = Counter(outcome.code for outcome in tried.values())
    print(f"{len(tried)} files: " + ", ".join(f"{n} {code}" for code, n in codes.most_common()))
    for what, key in (("slowest", _seconds), ("largest", _rss_mb)):
        name, outcome = max(tried.items(), key=lambda item: key(item[1]))
        print(f"{what}: {outcome.seconds:.1f} s CPU, {outcome.rss_mb:.0f} MB: {name}")
    for name, outcome in tried.items():
        if outcome.is_ours or outcome.code.startswith("crashed"):
            print(f"  {name}: {outcome.code}")


def _seconds(outcome: Outcome) -> float:
    return outcome.seconds


def _rss_mb(outcome: Outcome) -> float:
    return outcome.rss_mb


def beside(
    good: list[Path], bad: list[Path], folder: Path, *, seed: int, workers: int | None
) -> bool:
    """Whether split says the same of good files alone and beside bad ones, and foresaw every bad
    one.
    """
    footage, alone, together = folder / "footage", folder / "alone", folder / "together"
    footage.mkdir()
    for i, path in enumerate(good):
        (footage / f"{i:04d} {path.name}").symlink_to(path)
    _split(footage, alone, workers=workers)
    for path in damaged(good, folder, seed=seed, each=1):
        path.rename(footage / path.name)
    for i, path in enumerate(bad):
        (footage / f"bad {i:04d} {path.name}").symlink_to(path)
    _split(footage, together, workers=workers)
    listed = len(list(footage.iterdir()))
    videos = dataset.require(str(together), "videos")
    changed = differing(alone, together)
    print(f"split: {listed} files, {videos.num_rows} accounted for, of {len(good)} good ones "
          f"{len(changed)} tables changed")  # fmt: skip
    codes = Counter((error or "measured").split(":")[0] for error in videos["error"].to_pylist())
    print(", ".join(f"{n} {code}" for code, n in codes.most_common()))
    return videos.num_rows == listed and not changed and STAGE_FAILED not in codes


def _split(footage: Path, data: Path, *, workers: int | None) -> None:
    command = [sys.executable, "-m", "curation", "split"]
    command += ["--footage", str(footage), "--data", str(data)]
    command += ["--scan.deadline_per_segment_s", str(LIMIT_S)]
    command += ["--workers", str(workers)] if workers else []
    done = subprocess.run(command, check=False)
    if done.returncode:
        raise Abort(f"split ended with {done.returncode} on {footage}")


def differing(alone: Path, together: Path) -> list[str]:
    """Files of split's tables that are not the same, byte for byte, in the other dataset."""
    found: list[str] = []
    for table in SPLIT_TABLES:
        for path in sorted((alone / "tables" / table).glob("*.parquet")):
            other = together / "tables" / table / path.name
            if not other.exists() or other.read_bytes() != path.read_bytes():
                found.append(f"{table}/{path.name}")
    return found
