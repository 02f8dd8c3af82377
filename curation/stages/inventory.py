"""Every file of the footage by name and by content: the first step of split.

The hash of the bytes is the video_id, so the same file under another name or on another machine is
the same video. Hashing costs one read (about 1 GB/s) and lets split decode each content once. Of
long sources it also notes where they may be divided among several tasks.
"""

import hashlib
import os
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import pyarrow as pa

from curation import storage
from curation.memory import DECODING_GB
from curation.stage import Stage, Tables, Unit, empty_columns
from curation.video.divide import division_points
from curation.video.open import VideoError

BLOCK_BYTES = 1 << 22
SIDECAR_SUFFIXES = (".txt", ".vtt")  # what captioning reads


DIVISION_POINTS = pa.list_(
    pa.struct({"pts": pa.int64(), "time_s": pa.float64(), "frame": pa.int64()})
)


@dataclass(frozen=True)
class Inventory(Stage):
    """Which files there are."""

    divide_from_s: float = 600.0
    """Seconds of footage by the header; shorter sources are one task."""
    divide_every_s: float = 60.0
    """Seconds at least between the keyframes that are noted as places to divide a source."""

    name: ClassVar[str] = "inventory"
    unit: ClassVar[Any] = "source"
    memory_gb: ClassVar[Any] = DECODING_GB
    reads: ClassVar[dict[str, list[str]]] = {}
    writes: ClassVar[dict[str, pa.Schema]] = {
        "sources": pa.schema(
            {
                "uri": pa.string(),
                "video_id": pa.string(),
                "num_bytes": pa.int64(),
                "version": pa.string(),
                # keyframes at which a pass may begin; empty: one task
                "division_points": DIVISION_POINTS,
                "error": pa.string(),
            }
        )
    }

    def run(self, tables: Tables) -> Tables:
        rows = tables["rows"]
        found = [self._look(row) for row in rows.to_pylist()]
        return {"sources": pa.Table.from_pylist(found, schema=self.writes["sources"])}

    def _look(self, row: dict[str, Any]) -> dict[str, Any]:
        video_id, error = identify(row["uri"])
        points = []
        if error is None and row["num_bytes"]:
            listed = storage.Source(row["uri"], row["num_bytes"], row["version"])
            try:
                with storage.unchanged(listed), storage.open_source(row["uri"]) as source:
                    points = division_points(
                        source, from_s=self.divide_from_s, every_s=self.divide_every_s
                    )
            except VideoError:
                pass  # scan says why
        return row | {
            "video_id": video_id,
            "division_points": [asdict(point) for point in points],
            "error": error,
        }

    def failed(self, tables: Tables, *, error: str) -> Tables:
        rows = tables["rows"]
        columns = empty_columns(self.writes["sources"], rows.num_rows)
        columns |= {name: rows[name] for name in rows.column_names}
        return {"sources": pa.table(columns | {"error": [error] * rows.num_rows})}


def identify(uri: str) -> tuple[str | None, str | None]:
    """(128-bit BLAKE2b of the file's bytes in hex, None), or (None, why it cannot be read)."""
    digest = hashlib.blake2b(digest_size=16)
    fs, path = storage.filesystem(uri)
    if not storage.is_remote(uri) and os.path.exists(path) and not os.path.isfile(path):
        return None, "not_a_file: a pipe, a device or a link to a folder"
    try:
        with fs.open(path, "rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    except (FileNotFoundError, PermissionError) as error:  # not found: also names not in UTF-8
        return None, f"unreadable: {type(error).__name__}"
    return digest.hexdigest(), None


def units(stage: Inventory, *, footage: str) -> list[Unit]:
    """One unit per file, named by where it lies, its size and its version."""
    found = []
    for source in storage.list_sources(footage):
        rows = pa.table(
            {"uri": [source.uri], "num_bytes": [source.num_bytes], "version": [source.version]}
        )
        key = stage.unit_key(source.uri, str(source.num_bytes), source.version)
        found.append(Unit(key, 1, rows=rows))
    return found


def is_sidecar(uri: str, *, stems: set[str]) -> bool:
    """Whether a file is text that goes with a video: same folder, same name, another suffix."""
    return uri.lower().endswith(SIDECAR_SUFFIXES) and stem(uri) in stems


def stem(uri: str) -> str:
    """The uri without the file's suffix."""
    folder, _, name = uri.rpartition("/")
    return f"{folder}/{name.rpartition('.')[0] or name}"
