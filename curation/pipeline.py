"""Check, run on Ray, isolate, resume, conserve, report: the only file that imports Ray.

A stage's work is cut into units, each named by the hash of what it reads and of the stage's config.
A unit's tables are written to $DATA/tables/<table>/<unit>.parquet, whole or not at all, the stage's
first table last: a unit whose first table exists is done. There is no other state, so the same
command again continues, and what was killed, or run with another number of workers, ends in the
same bytes.

Each unit is one block of a Ray Data pipeline and so one task: a decoder that crashes, overruns its
deadline or asks for too much memory takes its worker process down, is tried once more when the rest
is done, and then its rows are recorded as failed.

A failure that may have passed by the next run (a source that vanished, a worker killed for memory)
is written under another name than the unit's, so the unit stays undone and what was made of the
failed rows is named by other files than what will be made of good ones.
"""

import contextlib
import errno
import functools
import logging
import os
import sys
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation import storage
from curation.dataset import (
    columns_of,
    fewest_files,
    git_commit,
    manifest_of,
    merge,
    merged_url,
    num_rows,
    stems,
    table_files,
    tables_url,
    unit_url,
    write_manifest,
)
from curation.deadline import kill_this_process_after
from curation.memory import hold_at_most, killed_for_memory
from curation.stage import STAGE_FAILED, Abort, Stage, Tables, Unit, conform
from curation.storage import VANISHED, SourceError

ATTEMPTS = 2
HEAVY_TABLES = {"keyframes", "media", "segments", "thumbs"}  # pictures are read a unit at a time
DONE, STOPPED, NO_MEMORY = "done", "stopped", "no memory"
CRASHED, DEADLINE, OUT_OF_MEMORY = "decoder_crashed", "deadline", "out_of_memory"
PASSING = {VANISHED, "unreadable", "source_changed", STAGE_FAILED, OUT_OF_MEMORY}
"""Error codes of failures that the next run tries again."""
AGAIN = ".again"  # ends the name of a unit that failed so
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}  # no fault of the data being read
NETWORK_LIBRARIES = {"botocore", "aiohttp"}  # below s3fs, which passes some of their errors on


def check(stages: list[Stage], *, data: str, given: frozenset[str] = frozenset()) -> None:
    """Every column read is written by an earlier stage of this run or lies on disk in a table that
    is whole.
    """
    written: dict[str, set[str]] = {name: set() for name in given}
    for stage in stages:
        for table, columns in stage.reads.items():
            if table in given:
                continue
            present = written.get(table)
            if present is None:
                writer = manifest_of(data, table)
                if writer is not None and writer["status"] != "complete":
                    raise ValueError(
                        f"{stage.name} reads the table {table!r}, but {writer['stage']} stopped "
                        f"before it was whole; run {writer['stage']} again first"
                    )
                files = table_files(data, table)
                present = columns_of(files[0]) if files else None
            if present is None:
                raise ValueError(
                    f"{stage.name} reads the table {table!r}, which {data} does not hold yet; "
                    f"run the stage that writes it first (make help lists them in order)"
                )
            if absent := [c for c in columns if c not in present]:
                raise ValueError(
                    f"{stage.name} reads {absent} of the table {table!r}, which has "
                    f"{sorted(present)}; "
                    f"the table was written by another version: run its stage again"
                )
        for table, schema in stage.writes.items():
            written[table] = set(schema.names)


def units_per_video(stage: Stage, *, data: str) -> list[Unit]:
    """One unit per file of the clips table, with the files that go with it in the other tables
    read.
    """
    columns = {table: set(stems(table_files(data, table))) for table in stage.reads}
    units = []
    for file in table_files(data, "clips"):
        key = Path(file).stem
        files = {t: [unit_url(data, t, key)] for t in stage.reads if key in columns[t]}
        units.append(Unit(stage.unit_key(key), num_rows([file]), files=files))
    return units


def unit_of_dataset(
    stage: Stage, *, data: str, counted: str = "clips", reads: dict[str, list[str]] | None = None
) -> list[Unit]:
    """The whole dataset as one unit: for judgements that need all rows together.

    reads: tables and columns where only the run knows them; else those that the stage declares.
    """
    reads = reads or stage.reads
    files = {table: table_files(data, table) for table in reads}
    names = [f"{table}/{stem}" for table in sorted(files) for stem in stems(files[table])]
    files = {table: fewest_files(data, table, found) for table, found in files.items()}
    return [Unit(stage.unit_key(*names), num_rows(files[counted]), files=files, columns=reads)]


# -- running ---------------------------------------------------------------------------------------


def run(
    stage: Stage, units: list[Unit], *, data: str, workers: int | None = None, clean: bool = True
) -> dict[str, Any]:
    """Run a stage's missing units, account for every row, clean up, report. Returns the run's
    record.

    Raises Abort when something outside the data stops it; what was committed stays, and the same
    command continues.
    """
    assert len({unit.key for unit in units}) == len(units), "two units read the same"
    started = time.monotonic()
    tables = list(stage.writes)
    done = set(stems(storage.list_files(tables_url(data, tables[0]), ".parquet")))
    missing = [unit for unit in units if unit.key not in done]
    record = {
        "stage": stage.name,
        "status": "running",
        "tables": tables,
        "units": [unit.key for unit in units],
        "config": stage.config(),
        "config_hash": stage.config_hash(),
        "commit": git_commit(),
    }
    write_manifest(data, record)
    for table in tables if missing else ():
        # a unit whose file was removed to have it done again may give other rows this time
        storage.remove(merged_url(data, table))
    cpu_s = _run_missing(stage, missing, data=data, workers=workers)
    written = set(stems(storage.list_files(tables_url(data, tables[0]), ".parquet")))
    names = [unit.key if unit.key in written else unit.key + AGAIN for unit in units]
    counts = conserve(stage, names, num_rows=sum(unit.num_rows for unit in units), data=data)
    counts |= {"units": len(units), "units_done_before": len(units) - len(missing)}
    record |= {
        "status": "complete",
        "units": names,
        "counts": counts,
        "seconds": {"wall": round(time.monotonic() - started, 3), "cpu": round(cpu_s, 3)},
    }
    write_manifest(data, record)
    if clean:
        remove_stale(stage, names, data=data)
    for table in tables if stage.unit != "dataset" else ():
        if table not in HEAVY_TABLES:
            merge(data, table)
    for folder in ("tables", "shards", "runs", "merged"):
        # half-written files of killed runs, and of workers that this one lost
        storage.sweep(storage.join(data, folder))
    print(summary(record), flush=True)
    return record


def _run_missing(stage: Stage, units: list[Unit], *, data: str, workers: int | None) -> float:
    """Run units; those whose worker did not survive once more. Returns CPU seconds."""
    if not units:
        return 0.0
    cpu_s = 0.0
    with _progress(stage, units) as bar:
        results = (
            _here(stage, units, data)
            if stage.unit == "dataset"
            else _on_ray(stage, units, data, workers)
        )
        lost = {unit.key: unit for unit in units}
        for result in results:
            cpu_s += _seconds(stage, result)
            if result["status"] == DONE:
                bar.update(result["rows"])
                del lost[result["unit"]]
        if lost:
            _check_worker(stage)
        for unit, result in _second_attempts(stage, list(lost.values()), data=data):
            cpu_s += _seconds(stage, result)
            if result["status"] != DONE:
                _quarantine(stage, unit, error=result["message"], data=data)
            bar.update(unit.num_rows)
    return cpu_s


def _seconds(stage: Stage, result: dict[str, Any]) -> float:
    """The CPU seconds of a result. Raises Abort where it says that the run cannot go on."""
    if result["status"] == STOPPED:
        raise Abort(f"{stage.name} stopped: {result['message']}. Run the same command to continue.")
    return result["cpu_s"]


def _second_attempts(
    stage: Stage, units: list[Unit], *, data: str
) -> Iterator[tuple[Unit, dict[str, Any]]]:
    """Units whose first attempt took their worker down, and how the second one ended.

    One at a time, since a worker may have been killed for the memory that its neighbours took; only
    those that overran their deadline, of which each may take that long again, run side by side.
    """
    if not units:
        return
    import ray

    markers = storage.list_files(storage.join(data, "runs", "overrun"))
    overran = {Path(marker).name for marker in markers}
    for marker in markers:
        storage.remove(marker)
    shared = ray.put(stage)
    attempt: Any = run_unit
    task = ray.remote(attempt).options(
        num_cpus=stage.num_cpus, num_gpus=stage.num_gpus, max_retries=0
    )
    together = [unit for unit in units if unit.key in overran]
    for group in (together, *([unit] for unit in units if unit.key not in overran)):
        before, started = killed_for_memory(), time.monotonic()
        refs = [task.remote(shared, unit, data=data, isolated=True) for unit in group]
        for unit, ref in zip(group, refs, strict=True):
            try:
                result: Any = ray.get(ref)
            except ray.exceptions.RayError as error:
                # only where it ran alone does the clock tell what its decoder did
                is_late = len(group) == 1 and time.monotonic() - started >= stage.deadline_s
                if is_late or storage.exists(_overrun_url(data, unit)):
                    code = DEADLINE
                elif isinstance(error, ray.exceptions.OutOfMemoryError):
                    code = OUT_OF_MEMORY
                else:
                    code = OUT_OF_MEMORY if killed_for_memory() > before else CRASHED
                result = {"status": code, "message": _last_words(stage, code), "cpu_s": 0.0}
                storage.remove(_overrun_url(data, unit))
            if result["status"] == NO_MEMORY:
                result["message"] = _last_words(stage, OUT_OF_MEMORY)
            yield unit, result


def _last_words(stage: Stage, code: str) -> str:
    reason = {
        CRASHED: "its worker process died",
        DEADLINE: f"not finished after {stage.deadline_s:g} s",
        OUT_OF_MEMORY: "it asked for more memory than there is or than a unit may have",
    }[code]
    return f"{code}: {reason} in each of {ATTEMPTS} attempts"


def _check_worker(stage: Stage) -> None:
    """Raise Abort where a worker cannot even load the stage: Ray Data reports that as it reports a
    worker that died, and every unit would look crashed.
    """
    import ray

    try:
        ray.get(ray.remote(_name_of).options(num_cpus=0).remote(ray.put(stage)))
    except ray.exceptions.RayError as error:
        words = str(error).strip().splitlines()[-1]
        raise Abort(f"{stage.name} stopped: Ray's workers cannot load it ({words})") from error


def _name_of(stage: Stage) -> str:
    return stage.name


def _here(stage: Stage, units: list[Unit], data: str) -> Iterator[dict[str, Any]]:
    """Whole-dataset units are table work of a second: in this process, without starting Ray."""
    for unit in units:
        yield run_unit(stage, unit, data=data, isolated=False)


def _on_ray(
    stage: Stage, units: list[Unit], data: str, workers: int | None
) -> Iterator[dict[str, Any]]:
    import ray

    connect(workers)
    shared = ray.put((stage, units, data))
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1  # a unit whose worker died is no reason to stop
    block: Any = _run_block
    # Ray Data's own default for a worker that dies is to try for ever; 2.60 deprecates the argument
    # that forbids it without another way yet
    warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
    dataset = ray.data.range(len(units), override_num_blocks=len(units)).map_batches(
        block,
        fn_kwargs={
            "shared": [shared]
        },  # in a list: a bare reference would be resolved once per block
        batch_size=1,
        batch_format="pyarrow",
        num_cpus=stage.num_cpus,
        num_gpus=stage.num_gpus,
        max_retries=0,  # a second attempt comes when the rest is done
    )
    for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        yield from batch.to_pylist()


def _run_block(batch: pa.Table, *, shared: list[Any]) -> pa.Table:
    stage, units, data = _fetch(shared[0])
    results = [run_unit(stage, units[i], data=data, isolated=True) for i in batch["id"].to_pylist()]
    return pa.Table.from_pylist(results)


@functools.lru_cache(maxsize=1)
def _fetch(shared: Any) -> Any:
    """Once per worker and run: to unpickle the units of 5000 files takes half a second."""
    import ray

    return ray.get(shared)


def run_unit(stage: Stage, unit: Unit, *, data: str, isolated: bool) -> dict[str, Any]:
    """Read, run, check, commit one unit.

    Nothing is raised: what went wrong with the data is in the rows, anything else stops the run.
    """
    cpu = time.process_time()
    result = {"unit": unit.key, "status": DONE, "rows": unit.num_rows, "cpu_s": 0.0, "message": ""}
    try:
        with _deadline(stage, unit, data=data, isolated=isolated):
            tables = _read_unit(unit)
            with _memory(stage, isolated=isolated):
                written = _run_stage(stage, tables)
            _commit_unit(stage, unit, written, data=data)
    except MemoryError:
        result |= {"status": NO_MEMORY if isolated else STOPPED, "message": "no memory is left"}
    except Abort as error:
        result |= {"status": STOPPED, "message": str(error)}
    except Exception as error:
        traceback.print_exc()
        result |= {"status": STOPPED, "message": f"{type(error).__name__}: {error}"}
    return result | {"cpu_s": time.process_time() - cpu}


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


def _read_unit(unit: Unit) -> Tables:
    tables = {
        name: storage.read_tables(files, columns=unit.columns.get(name))
        for name, files in unit.files.items()
        if files
    }
    return tables if unit.rows is None else tables | {"rows": unit.rows}


def _commit_unit(stage: Stage, unit: Unit, written: Tables, *, data: str) -> None:
    assert set(written) == set(stage.writes), f"{stage.name} wrote {sorted(written)}"
    primary = next(iter(stage.writes))
    assert written[primary].num_rows == unit.num_rows, (
        f"{stage.name}: {written[primary].num_rows} rows out of {unit.num_rows} in"
    )
    name = unit.key + AGAIN if _may_pass(written[primary]) else unit.key
    for table in reversed(list(stage.writes)):  # the first table last: it marks the unit as done
        storage.write_table(
            unit_url(data, table, name), conform(written[table], stage.writes[table])
        )


def _may_pass(rows: pa.Table) -> bool:
    """Whether a row failed for a reason that the next run may not find."""
    errors = rows["error"].to_pylist() if "error" in rows.column_names else []
    return any(error is not None and error.split(":")[0] in PASSING for error in errors)


def _deadline(stage: Stage, unit: Unit, *, data: str, isolated: bool) -> Any:
    """The unit's time limit in a worker process; none in the driver, which must not be killed."""
    if not isolated:
        return contextlib.nullcontext()
    marker = _overrun_url(data, unit)
    return kill_this_process_after(stage.deadline_s, leave_word=lambda: storage.commit(marker, b""))


def _memory(stage: Stage, *, isolated: bool) -> Any:
    """The unit's limit of memory in a worker process."""
    if not isolated or stage.memory_gb is None:
        return contextlib.nullcontext()
    return hold_at_most(stage.memory_gb)


def _overrun_url(data: str, unit: Unit) -> str:
    return storage.join(data, "runs", "overrun", unit.key)


def _quarantine(stage: Stage, unit: Unit, *, error: str, data: str) -> None:
    _commit_unit(stage, unit, stage.failed(_read_unit(unit), error=error), data=data)


# -- accounting ------------------------------------------------------------------------------------


def conserve(stage: Stage, names: list[str], *, num_rows: int, data: str) -> dict[str, int]:
    """Rows in = kept + rejected + failed, counted on the unit files written. Raises Abort when a
    row is lost.
    """
    primary = next(iter(stage.writes))
    files = [unit_url(data, primary, name) for name in names]
    columns = [c for c in ("reject", "error", "keep") if c in stage.writes[primary].names]
    table = (
        storage.read_tables(files, columns=[stage.writes[primary].names[0], *columns])
        if files
        else None
    )
    counts = (
        verdicts(table) if table is not None else {"rows": 0, "kept": 0, "rejected": 0, "failed": 0}
    )
    if counts["rows"] != num_rows:
        raise Abort(f"{stage.name} lost rows: {num_rows} went in, {counts['rows']} came out")
    return counts


def verdicts(table: pa.Table) -> dict[str, int]:
    """Counts of kept, rejected (a reason in `reject`) and failed (a reason in `error`) rows."""
    rows = table.num_rows
    none = pa.chunked_array([pa.nulls(rows, pa.string())])
    error = table["error"] if "error" in table.column_names else none
    reject = table["reject"] if "reject" in table.column_names else none
    failed = pc.sum(pc.is_valid(error)).as_py() or 0
    rejected = pc.sum(pc.and_(pc.is_valid(reject), pc.is_null(error))).as_py() or 0
    return {"rows": rows, "kept": rows - rejected - failed, "rejected": rejected, "failed": failed}


def remove_stale(stage: Stage, names: Iterable[str], *, data: str) -> None:
    """Remove unit files that the stage's inputs and config no longer name."""
    current = set(names)
    for table in stage.writes:
        for file in storage.list_files(tables_url(data, table), ".parquet"):
            if Path(file).stem not in current:
                storage.remove(file)


def summary(record: dict[str, Any]) -> str:
    """The line that ends a stage."""
    counts, seconds = record["counts"], record["seconds"]
    return (
        f"{record['stage']:<12}{counts['rows']:>8} rows = {counts['kept']} kept"
        f" + {counts['rejected']} rejected + {counts['failed']} failed"
        f" | {counts['units']} units, {counts['units_done_before']} done before"
        f" | {seconds['wall']:.1f} s wall, {seconds['cpu']:.1f} s CPU"
    )


def _progress(stage: Stage, units: list[Unit]) -> Any:
    from tqdm import tqdm

    return tqdm(
        total=sum(unit.num_rows for unit in units),
        desc=stage.name,
        unit="row",
        mininterval=0.5,
        file=sys.stderr,
        disable=stage.unit == "dataset",
    )


def connect(workers: int | None = None) -> None:
    """Join the cluster that RAY_ADDRESS names, or start Ray on this machine with `workers` CPUs."""
    import ray

    if ray.is_initialized():
        return
    # a worker killed for memory has its second attempt like one that crashed
    os.environ["RAY_task_oom_retries"] = "0"
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False, logging_level=logging.ERROR, runtime_env=_our_code())
    else:
        ray.init(
            num_cpus=workers or os.cpu_count(),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=256 << 20,  # only unit lists and results of one row travel
        )
    _quiet()


def _our_code() -> dict[str, Any]:
    """What the cluster's other nodes need besides the libraries; a submitted job brings its own."""
    if os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR"):
        return {}
    here = Path(__file__).parent.parent
    packages = [here / name for name in ("curation", "captioning")]
    return {"py_modules": [str(package) for package in packages if package.is_dir()]}


def _quiet() -> None:
    """Ray Data's own lines off: the progress bar and the stage's last line say what a user
    needs.
    """
    import ray.data  # its import sets the level

    logging.getLogger(ray.data.__name__).setLevel(logging.CRITICAL)
