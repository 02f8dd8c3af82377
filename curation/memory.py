"""A limit on the memory of a unit, and who was killed for memory.

A file of a kilobyte can ask for gigabytes: millions of samples, a canvas of 8192 pixels with
sixteen reference frames, a compressed comment. Where the machine has no more, the kernel ends some
process, often another one; below a limit of its own the unit that asks is the one that fails.

Decoders that are refused memory go on with fewer frames and say nothing. Allocations are therefore
refused only at twice the limit, to protect the machine, and what a unit found out is thrown away
where it held more than the limit at any moment.
"""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

DECODING_GB = 4.0  # 8K in 10 bits with sixteen reference frames takes 2.2; 4K takes under 1
RESET_PEAK = "5"  # proc(5), /proc/pid/clear_refs: the peak is what is held now


@contextlib.contextmanager
def hold_at_most(gb: float) -> Iterator[None]:
    """Raise MemoryError, whatever else the block raised, where this process, which runs nothing
    else, held gb more at some moment of the block than at its beginning.

    What is refused at twice as much is counted by RLIMIT_DATA: private and writable, touched or
    not. What is only mapped, as Ray's object store, takes no part in either.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _bytes("VmData:") + int(2e9 * gb)
    resource.setrlimit(resource.RLIMIT_DATA, (_lower(limit, hard), hard))
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text(RESET_PEAK)
    before = _bytes("VmRSS:")
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
        held_gb = (_bytes("VmHWM:") - before) / 1e9
        if held_gb > gb:
            raise MemoryError(f"{held_gb:.1f} GB held, at most {gb:g} are allowed")


def _lower(a: int, b: int) -> int:
    return a if b == resource.RLIM_INFINITY else min(a, b)


def _bytes(name: str) -> int:
    return 1024 * _number(Path("/proc/self/status"), name)


def killed_for_memory() -> int:
    """Processes that the kernel of this machine has killed for memory since it started, in any
    control group; 0 where it does not say.
    """
    return _number(Path("/proc/vmstat"), "oom_kill")


def _number(file: Path, name: str) -> int:
    """The number behind a name in a file of /proc; 0 where it is not there (other systems)."""
    with contextlib.suppress(OSError):
        for line in file.read_text().splitlines():
            if line.split()[0] == name:
                return int(line.split()[1])
    return 0
