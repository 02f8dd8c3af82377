"""What a stage is, on one screen.

A stage is a frozen dataclass of knobs, the columns it reads and writes, and one function from
tables to tables. It knows nothing of Ray, files or resuming: `pipeline.py` cuts the work into
units, runs them, commits each unit's tables whole and accounts for every row.
"""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pyarrow as pa

from curation.clip import hash_128

Tables = dict[str, pa.Table]
STAGE_FAILED = "stage_failed"  # error code of rows on which a stage raised what it did not foresee


class Abort(Exception):
    """Something outside the data stops the run (a server that is down, a full disk): one
    sentence.
    """


@dataclass(frozen=True)
class Unit:
    """A piece of work that commits whole: the rows it is about and the files it reads."""

    key: str
    """Hash of what it reads and of the stage's config: the name of its output files."""
    num_rows: int
    """Rows of the stage's first written table that must come out of it."""
    rows: pa.Table | None = None
    """Rows that the driver hands over; the stage finds them as tables["rows"]."""
    files: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    """Table name -> Parquet files, read in the worker."""
    columns: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    """Table name -> the columns to read; all of a table that is not named."""


@dataclass(frozen=True)
class Stage:
    """Base of all stages. A subclass adds its knobs as fields and fills the class attributes."""

    name: ClassVar[str]
    reads: ClassVar[dict[str, list[str]]]
    """Table -> columns it needs."""
    writes: ClassVar[dict[str, pa.Schema]]
    """Table -> columns. The first table is the one whose rows are counted: one per input row."""
    unit: ClassVar[Literal["source", "video", "dataset"]] = "video"
    """How work is cut: one source file, the clips of one video, or the whole dataset at once."""
    version: ClassVar[int] = 1
    """Raise it when the same input would now give other output: older units are then redone."""
    num_cpus: ClassVar[float] = 1
    num_gpus: ClassVar[float] = 0
    deadline_s: ClassVar[float] = 3600
    """A unit that takes longer has its worker killed; after two attempts its rows are failed."""
    passing: ClassVar[frozenset[str]] = frozenset()
    """Error codes of failures that may have passed by the next run, which tries again."""
    memory_gb: ClassVar[float | None] = None
    """Gigabytes (10^9 bytes) that a unit may hold at once; None: as much as there is."""

    def run(self, tables: Tables) -> Tables:
        """The stage's work on one unit. Bad data becomes a row with `error` or `reject`, no
        exception.
        """
        raise NotImplementedError

    def failed(self, tables: Tables, *, error: str) -> Tables:
        """The unit's rows when `run` could not finish: every row kept, with the reason."""
        raise NotImplementedError

    def tally(self, tables: Tables, written: Tables) -> dict[str, float]:
        """What the progress bar and the run's record add up, from what a unit read and wrote."""
        return {}

    def progress(self, tally: dict[str, float], *, seconds: float, share: float) -> str:
        """What the progress bar says of that; share: of the rows to be done that are."""
        return ""

    def among(self, workers: int) -> "Stage":
        """The stage as each of so many workers runs it, for what they all share."""
        return self

    def config(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def unit_key(self, *reads: str) -> str:
        """Name of a unit: a hash of the stage's config and of what the unit reads."""
        return hash_128(self.config_hash(), *reads)

    def config_hash(self) -> str:
        knobs = json.dumps(self.config(), sort_keys=True, default=str)
        return hash_128(self.name, str(self.version), knobs)


def empty_columns(schema: pa.Schema, num_rows: int) -> dict[str, pa.Array]:
    """Null columns of a schema, for rows about which nothing is known."""
    return {field.name: pa.nulls(num_rows, field.type) for field in schema}


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with exactly the declared columns, in their order and types.

    A stage that forgot a column or made it of a wrong type is our mistake and fails here.
    """
    missing = [name for name in schema.names if name not in table.column_names]
    assert not missing, f"{missing = } of {schema.names}"
    return table.select(schema.names).cast(schema)
