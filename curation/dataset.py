"""The tables of one dataset: where they lie, which files count, how they are read.

$DATA/tables/<table>/<unit>.parquet holds what one unit of work wrote. $DATA/runs/<stage>.json names
the units that count. $DATA/merged/<table>.parquet is a copy of a finished table in one file, since
opening five thousand small files takes longer than any question about them; it is used only while
it holds exactly the units that count, and can be deleted at any time.
"""

import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation import storage
from curation.clip import hash_128

UNITS_KEY = b"dailies.units"


def tables_url(data: str, table: str) -> str:
    return storage.join(data, "tables", table)


def unit_url(data: str, table: str, key: str) -> str:
    return storage.join(tables_url(data, table), f"{key}.parquet")


def manifest_url(data: str, stage: str) -> str:
    return storage.join(data, "runs", f"{stage}.json")


def merged_url(data: str, table: str) -> str:
    return storage.join(data, "merged", f"{table}.parquet")


def write_manifest(data: str, record: dict[str, Any]) -> None:
    content = json.dumps(record, indent=1, default=str)
    storage.commit(manifest_url(data, record["stage"]), content.encode())


def git_commit() -> str | None:
    """The commit of the checkout that this runs from; None for an installed package."""
    if shutil.which("git") is None:
        return None
    found = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],
        capture_output=True,
        text=True,
    )
    return found.stdout.strip() or None


def note(data: str, stage: str, **figures: Any) -> None:
    """Add figures to the record of a stage's run."""
    record = json.loads(storage.read_bytes(manifest_url(data, stage)))
    write_manifest(data, record | figures)


def table_files(data: str, table: str) -> list[str]:
    """The files that count as this table now.

    While its stage runs that is what the manifest names, since files of an older config may still
    lie there.
    """
    files = storage.list_files(tables_url(data, table), ".parquet")
    manifest = manifest_of(data, table)
    if manifest is None:
        return files
    units = set(manifest["units"])
    return [file for file in files if Path(file).stem in units]


def manifest_of(data: str, table: str) -> dict[str, Any] | None:
    """The record of the last run of the stage that writes a table."""
    for url in storage.list_files(storage.join(data, "runs"), ".json"):
        manifest = json.loads(storage.read_bytes(url))
        if table in manifest.get("tables", []):
            return manifest
    return None


def stems(files: Iterable[str]) -> list[str]:
    """Unit names of table files."""
    return [Path(file).stem for file in files]


def fewest_files(data: str, table: str, files: list[str]) -> list[str]:
    """The merged copy where it holds exactly these files of the table, else the files."""
    merged = merged_url(data, table)
    if len(files) > 1 and storage.exists(merged):
        if (metadata(merged).metadata or {}).get(UNITS_KEY) == _digest(files):
            return [merged]
    return files


def merge(data: str, table: str) -> None:
    """Write the merged copy of a finished table where it is missing or out of date."""
    files = table_files(data, table)
    if len(files) < 2 or fewest_files(data, table, files) != files:
        return
    rows = storage.read_tables(files)
    storage.write_table(
        merged_url(data, table), rows.replace_schema_metadata({UNITS_KEY: _digest(files)})
    )


def _digest(files: list[str]) -> bytes:
    return hash_128(*stems(files)).encode()


def load(data: str, table: str, *, columns: list[str] | None = None) -> pa.Table | None:
    """A whole table, or None where no stage has written it yet."""
    files = fewest_files(data, table, table_files(data, table))
    if not files:
        return None
    return storage.read_tables(files, columns=columns).replace_schema_metadata(None)


def require(data: str, table: str) -> pa.Table:
    """A whole table that an earlier stage must have written."""
    found = load(data, table)
    assert found is not None, f"{table = } is missing although it was checked"
    return found


def metadata(file: str) -> Any:
    """A Parquet file's own metadata: number of rows, schema, key-value pairs."""
    with storage.local_copy(file) as path:
        return pq.read_metadata(path)


def num_rows(files: list[str]) -> int:
    return sum(metadata(file).num_rows for file in files)


def columns_of(file: str) -> set[str]:
    with storage.local_copy(file) as path:
        return set(pq.read_schema(path).names)
