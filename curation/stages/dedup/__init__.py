"""Which clips are copies of others: same bytes, same pictures, same meaning.

1. Source files with the same bytes: split cuts one of them (the smallest uri) and gives the others
   `reject = "duplicate_file"`; `file_copies` says how many there were.
2. Clips with the same pictures (re-encoded, resized, slightly cropped, trimmed …), by the hashes of
   the decode pass: `candidates.py`, `pairs.py`.
3. Clips with the same meaning, by the embeddings of the stage `embed`, where there are any:
   `semantic.py`.

Nothing is dropped here. Of a group the best clip has rank 0 (`best.py`), so that a rule on the rank
in `filter` keeps it. dedup runs before filter: where a rule on something else rejects the clip of
rank 0, its copies stay rejected too. Rules on what is shown hit copies alike; for those on how it
is encoded the order puts damage, overlays, borders, blur and coarse coding last.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation import dataset, pipeline
from curation.meters.phash import Phash
from curation.stage import Abort, Stage, Tables, Unit, empty_columns
from curation.stages.dedup import pairs, semantic
from curation.stages.dedup.best import best_first
from curation.stages.dedup.groups import stars
from curation.stages.dedup.looks import Looks, read_looks

DEDUP = pa.schema(
    {
        "clip_id": pa.string(),
        "file_copies": pa.int32(),  # source files with these bytes, the clip's own included
        # same pictures; null where the clip has no copy
        "dup_group": pa.string(),  # smallest clip_id of the group
        "dup_group_size": pa.int32(),
        "dup_rank": pa.int32(),  # 0 = the one to keep
        "dup_of": pa.string(),  # clip_id of the one to keep
        "dup_distance_bits": pa.float32(),  # of 64, mean over the looks, to the one to keep
        # same meaning; null where the clip has no embedding, and, but for the last two, no like
        "sem_group": pa.string(),
        "sem_group_size": pa.int32(),
        "sem_rank": pa.int32(),
        "sem_of": pa.string(),
        "sem_similarity": pa.float32(),  # cosine, to the one to keep
        "cluster": pa.int32(),
        "sample_weight": pa.float32(),  # 1 / sqrt(clips of the cluster that stay)
    }
)
EMBED = ["clip_id", "embedding"]


@dataclass(frozen=True)
class Dedup(Stage):
    """Groups clips that are copies of one another and ranks them."""

    distance: float = 0.30
    """Largest distance of a pair: share of differing bits of the scenes plus that of the changes.
    Of copies at the same place of their sources 98 % have up to 0.33 and may have 0.08 more; other
    stretches of one take have 0.32 and more (`make bench-dedup`).
    """
    similarity: float = 0.98
    """Smallest cosine similarity of two embeddings with the same meaning (Open-Sora: 0.98; Cosmos:
    0.99).
    """
    clusters: int | None = None
    """Clusters of embeddings; null takes the square root of their number, which balances the cost
    of finding them against that of comparing within.
    """
    seed: int = 0
    """Of the first cluster centres."""

    name: ClassVar[str] = "dedup"
    reads: ClassVar[dict[str, list[str]]] = {
        "clips": [
            *("clip_id", "video_id", "reject", "error", "corrupt_frames", "overlay_pct"),
            *("width", "height", "border_pct", "sharpness_pct", "bits_per_pixel"),
            *("num_frames", "duplicate_frames_pct"),
            *("phash", "phash_change", "phash_seen", "phash_parts", "phash_start_look"),
        ],
        "videos": ["video_id", "codec"],
    }
    writes: ClassVar[dict[str, pa.Schema]] = {"dedup": DEDUP}
    unit: ClassVar = "dataset"
    version: ClassVar[int] = 3

    def __post_init__(self) -> None:
        if not 0 <= self.distance < 0.5:
            raise ValueError(
                f"distance = {self.distance}, expected at least 0 and less than 0.5, "
                f"which pictures have that have nothing in common"
            )
        if not 0 < self.similarity <= 1:
            raise ValueError(f"similarity = {self.similarity}, expected above 0 and at most 1")
        if self.clusters is not None and self.clusters < 1:
            raise ValueError(f"clusters = {self.clusters}, expected at least 1")

    def run(self, tables: Tables) -> Tables:
        clips = tables.pop("clips")
        # hashes fill gigabytes: once they are read, the table lets go of them
        looks = read_looks(clips)
        clips = clips.drop_columns(Phash.writes.names)
        copies = file_copies(clips["video_id"], video_ids=tables["videos"]["video_id"])
        assert copies.null_count == 0, "a clip whose video has no row in videos"
        decoded = tables["videos"].filter(pc.is_valid(tables["videos"]["codec"]))  # no byte copies
        where = pc.index_in(clips["video_id"], value_set=decoded["video_id"])
        order = best_first(clips, codecs=decoded["codec"].take(where))
        columns = {"clip_id": clips["clip_id"], "file_copies": copies}
        columns |= same_pictures(clips, looks, order=order, limit=self.distance)
        columns |= same_meaning(
            clips,
            tables.get("embed"),
            order=order,
            stays=stays(clips, columns["dup_rank"]),
            knobs=self,
        )
        return {"dedup": pa.table(columns, schema=DEDUP)}

    def failed(self, tables: Tables, *, error: str) -> Tables:
        raise Abort(error)  # table work of one unit: what fails here is not some clip's fault


def units(stage: Dedup, *, data: str) -> list[Unit]:
    """The whole dataset as one unit, with the embeddings where there are any."""
    has_embeddings = bool(dataset.table_files(data, "embed"))
    reads = stage.reads | ({"embed": EMBED} if has_embeddings else {})
    return pipeline.unit_of_dataset(stage, data=data, reads=reads)


# -- the three tiers -------------------------------------------------------------------------------


def file_copies(of: pa.ChunkedArray, *, video_ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """How often each id of `of` occurs in `video_ids`; null where it does not."""
    counted = pc.value_counts(video_ids.combine_chunks())
    where = pc.index_in(of, value_set=counted.field("values"))
    return counted.field("counts").cast(pa.int32()).take(where)


def same_pictures(
    clips: pa.Table, looks: Looks, *, order: np.ndarray, limit: float
) -> dict[str, pa.Array]:
    """The columns dup_* of clips that are ordered from the best on."""

    def verdict(a: np.ndarray, b: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return pairs.verdicts(looks, a, b, shift, limit=limit)[:2]

    keeper, bits = stars(pairs.pairs(looks, limit=limit), order=order, verdict=verdict)
    ids = clips["clip_id"].combine_chunks()
    return grouped(keeper, ids, order=order, prefix="dup") | {
        "dup_distance_bits": pa.array(bits, pa.float32(), mask=sizes(keeper) == 1)
    }


def same_meaning(
    clips: pa.Table, embed: pa.Table | None, *, order: np.ndarray, stays: np.ndarray, knobs: Dedup
) -> dict[str, pa.Array]:
    """The columns sem_*, cluster and sample_weight; stays: the clips that the first tiers leave."""
    names = [name for name in DEDUP.names if name.startswith("sem_")]
    names += ["cluster", "sample_weight"]
    columns = empty_columns(pa.schema([DEDUP.field(name) for name in names]), clips.num_rows)
    rows, vectors_ND = embeddings(clips["clip_id"], embed)
    if not len(rows):
        return columns
    num = min(knobs.clusters or max(1, round(len(rows) ** 0.5)), len(rows))
    cluster = semantic.clusters(vectors_ND, num=num, seed=knobs.seed)
    place = np.full(clips.num_rows, -1)
    place[rows] = np.arange(len(rows))
    best = place[order][place[order] >= 0]
    keeper, similarity = semantic.keepers(
        vectors_ND, cluster, order=best, threshold=knobs.similarity
    )
    weight = semantic.weights(cluster, stays[rows] & (keeper == np.arange(len(rows))))
    alone = sizes(keeper) == 1
    found = grouped(keeper, clips["clip_id"].take(rows).combine_chunks(), order=best, prefix="sem")
    found["sem_similarity"] = pa.array(similarity, pa.float32(), mask=alone)
    found |= {"cluster": pa.array(cluster, pa.int32()), "sample_weight": pa.array(weight, "f4")}
    where = pa.array(place, mask=place < 0)
    return {name: column.take(where) for name, column in found.items()}


def embeddings(clip_ids: pa.ChunkedArray, embed: pa.Table | None) -> tuple[np.ndarray, np.ndarray]:
    """(rows of clips that have one, (N, D) their unit vectors)."""
    if embed is None:
        return np.zeros(0, np.int64), np.zeros((0, 0), np.float32)
    found: pa.Table = embed.filter(pc.is_valid(embed["embedding"]))
    where = pc.index_in(clip_ids, value_set=found["clip_id"])
    rows = np.flatnonzero(pc.is_valid(where).to_numpy())
    if not len(rows):
        return rows, np.zeros((0, 0), np.float32)
    lists = found["embedding"].take(where.drop_null()).combine_chunks()
    vectors_ND = lists.flatten().to_numpy().reshape(len(rows), -1).astype(np.float32)
    return rows, vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)


# -- columns ---------------------------------------------------------------------------------------


def grouped(
    keeper: np.ndarray, ids: pa.Array, *, order: np.ndarray, prefix: str
) -> dict[str, pa.Array]:
    """Group, size, rank and the one that stays, null for a clip that is alone."""
    size = sizes(keeper)
    alone = size == 1
    by_keeper = order[np.argsort(keeper[order], kind="stable")]  # a group's clips from the best on
    first = np.flatnonzero(np.diff(keeper[by_keeper], prepend=-1))
    rank = np.empty(len(keeper), np.int64)
    rank[by_keeper] = np.arange(len(keeper)) - np.repeat(first, np.diff(first, append=len(keeper)))
    by_id = np.argsort(ids.to_numpy(zero_copy_only=False), kind="stable")
    smallest = np.empty(len(keeper), np.int64)
    smallest[keeper[by_id[::-1]]] = by_id[::-1]  # the last to be written is the smallest
    return {
        f"{prefix}_group": ids.take(pa.array(smallest[keeper], mask=alone)),
        f"{prefix}_group_size": pa.array(size, pa.int32(), mask=alone),
        f"{prefix}_rank": pa.array(rank, pa.int32(), mask=alone),
        f"{prefix}_of": ids.take(pa.array(keeper, mask=alone)),
    }


def sizes(keeper: np.ndarray) -> np.ndarray:
    """(N,) how many clips have the same keeper."""
    return np.bincount(keeper, minlength=len(keeper))[keeper]


def stays(clips: pa.Table, dup_rank: pa.Array) -> np.ndarray:
    """(N,) whether a clip is sound and no copy of a better one."""
    sound = pc.and_(pc.is_null(clips["error"]), pc.is_null(clips["reject"])).to_numpy()
    return sound & (pc.fill_null(dup_rank, 0).to_numpy(zero_copy_only=False) == 0)
