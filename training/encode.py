"""`python -m training encode`: the frozen parts of a model, once over a dataset; training then
reads their latents and text states in place of videos and captions.

A unit of work is one shard under one view, or its captions: one tar and a table beside it that says
what lies where, which marks it as done. So the same command again continues, and new footage costs
only itself. Every caption that a sample has is stored, each text once, and the empty one; texts
that a caption mix composes anew every epoch are encoded in the run, as without a cache.
"""

import dataclasses
import io
import json
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import save
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from curation import storage
from curation.clip import hash_128
from curation.dataset import git_commit
from training.captions import CaptionMix
from training.index import Index, load_index
from training.latents import (
    EMPTY,
    ENTRIES,
    INDEX_FILE,
    RECORD_FILE,
    SAMPLES_KEY,
    Wanted,
    text_id,
    wanted_folders,
)
from training.models.text import TextEncoder, pack_ids
from training.models.vae import Autoencoder
from training.pack import pixels_to_unit
from training.plan import by_shard
from training.reader import ClipReader
from training.tickets import unchanged

Dtype = Literal["float16", "bfloat16", "float32"]
TEXTS_AT_ONCE = 32
"""Captions of one call of the text encoder."""
KINDS = [f.name for f in dataclasses.fields(CaptionMix) if f.name not in ("fields", "primary")]
"""Captions that stand in the .json as they are trained on."""


class Entry(NamedTuple):
    """One tensor, or why there is none."""

    key: str
    text: int | None
    value: Tensor | None
    error: str | None = None


class Unit(NamedTuple):
    """One shard's part of a folder."""

    name: str
    rows: np.ndarray


@dataclass(frozen=True)
class Encoder:
    """What makes tensors, and how they are kept."""

    vae: Autoencoder
    text: TextEncoder
    dtype: Dtype
    device: torch.device

    @torch.no_grad()
    def latents(self, seen: Iterable[Any]) -> Iterator[Entry]:
        """seen: (key, frames T x H x W x 3, error) of samples."""
        for key, frames, error in seen:
            value = None
            if frames is not None:
                value = self.vae.encode(pixels_to_unit(frames.to(self.device)))
            yield Entry(key, None, value, error)

    @torch.no_grad()
    def states(self, told: Iterable[Any]) -> Iterator[Entry]:
        """told: (key, texts, error) of samples."""
        pairs = []
        for key, texts, error in told:
            pairs += [(key, text) for text in texts]
            if error:
                yield Entry(key, None, None, error)
        for start in range(0, len(pairs), TEXTS_AT_ONCE):
            some = pairs[start : start + TEXTS_AT_ONCE]
            ids, cu = pack_ids(self.text.tokenize([text for _, text in some]))
            states = self.text(ids.to(self.device), cu)
            for (key, text), (first, end) in zip(some, pairwise(cu), strict=True):
                yield Entry(key, text_id(key, text), states[first:end])

    def content(self, value: Tensor) -> bytes:
        """A tensor as the bytes of a safetensors file. Raises ValueError where it does not fit."""
        kept = value.to("cpu", getattr(torch, self.dtype)).contiguous()
        if not kept.isfinite().all():
            raise ValueError(
                f"a tensor with values up to {value.abs().max():.3g} does not fit {self.dtype}, "
                "expected finite ones: give --dtype bfloat16 or float32"
            )
        return save({"x": kept})


def encode(module: Any, data: Any, *, dtype: Dtype, device: torch.device) -> int:
    """Write all that a run with this module and data reads. Returns how many samples were lost."""
    index = load_index(data.data, cache=data.shard_cache())
    encoder = Encoder(module.vae, module.text, dtype, device)
    vae, text = module.vae.identity(), module.text.identity()
    folders = wanted_folders(index, phases=data.phases, grid=data.grid, vae=vae, text=text)
    if text is None:
        print("the text encoder is trained with the network, so only latents are written")
    reader = ClipReader(index, grid=data.grid, seed=data.seed, cache_mb=0)
    lost: dict[str, str] = {}
    for one in folders:
        lost |= fill(
            storage.join(data.latents_folder(), one.name),
            one,
            index=index,
            samples=Texts(reader) if one.view is None else Frames(reader, one),
            encoder=encoder,
            workers=data.num_workers,
        )
    for error in lost.values():
        print(f"{error}; left out", file=sys.stderr)
    print(f"{len(index)} samples, {len(lost)} of them lost, in {data.latents_folder()}", flush=True)
    return len(lost)


def fill(
    folder: str,
    wanted: Wanted,
    *,
    index: Index,
    samples: "Texts | Frames",
    encoder: Encoder,
    workers: int,
) -> dict[str, str]:
    """Write the units that a folder lacks, then its index. Returns the error of each lost
    sample.
    """
    record = json.dumps(wanted.record | {"commit": git_commit()}, indent=1)
    storage.commit(storage.join(folder, RECORD_FILE), record.encode())
    units = units_of(index, wanted, encoder.dtype)
    todo = [unit for unit in units if not storage.exists(storage.join(folder, _table(unit)))]
    what = wanted.record["kind"] + (f" of {_words(wanted)}" if wanted.view else "")
    print(f"{what}: {len(units) - len(todo)} of {len(units)} units there already", flush=True)
    order = [int(row) for unit in todo for row in unit.rows]
    items = iter(
        DataLoader(
            samples, sampler=order, batch_size=None, collate_fn=unchanged, num_workers=workers
        )
    )
    make = encoder.states if wanted.view is None else encoder.latents
    for unit in todo:
        started_s = time.perf_counter()
        part = islice(items, len(unit.rows)) if len(unit.rows) else [(EMPTY, [""], None)]
        write_unit(folder, unit, make(part), encoder)
        seconds = time.perf_counter() - started_s
        print(f"  {unit.name}: {len(unit.rows)} samples, {seconds:.1f} s", flush=True)
    return finish(folder, units, wanted.samples(index))


def units_of(index: Index, wanted: Wanted, dtype: Dtype) -> list[Unit]:
    """A unit for each shard, named by what decides its bytes; of text states also the empty
    caption.
    """
    units = []
    for rows in by_shard(index, wanted.rows):
        stem = PurePosixPath(index.row(int(rows[0]))["shard"]).stem
        units.append(Unit(f"{stem}-{hash_128(dtype, wanted.samples(index, rows))[:12]}", rows))
    if wanted.view is None:
        units.append(Unit(f"{EMPTY}-{dtype}", np.zeros(0, np.int64)))
    return units


def write_unit(folder: str, unit: Unit, entries: Iterable[Entry], encoder: Encoder) -> None:
    """A tar of the tensors, then the table that marks it as done. The same entries give the same
    bytes.
    """
    rows = []
    with tempfile.TemporaryDirectory(prefix="dailies-") as temporary:
        path = Path(temporary) / "tar"
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for key, text, value, error in entries:
                row: dict[str, Any] = {"key": key, "text": text, "error": error}
                if value is not None:
                    content = encoder.content(value)
                    name = "latent" if text is None else f"{text:016x}"
                    info = tarfile.TarInfo(f"{key}.{name}.safetensors")
                    info.size = len(content)
                    place = {"offset": tar.offset + tarfile.BLOCKSIZE, "size": len(content)}
                    row |= {"shard": f"{unit.name}.tar"} | place
                    tar.addfile(info, io.BytesIO(content))
                rows.append(row)
        storage.commit(storage.join(folder, f"{unit.name}.tar"), path)
    storage.write_table(
        storage.join(folder, _table(unit)), pa.Table.from_pylist(rows, schema=ENTRIES)
    )


def finish(folder: str, units: Sequence[Unit], samples: str) -> dict[str, str]:
    """One index of all units, and nothing left of units of another time."""
    whole = storage.read_tables([storage.join(folder, _table(unit)) for unit in units])
    storage.write_table(
        storage.join(folder, INDEX_FILE), whole.replace_schema_metadata({SAMPLES_KEY: samples})
    )
    named = {INDEX_FILE, RECORD_FILE, *map(_table, units), *(f"{unit.name}.tar" for unit in units)}
    for url in storage.list_files(folder):
        if PurePosixPath(url).name not in named:
            storage.remove(url)
    storage.sweep(folder)
    lost = whole.filter(whole["error"].is_valid())
    return dict(zip(lost["key"].to_pylist(), lost["error"].to_pylist(), strict=True))


def _table(unit: Unit) -> str:
    return f"{unit.name}.parquet"


def _words(wanted: Wanted) -> str:
    assert wanted.view is not None
    view = wanted.view
    rate = f" at {view.fps:g} fps" if view.fps else ""
    return f"{view.max_frames} frames{rate} and {view.area_px} px"


class Frames(Dataset):
    """(key, frames, error) of a row, as it is seen in a view."""

    def __init__(self, reader: ClipReader, wanted: Wanted):
        assert wanted.view is not None
        self.reader, self.view = reader, wanted.view

    def __getitem__(self, number: int) -> tuple[str, Tensor | None, str | None]:
        row = self.reader.index.row(number)
        try:
            frames = self.reader.first_frames(row, view=self.view)
            return row["key"], torch.from_numpy(frames), None
        except ValueError as error:
            return row["key"], None, str(error)


class Texts(Dataset):
    """(key, distinct texts, error) of a row: the primary caption and every one that a mix may
    draw.
    """

    def __init__(self, reader: ClipReader):
        self.index = reader.index

    def __getitem__(self, number: int) -> tuple[str, list[str], str | None]:
        row = self.index.row(number)
        try:
            sample = json.loads(self.index.read(row, "json"))
            primary = self.index.read(row, "txt").decode()
        except ValueError as error:
            return row["key"], [], f"captions of sample {row['key']} cannot be read: {error}"
        captions = sample.get("captions") or {}
        texts = [primary, *(captions.get(kind) for kind in KINDS)]
        return row["key"], [*dict.fromkeys(text for text in texts if text)], None
