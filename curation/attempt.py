"""One attempt at one unit of a stage: read, run, check, commit, in a worker process or here.

Its end is a status and nothing is raised. What went wrong with the data is in the rows; a disk, a
network or a mistake of ours stops the run; what takes the process down is for the pipeline to see.

A failure that may have passed by the next run (a source that vanished, a worker killed for memory)
is written under another name than the unit's, so the unit stays undone and what was made of the
failed rows is named by other files than what will be made of good ones.
"""

import contextlib
import errno
import json
import time
import traceback
from typing import Any

import pyarrow as pa

from curation import storage
from curation.dataset import unit_url
from curation.deadline import kill_this_process_after
from curation.memory import hold_at_most
from curation.stage import STAGE_FAILED, Abort, Stage, Tables, Unit, conform
from curation.storage import VANISHED, SourceError

ATTEMPTS = 2
DONE, STOPPED = "done", "stopped"  # statuses; the others are the codes of what ended a worker
CRASHED, DEADLINE, OUT_OF_MEMORY = "decoder_crashed", "deadline", "out_of_memory"
PASSING = {VANISHED, "unreadable", "source_changed", STAGE_FAILED, OUT_OF_MEMORY}
"""Error codes of failures that the next run tries again, of any stage."""
AGAIN = ".again"  # ends the name of a unit that failed so
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}  # no fault of the data being read
NETWORK_LIBRARIES = {"botocore", "aiohttp"}  # below s3fs, which passes some of their errors on


def run_unit(stage: Stage, unit: Unit, *, data: str, isolated: bool) -> dict[str, Any]:
    """Read, run, check, commit one unit. isolated: in a worker process, which may be killed."""
    cpu = time.process_time()
    result = {"unit": unit.key, "status": DONE, "rows": unit.num_rows, "cpu_s": 0.0, "message": ""}
    result["tally"] = "{}"
    try:
        with _deadline(stage, unit, data=data, isolated=isolated):
            tables = _read(unit)
            with _memory(stage, isolated=isolated):
                written = _run_stage(stage, tables)
            _commit(stage, unit, written, data=data)
            result["tally"] = json.dumps(stage.tally(tables, written))
    except MemoryError:
        result |= {
            "status": OUT_OF_MEMORY if isolated else STOPPED,
            "message": "no memory is left",
        }
    except Abort as error:
        result |= {"status": STOPPED, "message": str(error)}
    except Exception as error:
        traceback.print_exc()
        result |= {"status": STOPPED, "message": f"{type(error).__name__}: {error}"}
    return result | {"cpu_s": time.process_time() - cpu}


def give_up(stage: Stage, unit: Unit, *, code: str, data: str) -> None:
    """Record a unit as failed that took its worker down in every attempt."""
    reason = {
        CRASHED: "its worker process died",
        DEADLINE: f"not finished after {stage.deadline_s:g} s",
        OUT_OF_MEMORY: "it asked for more memory than there is or than a unit may have",
    }[code]
    error = f"{code}: {reason} in each of {ATTEMPTS} attempts"
    _commit(stage, unit, stage.failed(_read(unit), error=error), data=data)


def overrun_url(data: str, unit: Unit) -> str:
    """The word that a worker leaves when it is killed for overrunning its deadline."""
    return storage.join(data, "runs", "overrun", unit.key)


def _run_stage(stage: Stage, tables: Tables) -> Tables:
    try:
        return stage.run(tables)
    except (Abort, MemoryError):
        raise
    except SourceError as error:
        return stage.failed(tables, error=str(error))
    except Exception as error:
        if _is_outside_the_data(error):
            raise
        # what a stage did not foresee is recorded against its rows, and the rest goes on
        traceback.print_exc()
        return stage.failed(tables, error=f"{STAGE_FAILED}: {type(error).__name__}: {error}")


def _is_outside_the_data(error: Exception) -> bool:
    """Whether a disk or a network failed: the same rows may be fine a minute later."""
    library = type(error).__module__.split(".")[0]
    if library == "av":  # reads bytes that we give it: any errno that it reports is the footage's
        return False
    return (
        library in NETWORK_LIBRARIES
        or isinstance(error, ConnectionError | TimeoutError)
        or (isinstance(error, OSError) and error.errno in DISK_ERRORS)
    )


def _read(unit: Unit) -> Tables:
    tables = {
        name: storage.read_tables(files, columns=unit.columns.get(name))
        for name, files in unit.files.items()
        if files
    }
    return tables if unit.rows is None else tables | {"rows": unit.rows}


def _commit(stage: Stage, unit: Unit, written: Tables, *, data: str) -> None:
    assert set(written) == set(stage.writes), f"{stage.name} wrote {sorted(written)}"
    primary = next(iter(stage.writes))
    assert written[primary].num_rows == unit.num_rows, (
        f"{stage.name}: {written[primary].num_rows} rows out of {unit.num_rows} in"
    )
    name = unit.key + AGAIN if _may_pass(stage, written[primary]) else unit.key
    for table in reversed(list(stage.writes)):  # the first table last: it marks the unit as done
        storage.write_table(
            unit_url(data, table, name), conform(written[table], stage.writes[table])
        )


def _may_pass(stage: Stage, rows: pa.Table) -> bool:
    """Whether a row failed for a reason that the next run may not find."""
    errors = rows["error"].to_pylist() if "error" in rows.column_names else []
    codes = {error.split(":")[0] for error in errors if error is not None}
    return bool(codes & (PASSING | stage.passing))


def _deadline(stage: Stage, unit: Unit, *, data: str, isolated: bool) -> Any:
    """The unit's time limit in a worker process; none in the driver, which must not be killed."""
    if not isolated:
        return contextlib.nullcontext()
    marker = overrun_url(data, unit)
    return kill_this_process_after(stage.deadline_s, leave_word=lambda: storage.commit(marker, b""))


def _memory(stage: Stage, *, isolated: bool) -> Any:
    """The unit's limit of memory in a worker process."""
    if not isolated or stage.memory_gb is None:
        return contextlib.nullcontext()
    return hold_at_most(stage.memory_gb)
