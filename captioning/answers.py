"""Answers that were paid for are kept, by what was asked: a rerun asks only for what is missing.

An answer's key is the hash of the clip (its bytes, by clip_id) and of everything that shapes the
answer: model, question, frames, sampling, what was measured. Other thresholds, sources or workers
ask nothing anew; another prompt does. Keys name nothing of the machine, so datasets may share a
folder of answers.

A worker writes what it has in files of a few answers, whole or not at all, so that a kill costs
seconds of work; when the stage is done they become one.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation import storage
from curation.clip import hash_128

ANSWERS = pa.schema(
    {
        "key": pa.string(),
        "clip_id": pa.string(),
        "model": pa.string(),
        "text": pa.string(),  # as the model gave it; null where none of its answers was a caption
        "error": pa.string(),  # "reason_code: why", of the last one
        "attempts": pa.int32(),  # answers asked for
        "prompt_tokens": pa.int64(),  # of all of them
        "answer_tokens": pa.int64(),
    }
)
FLUSH_ROWS, FLUSH_S = 32, 3.0  # whichever comes first
SMALL_BYTES = 8 << 20  # files below are joined


class Journal:
    """Where one worker writes answers. Use as `with Journal(url) as journal`."""

    def __init__(self, url: str | None, *, prefix: str = "") -> None:
        self.url, self.prefix = url, prefix
        self.rows: list[dict[str, Any]] = []

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.flush()  # also on the way out of an Abort: what was paid for is kept

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        if len(self.rows) >= FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        if self.url is not None and self.rows:
            _write(self.url, pa.Table.from_pylist(self.rows, schema=ANSWERS), prefix=self.prefix)
        self.rows = []

    async def flush_regularly(self) -> None:
        """For as long as this runs."""
        while True:
            await asyncio.sleep(FLUSH_S)
            self.flush()


def load(url: str, keys: Iterable[str], *, prefix: str = "") -> dict[str, dict[str, Any]]:
    """The answers to these keys that are kept, by key; prefix: only of files named so, which is
    quick: those of a journal.
    """
    wanted = pa.array(sorted(set(keys)), pa.string())
    found: dict[str, dict[str, Any]] = {}
    read: set[str] = set()
    while len(wanted):
        files = [f for f in storage.list_files(url, ".parquet") if Path(f).name.startswith(prefix)]
        try:
            for file in files:
                if file not in read:
                    table = storage.read_table(file)
                    rows = table.filter(pc.is_in(table["key"], value_set=wanted))
                    found |= {row["key"]: row for row in rows.to_pylist()}
                    read.add(file)
            break
        except FileNotFoundError:  # another run has joined it with others meanwhile
            continue
    return found


def compact(url: str) -> None:
    """Join small files into one. Nothing is lost by a kill: the joined file is whole before the
    others go, and an answer that lies in two files is the same in both.
    """
    files = storage.list_files(url, ".parquet")
    try:
        small = [file for file in files if storage.num_bytes(file) < SMALL_BYTES]
        if len(small) < 2:
            return
        rows = storage.read_tables(small).sort_by("key")
    except FileNotFoundError:  # another run of the same folder is at it
        return
    keys = rows["key"].to_pylist()
    is_first = [i == 0 or key != keys[i - 1] for i, key in enumerate(keys)]
    written = _write(url, rows.filter(pa.array(is_first, pa.bool_())))
    for file in small:
        if file != written:
            storage.remove(file)


def _write(url: str, rows: pa.Table, *, prefix: str = "") -> str:
    """One file, named by what it holds."""
    name = hash_128(*rows["key"].to_pylist(), *(text or "" for text in rows["text"].to_pylist()))
    file = storage.join(url, f"{prefix}{name}.parquet")
    storage.write_table(file, rows.cast(ANSWERS))
    return file
