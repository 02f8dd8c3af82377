"""Check, run on Ray, isolate, resume, conserve, report: the only file that imports Ray.

A stage's work is cut into units, each named by the hash of what it reads and of the stage's config.
A unit's tables are written to $DATA/tables/<table>/<unit>.parquet, whole or not at all, the stage's
first table last: a unit whose first table exists is done. There is no other state, so the same
command again continues, and what was killed, or run with another number of workers, ends in the
same bytes.

Each unit is one block of a Ray Data pipeline and so one task: a decoder that crashes, overruns its
deadline or asks for too much memory takes its worker process down, is tried once more when the rest
is done, and then its rows are recorded as failed.

What a unit's attempt does is in attempt.py, how its rows are counted in account.py.
"""

import functools
import json
import logging
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation import storage
from curation.account import conserve, remove_stale, summary
from curation.attempt import (
    AGAIN,
    CRASHED,
    DEADLINE,
    DONE,
    OUT_OF_MEMORY,
    STOPPED,
    give_up,
    overrun_url,
    run_unit,
)
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
from curation.memory import killed_for_memory
from curation.stage import Abort, Stage, Unit

WRITTEN_BY = {
    "sources": "split",
    "segments": "split",
    "thumbs": "split",
    "videos": "split",
    "clips": "split",
    "keyframes": "split",
    "captions": "caption",
    "rewrites": "rewrite",
}
"""Table -> the command that writes it, where its name is another."""
HEAVY_TABLES = {"keyframes", "media", "segments", "thumbs"}  # pictures are read a unit at a time


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
                    f"make {WRITTEN_BY.get(table, table)} writes it"
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
    cpu_s, tally = _run_missing(stage, missing, data=data, workers=workers)
    written = set(stems(storage.list_files(tables_url(data, tables[0]), ".parquet")))
    names = [unit.key if unit.key in written else unit.key + AGAIN for unit in units]
    counts = conserve(stage, names, num_rows=sum(unit.num_rows for unit in units), data=data)
    counts |= {"units": len(units), "units_done_before": len(units) - len(missing)}
    record |= {
        "status": "complete",
        "units": names,
        "counts": counts,
        "tally": tally,
        "seconds": {"wall": round(time.monotonic() - started, 3), "cpu": round(cpu_s, 3)},
    }
    write_manifest(data, record)
    if clean:
        remove_stale(stage, names, data=data)
    for table in tables if stage.unit != "dataset" else ():
        if table not in HEAVY_TABLES:
            merge(data, table)
    for folder in ("tables", "shards", "runs", "merged", "answers"):
        # half-written files of killed runs, and of workers that this one lost
        storage.sweep(storage.join(data, folder))
    print(summary(record), flush=True)
    return record


def _run_missing(
    stage: Stage, units: list[Unit], *, data: str, workers: int | None
) -> tuple[float, dict[str, float]]:
    """Run units; those whose worker did not survive once more. Returns CPU seconds and what the
    stage tallied.
    """
    cpu_s = 0.0
    tally: Counter[str] = Counter()
    if not units:
        return cpu_s, dict(tally)
    started = time.monotonic()
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
                tally.update(json.loads(result["tally"]))
                spent, share = time.monotonic() - started, bar.n / max(1, bar.total or 1)
                bar.set_postfix_str(stage.progress(dict(tally), seconds=spent, share=share))
                del lost[result["unit"]]
        if lost:
            _check_worker(stage)
        for unit, result in _second_attempts(stage, list(lost.values()), data=data):
            cpu_s += _seconds(stage, result)
            if result["status"] != DONE:
                give_up(stage, unit, code=result["status"], data=data)
            tally.update(json.loads(result.get("tally", "{}")))
            bar.update(unit.num_rows)
    return cpu_s, dict(tally)


def _seconds(stage: Stage, result: dict[str, Any]) -> float:
    """The CPU seconds of a result. Raises Abort where it says that the run cannot go on."""
    if result["status"] == STOPPED:
        cause = result["message"].removesuffix(storage.CONTINUE)
        raise Abort(f"{stage.name} stopped: {cause}{storage.CONTINUE}")
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
    shared = ray.put(stage.among(_at_once(stage, len(units))))
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
                no_memory = isinstance(error, ray.exceptions.OutOfMemoryError)
                if is_late or storage.exists(overrun_url(data, unit)):
                    code = DEADLINE
                elif no_memory or killed_for_memory() > before:
                    code = OUT_OF_MEMORY
                else:
                    code = CRASHED
                result = {"status": code, "cpu_s": 0.0}
                storage.remove(overrun_url(data, unit))
            yield unit, result


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
    shared = ray.put((stage.among(_at_once(stage, len(units))), units, data))
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


def _at_once(stage: Stage, num_units: int) -> int:
    """Workers that a stage has: as many as Ray has room for, and no more than there are units."""
    import ray

    there = ray.cluster_resources()
    needs = {"CPU": stage.num_cpus, "GPU": stage.num_gpus}
    room = [int(there.get(kind, 0) / each) for kind, each in needs.items() if each]
    return max(1, min([num_units, *room]))


def _run_block(batch: pa.Table, *, shared: list[Any]) -> pa.Table:
    stage, units, data = _fetch(shared[0])
    results = [run_unit(stage, units[i], data=data, isolated=True) for i in batch["id"].to_pylist()]
    return pa.Table.from_pylist(results)


@functools.lru_cache(maxsize=1)
def _fetch(shared: Any) -> Any:
    """Once per worker and run: to unpickle the units of 5000 files takes half a second."""
    import ray

    return ray.get(shared)


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
    try:
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
    except Exception as error:  # no narrower class: a cluster that is down, a machine too busy
        words = str(error).strip().splitlines()[0]
        raise Abort(f"Ray did not start ({words}){storage.CONTINUE}") from error
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
