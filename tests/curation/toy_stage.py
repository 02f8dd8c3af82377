"""A stage for the wiring's tests; in a file of its own so that Ray's workers can import it."""

import ctypes
import dataclasses
import hashlib
import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from curation.stage import Abort, Stage, Tables, Unit
from curation.storage import VANISHED, SourceError

GROUP = Path("/sys/fs/cgroup/memory/dailies-test")  # a control group of version 1
GROUP_BYTES = 300 << 20
NUMBERS = pa.schema({"id": pa.string(), "double": pa.int64(), "error": pa.string()})


@dataclass(frozen=True)
class Doubles(Stage):
    """Doubles numbers; some values misbehave on purpose."""

    notes: str = ""
    """Folder in which each run of a unit leaves a line."""
    limit_s: float = 3600
    limit_gb: float | None = None

    name: ClassVar[str] = "doubles"
    unit: ClassVar[Any] = "video"
    reads: ClassVar[dict[str, list[str]]] = {"given": ["id"]}
    writes: ClassVar[dict[str, pa.Schema]] = {
        "numbers": NUMBERS,
        "squares": pa.schema({"id": pa.string()}),
    }

    @property
    def deadline_s(self) -> float:
        return self.limit_s

    @property
    def memory_gb(self) -> float | None:
        return self.limit_gb

    def config(self) -> dict[str, Any]:
        return {}  # where the notes go is no part of the result

    def run(self, tables: Tables) -> Tables:
        rows = tables["rows"].to_pylist()
        for row in rows:
            with Path(self.notes, row["id"]).open("a") as file:
                file.write("run\n")
            match row["does"]:
                case "crash":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "crash once":
                    if Path(self.notes, row["id"]).read_text().count("run") == 1:
                        os.kill(os.getpid(), signal.SIGKILL)
                case "crash in C":
                    ctypes.string_at(0)
                case "spin":
                    while True:
                        time.sleep(0.01)
                case "spin in C":
                    hashlib.pbkdf2_hmac(
                        "sha256", b"", b"", (1 << 31) - 1
                    )  # without the interpreter
                case "spin in C and hold the interpreter":
                    re.match("(a+)+$", "a" * 64 + "b")
                case "allocate":
                    bytes(2 << 30)
                case "allocate in a small group":
                    (GROUP / "cgroup.procs").write_text(str(os.getpid()))
                    bytearray(b"x") * (2 * GROUP_BYTES)
                case "vanish once":
                    if Path(self.notes, row["id"]).read_text().count("run") == 1:
                        raise SourceError(VANISHED, "the file was there when the run began")
                case "raise":
                    raise KeyError("a mistake of ours")
                case "stop":
                    raise Abort("the server at http://127.0.0.1:1 does not answer")
                case "lose the network":
                    raise ConnectionResetError("the storage hung up")
                case "lose":
                    rows = rows[:-1]
        found = [{"id": r["id"], "double": 2 * r["n"], "error": None} for r in rows]
        return {
            "numbers": pa.Table.from_pylist(found, schema=NUMBERS),
            "squares": pa.table({"id": [r["id"] for r in rows]}),
        }

    def failed(self, tables: Tables, *, error: str) -> Tables:
        ids = tables["rows"]["id"].to_pylist()
        rows = [{"id": i, "double": None, "error": error} for i in ids]
        return {
            "numbers": pa.Table.from_pylist(rows, schema=NUMBERS),
            "squares": pa.table({"id": pa.array([], pa.string())}),
        }


@dataclass(frozen=True)
class Shares(Doubles):
    """Doubles nothing and tells among how many workers a server is shared."""

    num_workers: int = 1

    def among(self, workers: int) -> "Shares":
        return dataclasses.replace(self, num_workers=workers)

    def run(self, tables: Tables) -> Tables:
        written = super().run(tables)
        numbers = written["numbers"].to_pylist()
        shares = [row | {"double": self.num_workers} for row in numbers]
        return written | {"numbers": pa.Table.from_pylist(shares, schema=NUMBERS)}

    def tally(self, tables: Tables, written: Tables) -> dict[str, float]:
        return {"rows": tables["rows"].num_rows}


def refuse_to_load() -> Any:
    raise ModuleNotFoundError("the stage's code is not on this machine")


class Unloadable(Doubles):
    """As on a cluster that lacks our code."""

    def __reduce__(self) -> Any:
        return refuse_to_load, ()


def units(stage: Doubles, does: dict[str, str]) -> list[Unit]:
    """One unit of two rows per name; the first row does what is asked."""
    found = []
    for i, (name, what) in enumerate(does.items()):
        rows = [{"id": name, "n": i, "does": what}, {"id": f"{name}-b", "n": i, "does": "work"}]
        key = stage.unit_key(name)
        found.append(Unit(key, 2, rows=pa.Table.from_pylist(rows)))
    return found
