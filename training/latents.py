"""Latents and text states that `encode` wrote, read in place of videos and captions.

$DATA/latents/<name>/ holds what one frozen part makes of a dataset: the latents of one view, or the
states of all captions. The name is a hash of what the tensors follow from but the samples: the
autoencoder, the grid and the view, or the text encoder. Inside lie WebDataset tars of safetensors,
one for each shard, and `index.parquet`: where every tensor lies, and of which samples. Another
dataset, view or model is refused, and new footage costs only itself.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from curation import storage
from curation.clip import hash_128
from training.curriculum import Phase, View, still
from training.index import Index, index_hash
from training.models.patches import Grid
from training.plan import takes_part
from training.randomness import seed_of
from training.shards import ShardCache, Shards

VERSION = 1
"""Raised when the same parts and samples would give other tensors."""
INDEX_FILE, RECORD_FILE = "index.parquet", "record.json"
SAMPLES_KEY = b"dailies.samples"
"""In the metadata of an index: hash of the samples that it was made of."""
EMPTY = "empty"
"""Name of the empty caption's states."""

LATENT_COLUMNS = [
    *("key", "media", "size_media", "first_frame", "num_frames"),
    *("fps", "height", "width"),
]
"""What a latent follows from; not where a sample lies, which another caption moves."""
TEXT_COLUMNS = [
    *("key", "offset_json", "size_json", "offset_txt", "size_txt", "caption_chars"),
]
ENTRIES = pa.schema(
    {
        "key": pa.string(),
        "text": pa.uint64(),  # of a caption (`text_id`); null for a latent
        "shard": pa.string(),
        "offset": pa.int64(),
        "size": pa.int64(),
        "error": pa.string(),  # why there is none
    }
)


@dataclass(frozen=True)
class Wanted:
    """One folder that a run needs."""

    record: dict[str, str]
    """what the tensors follow from, but the samples"""
    rows: np.ndarray
    """rows of the dataset's index that are in it"""
    columns: Sequence[str]
    """of the index, that they follow from"""
    view: View | None = None
    """null: text states"""

    @property
    def name(self) -> str:
        return hash_128(str(VERSION), json.dumps(self.record, sort_keys=True))[:16]

    def samples(self, index: Index, rows: np.ndarray | None = None) -> str:
        """Hash of the samples, or of some of them."""
        rows = self.rows if rows is None else rows
        return index_hash(Index(index.data, index.table.take(rows)), columns=self.columns)


def wanted_folders(
    index: Index, *, phases: Sequence[Phase], grid: Grid, vae: str, text: str | None
) -> list[Wanted]:
    """Every folder that a run of these phases reads: text states (text: identity of the encoder;
    None: it is trained), then the latents of every view.

    Raises ValueError where a view is another one in every epoch.
    """
    rows: dict[View, np.ndarray] = {}
    is_video = index.column("num_frames") > 1
    nothing = np.zeros(len(index), dtype=bool)
    for phase in phases:
        view, part = phase.view, takes_part(index, phase)
        if view.window != "first" or view.gaps:
            raise ValueError(
                f"view.window = {view.window!r} and view.gaps = {view.gaps} show other frames in "
                "every epoch and stored latents always the same, expected window: first and "
                "gaps: 0 in every phase"
            )
        rows[view] = rows.get(view, nothing) | part
        if phase.image_share:
            rows[still(view)] = rows.get(still(view), nothing) | part & is_video
    found = []
    if text is not None:
        every = np.flatnonzero(np.logical_or.reduce(list(rows.values())))
        found.append(Wanted({"kind": "text states", "text encoder": text}, every, TEXT_COLUMNS))
    for view, part in rows.items():
        record = {"kind": "latents", "autoencoder": vae, "grid": repr(grid)}
        fps = None if view.fps is None else float(view.fps)  # 8 and 8.0 are one rate
        record["view"] = json.dumps(asdict(view) | {"fps": fps})
        found.append(Wanted(record, np.flatnonzero(part), LATENT_COLUMNS, view))
    return found


def text_id(sample: str, text: str) -> int:
    """63 bits that name a caption of a sample: of 5 million captions two share one with a
    probability of 1e-6.
    """
    return seed_of("text", sample, text)


class Stored:
    """The tensors of one folder."""

    def __init__(self, folder: str, entries: pa.Table, *, cache: ShardCache | None = None):
        self.shards = Shards(folder, cache=cache)
        shard = entries["shard"].combine_chunks().dictionary_encode()
        self.names: list[str] = shard.dictionary.to_pylist()
        self.shard = shard.indices.fill_null(-1).to_numpy()
        self.offset = entries["offset"].fill_null(0).to_numpy()
        self.size = entries["size"].fill_null(0).to_numpy()

    def tensor(self, place: int) -> Tensor:
        name = self.names[self.shard[place]]
        offset, size = int(self.offset[place]), int(self.size[place])
        content = self.shards.read(name, offset=offset, size=size)
        if len(content) != size:
            raise ValueError(
                f"{storage.join(self.shards.folder, name)} ends early: remove it and run "
                "`make encode` again"
            )
        try:
            return load(content)["x"]
        except SafetensorError as error:
            raise ValueError(
                f"{storage.join(self.shards.folder, name)} is damaged at byte {offset} ({error}): "
                "remove it and run `make encode` again"
            ) from error


class Latents:
    """What a reader takes in place of video and captions."""

    def __init__(
        self, found: Sequence[tuple[Wanted, pa.Table, str]], *, cache: ShardCache | None = None
    ):
        """found: what was wanted, its entries and its folder."""
        self.views: dict[View, tuple[Stored, np.ndarray]] = {}
        self.errors: dict[tuple[int, View], str] = {}
        self.texts: Stored | None = None
        for wanted, entries, folder in found:
            if wanted.view is None:
                entries = entries.filter(entries["text"].is_valid()).sort_by("text")
                self.texts = Stored(folder, entries, cache=cache)
                self.text_ids = entries["text"].to_numpy()
                continue
            self.views[wanted.view] = (Stored(folder, entries, cache=cache), wanted.rows)
            errors = zip(wanted.rows.tolist(), entries["error"].to_pylist(), strict=True)
            self.errors |= {(row, wanted.view): error for row, error in errors if error}
        self.empty: Tensor | None = None

    def latent(self, row: int, *, view: View) -> Tensor:
        """C x T x H x W of a row of the dataset's index. Raises ValueError where `encode` could
        not read the sample.
        """
        if (error := self.errors.get((row, view))) is not None:
            raise ValueError(error)
        stored, rows = self.views[view]
        return stored.tensor(int(np.searchsorted(rows, row)))

    def states(self, sample: str, caption: str) -> tuple[Tensor | None, Tensor | None]:
        """M x D states of a sample's caption and of the empty one; None where none were stored."""
        if self.texts is None:
            return None, None
        if self.empty is None:
            self.empty = self._states(text_id(EMPTY, ""))
        return self._states(text_id(sample, caption)) if caption else self.empty, self.empty

    def _states(self, text: int) -> Tensor | None:
        assert self.texts is not None
        place = int(np.searchsorted(self.text_ids, np.uint64(text)))
        if place == len(self.text_ids) or self.text_ids[place] != text:
            return None
        return self.texts.tensor(place)


def open_latents(
    where: str, *, index: Index, wanted: Sequence[Wanted], cache: ShardCache | None = None
) -> Latents:
    """All that a run needs, under one folder. Raises ValueError, in one sentence, where it is not
    there or belongs to something else.
    """
    found = []
    for one in wanted:
        folder = storage.join(where, one.name)
        url = storage.join(folder, INDEX_FILE)
        if not storage.exists(url):
            raise ValueError(f"{_why_not(where, one)}: run `make encode` with this config")
        entries = storage.read_table(url)
        if (entries.schema.metadata or {}).get(SAMPLES_KEY) != one.samples(index).encode():
            raise ValueError(
                f"the {one.record['kind']} in {folder} are of another dataset, or of what it was: "
                "run `make encode` again, which adds what is new"
            )
        found.append((one, entries, folder))
    return Latents(found, cache=cache)


def _why_not(where: str, wanted: Wanted) -> str:
    kind = wanted.record["kind"]
    others = []
    for url in storage.list_files(where, RECORD_FILE):
        record = json.loads(storage.read_bytes(url))
        if record.get("kind") == kind:
            others.append([name for name, value in wanted.record.items() if record[name] != value])
    if not others:
        return f"there are no {kind} in {where}"
    nearest = min(others, key=len)
    if not nearest:
        return f"the {kind} in {where} are not complete"
    return f"the {kind} in {where} were made with another {' and another '.join(nearest)}"
