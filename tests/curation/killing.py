"""Processes and their ends: finding what a command has started, and killing it at a moment.

Linux: everything is read from /proc.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
PATIENCE_S = 120  # how long anything may take on a busy machine before the test fails


def processes() -> dict[int, tuple[int, str, str]]:
    """pid -> (parent's pid, start time, command line) of every process that has not ended."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
            words = Path("/proc", name, "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue  # it ended while we looked
        if fields[0] not in "ZX":
            found[int(name)] = int(fields[1]), fields[19], words
    return found


def tree(pid: int) -> dict[int, str]:
    """pid -> start time of a process and all that it has started, and they in turn."""
    every, found = processes(), [pid]
    for parent in found:
        found += [child for child, (ppid, _, _) in every.items() if ppid == parent]
    return {p: every[p][1] for p in found if p in every}


def wait_for(what: str, condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.02)


def wait_until_gone(started: dict[int, str]) -> None:
    """Until no worker of Ray's is left of these processes; its agents, which only look for their
    raylet and give up after a minute, are ended here.
    """

    def left() -> dict[int, str]:
        now = processes()
        return {p: now[p][2] for p, begun in started.items() if p in now and now[p][1] == begun}

    def only_agents() -> bool:
        return all(words.startswith(AGENTS) for words in left().values())

    wait_for("Ray's workers end when their driver is gone", only_agents)
    for pid in left():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_when(
    process: subprocess.Popen, condition: Callable[[], bool], *, whole: bool
) -> dict[int, str]:
    """kill -9 of the driver, or of it and of everything it has started, as soon as the condition
    holds. Returns what it had started.
    """

    def ready() -> bool:
        assert process.poll() is None, "the command ended before it could be killed"
        return condition()

    wait_for("the moment to kill the command", ready)
    started = tree(process.pid)
    process.kill()
    for pid in started if whole else ():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    return started
