"""No row is lost: rows in = kept + rejected + failed, counted on the files that a stage wrote."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation import storage
from curation.dataset import tables_url, unit_url
from curation.stage import Abort, Stage


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
