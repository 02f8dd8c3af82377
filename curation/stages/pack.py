"""Cut clips -> WebDataset tars and their index: the second half of `shard`.

A tar's name and contents follow from what stands and what is wanted: a sample stays in the shard it
lies in, new ones fill new shards behind the last, and a shard that loses or changes a sample is the
only one rewritten.
"""

import io
import math
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from curation import storage
from curation.clip import INDEX, hash_128
from curation.stage import Abort, Stage, Tables, Unit

TAR_BLOCK = 512
MEMBERS = ("media", "json", "txt")


@dataclass(frozen=True)
class Sample:
    """One sample as it will stand in a tar."""

    key: str
    bucket: str
    media: str
    json: bytes
    txt: bytes
    row: dict[str, Any]
    """Its row of the shard table."""

    @property
    def tar_bytes(self) -> int:
        sizes = (self.row["size_media"], len(self.json), len(self.txt))
        return sum(TAR_BLOCK + math.ceil(size / TAR_BLOCK) * TAR_BLOCK for size in sizes)

    @property
    def digest(self) -> str:
        return hash_128(
            self.key,
            self.media,
            self.row["cut_hash"],
            hash_128(self.json.decode(), self.txt.decode()),
        )


class Pack(Stage):
    """Write one tar. Its file is committed before its rows of the index, which mark it as done."""

    name: ClassVar[str] = "pack"
    reads: ClassVar[dict[str, list[str]]] = {"shard": ["clip_id"], "media": ["clip_id"]}
    writes: ClassVar[dict[str, pa.Schema]] = {"index": INDEX}

    def run(self, tables: Tables) -> Tables:
        rows = tables["rows"].to_pylist()
        media = _media(rows)
        data, spans = write_tar(
            [(row["key"], row["media"], media[row["key"]], row["json"], row["txt"]) for row in rows]
        )
        storage.commit(rows[0]["target"], data)
        index = [_index_row(row, span) for row, span in zip(rows, spans, strict=True)]
        return {"index": pa.Table.from_pylist(index, schema=INDEX)}

    def failed(self, tables: Tables, *, error: str) -> Tables:
        raise Abort(error)  # nothing is wrong with the samples; without its tar none may be named


def _media(rows: list[dict[str, Any]]) -> dict[str, bytes]:
    """Each sample's media, from the tar in which it stands or from where `shard` left it."""
    found: dict[str, bytes] = {}
    wanted: dict[str, set[str]] = {}
    for row in rows:
        wanted.setdefault(row["source"], set()).add(row["key"])
    for source, keys in wanted.items():
        if source.endswith(".parquet"):
            table = storage.read_table(source)
            pairs = zip(table["clip_id"].to_pylist(), table["bytes"].to_pylist(), strict=True)
            found |= {key: data for key, data in pairs if key in keys}
        else:
            found |= read_tar_media(source, keys=keys)
    missing = [row["key"] for row in rows if row["key"] not in found]
    if missing:
        raise Abort(
            f"{len(missing)} samples have no media, such as {missing[0]}; run shard with --rebuild"
        )
    return found


def read_tar_media(url: str, *, keys: set[str]) -> dict[str, bytes]:
    """Media of some samples of a tar, found by name: offsets of an index may belong to an older
    file.
    """
    found = {}
    with storage.local_copy(url) as path, tarfile.open(path, "r:") as tar:
        for member in tar:
            key, _, extension = member.name.partition(".")
            if key in keys and extension not in ("json", "txt"):
                file = tar.extractfile(member)
                assert file is not None
                found[key] = file.read()
    return found


def write_tar(
    samples: Iterable[tuple[str, str, bytes, bytes, bytes]],
) -> tuple[bytes, list[dict[str, tuple[int, int]]]]:
    """A tar of (key, media extension, media, json, txt) and per sample {"media" | "json" | "txt":
    (offset, size)}.

    The same samples give the same bytes: no times, no owners.
    """
    out, spans = io.BytesIO(), []
    with tarfile.open(fileobj=out, mode="w:", format=tarfile.USTAR_FORMAT) as tar:
        for key, extension, *contents in samples:
            span = {}
            for member, suffix, data in zip(
                MEMBERS, (extension, "json", "txt"), contents, strict=True
            ):
                info = tarfile.TarInfo(f"{key}.{suffix}")
                info.size = len(data)
                span[member] = (out.tell() + TAR_BLOCK, len(data))
                tar.addfile(info, io.BytesIO(data))
            spans.append(span)
    return out.getvalue(), spans


def _index_row(row: dict[str, Any], span: dict[str, tuple[int, int]]) -> dict[str, Any]:
    places = {}
    for member, (offset, size) in span.items():
        places |= {f"offset_{member}": offset, f"size_{member}": size}
    shape = {
        name: row[name]
        for name in ("first_frame", "num_frames", "fps", "height", "width", "duration_s")
    }
    names = {name: row[name] for name in ("key", "bucket", "shard", "media")}
    return names | places | shape | {"caption_chars": len(row["txt"].decode())}


# -- which sample goes where -----------------------------------------------------------------------


def plan(
    standing: dict[str, list[str]],
    wanted: dict[str, tuple[str, int]],
    *,
    samples_per_shard: int,
    shard_bytes: float,
) -> dict[str, list[str]]:
    """Shard name -> keys in order. Pure.

    standing: shard name -> keys that lie in it; wanted: key -> (bucket, bytes it takes in a tar). A
    key stays where it lies as long as it is wanted in that bucket; the others fill new shards,
    numbered on, in order of key.
    """
    planned: dict[str, list[str]] = {}
    placed = set()
    last: dict[str, int] = {}
    for name, keys in sorted(standing.items()):
        bucket, number = _parse(name)
        last[bucket] = max(last.get(bucket, -1), number)
        kept = [key for key in keys if key in wanted and wanted[key][0] == bucket]
        placed |= set(kept)
        if kept:
            planned[name] = kept
    used: dict[str, float] = {}
    current: dict[str, str] = {}
    for key in sorted(wanted.keys() - placed):
        bucket, size = wanted[key]
        name = current.get(bucket)
        if (
            name is None
            or len(planned[name]) >= samples_per_shard
            or used[name] + size > shard_bytes
        ):
            last[bucket] = last.get(bucket, -1) + 1
            name = current[bucket] = f"{bucket}/{bucket}-{last[bucket]:06d}.tar"
            planned[name], used[name] = [], 0
        planned[name].append(key)
        used[name] += size
    return planned


def _parse(name: str) -> tuple[str, int]:
    bucket, _, file = name.partition("/")
    return bucket, int(file.removeprefix(f"{bucket}-").removesuffix(".tar"))


# -- units -----------------------------------------------------------------------------------------


def unit(
    stage: Pack, name: str, samples: list[Sample], where: dict[str, str], *, data: str
) -> Unit:
    target = storage.join(data, "shards", name)
    rows = [
        sample.row
        | {
            "key": sample.key,
            "shard": name,
            "json": sample.json,
            "txt": sample.txt,
            "target": target,
            "source": where.get(sample.key, target),
        }
        for sample in samples
    ]
    return Unit(
        stage.unit_key(name, *(s.digest for s in samples)),
        len(rows),
        rows=pa.Table.from_pylist(rows),
    )
