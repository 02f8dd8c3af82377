"""The whole of `shard`: what stands, what is wanted, cut what is missing, pack, write the index.

The last complete run is known by the index alone: its rows say which sample lies where, its
metadata which files of the shard table belong to it. Until a new index stands the old one and those
files do too, so a run that was killed is planned again exactly as it was.
"""

import json
import tarfile
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation import dataset, pipeline, storage
from curation.account import remove_stale
from curation.clip import INDEX
from curation.stage import Abort, Unit
from curation.stages import pack
from curation.stages.inventory import DIVISION_POINTS
from curation.stages.pack import Pack, plan
from curation.stages.samples import samples_of
from curation.stages.shard import SHARD, Shard

UNITS_KEY = b"dailies.shard_units"
CLIPS_PER_UNIT = 16  # bounds what a worker holds: a clip of 20 s is a few megabytes
UNIT_ROWS = pa.schema(
    {
        "clip_id": pa.string(),
        "video_id": pa.string(),
        "uri": pa.string(),
        "position": pa.int64(),
        "start_frame": pa.int64(),
        "end_frame": pa.int64(),
        "start_s": pa.float64(),
        "end_s": pa.float64(),
        "num_frames": pa.int64(),
        "fps": pa.float64(),
        "width": pa.int32(),
        "height": pa.int32(),
        "first_luma": pa.binary(),
        "last_luma": pa.binary(),
        "container": pa.string(),
        "codec": pa.string(),
        "pixel_format": pa.string(),
        "rotation": pa.int32(),
        "sample_aspect": pa.float32(),
        "is_image": pa.bool_(),
        "is_interlaced": pa.bool_(),
        "border_top_pct": pa.float32(),
        "border_bottom_pct": pa.float32(),
        "border_left_pct": pa.float32(),
        "border_right_pct": pa.float32(),
        "num_bytes": pa.int64(),
        "video_num_frames": pa.int64(),
        "division_points": DIVISION_POINTS,
        "bucket": pa.string(),
        "cut_hash": pa.string(),
        "standing": pa.struct(list(SHARD)),
    }
)


def run(
    stage: Shard, *, data: str, workers: int | None = None, rebuild: bool = False
) -> dict[str, Any]:
    """Cut, pack, write the index, remove what it no longer names."""
    if rebuild:
        _remove_all(data)
    base = _base(data)
    where = _media_places(base, data=data)
    clips = _kept_clips(data)
    for clip in clips:
        clip["bucket"] = stage.bucket(clip)
        clip["cut_hash"] = stage.cut_hash(clip)
        row = base.rows.get(clip["clip_id"])
        stands = row is not None and (row["cut_hash"], row["bucket"]) == (
            clip["cut_hash"],
            clip["bucket"],
        )
        clip["standing"] = row if stands else None
    cut_units = units(stage, clips)
    _forget_lost(cut_units, where, data=data)
    # older rows of the shard table are the base of a resumed run until the new index stands
    record = pipeline.run(stage, cut_units, data=data, workers=workers, clean=False)
    rows = dataset.load(data, "shard")
    samples = samples_of(stage, rows.to_pylist() if rows is not None else [], data=data)
    wanted = {sample.key: (sample.bucket, sample.tar_bytes) for sample in samples.values()}
    shards = plan(
        base.shards,
        wanted,
        samples_per_shard=stage.samples_per_shard,
        shard_bytes=stage.shard_mb * 1e6,
    )
    packing = Pack()
    where = _media_places(base, data=data)
    pack_units = [
        pack.unit(packing, name, [samples[k] for k in keys], where, data=data)
        for name, keys in shards.items()
    ]
    # before any tar is written: rows of the index that tell of another tar under that name
    remove_stale(packing, [unit.key for unit in pack_units], data=data)
    pipeline.run(packing, pack_units, data=data, workers=workers)
    _write_index(record["units"], data=data)
    remove_stale(stage, record["units"], data=data)
    _remove_unnamed(set(shards), data=data)
    return record


@dataclass(frozen=True)
class _Base:
    """What the last complete run left."""

    rows: dict[str, dict[str, Any]]
    """clip_id -> its row of the shard table, for clips that lie in a shard."""
    shards: dict[str, list[str]]
    """shard name -> keys in order."""


def index_url(data: str) -> str:
    return storage.join(data, "shards", "index.parquet")


def _base(data: str) -> _Base:
    if not storage.exists(index_url(data)):
        return _Base({}, {})
    index = storage.read_table(index_url(data))
    with storage.local_copy(index_url(data)) as path:
        names = json.loads((pq.read_metadata(path).metadata or {})[UNITS_KEY])
    files = [dataset.unit_url(data, "shard", name) for name in names]
    rows = {row["clip_id"]: row for row in storage.read_tables(files).to_pylist()} if files else {}
    shards: dict[str, list[str]] = {}
    for key, name in zip(index["key"].to_pylist(), index["shard"].to_pylist(), strict=True):
        shards.setdefault(name, []).append(key)
    present = _present_keys(list(shards), data=data)
    shards = {
        name: keys
        for name, listed in shards.items()
        if (keys := [key for key in listed if key in present[name]])
    }
    keys = {key for keys in shards.values() for key in keys}
    return _Base({key: row for key, row in rows.items() if key in keys}, shards)


def _present_keys(names: list[str], *, data: str) -> dict[str, set[str]]:
    """Shard name -> keys in its tar now, which a run killed before it wrote its index may have
    replaced.

    The unit of a tar's rows is written after the tar and removed before the tar is written again:
    only where there is none the tar itself has to be asked.
    """
    present: dict[str, set[str]] = {}
    files = storage.list_files(dataset.tables_url(data, "index"), ".parquet")
    for file in dataset.fewest_files(data, "index", files):
        for row in storage.read_table(file, columns=["key", "shard"]).to_pylist():
            present.setdefault(row["shard"], set()).add(row["key"])
    for name in names:
        if name not in present:
            present[name] = _keys_of_tar(storage.join(data, "shards", name))
    return present


def _keys_of_tar(url: str) -> set[str]:
    if not storage.exists(url):
        return set()
    with storage.local_copy(url) as path, tarfile.open(path, "r:") as tar:
        return {member.name.partition(".")[0] for member in tar}


def units(stage: Shard, clips: list[dict[str, Any]]) -> list[Unit]:
    """Units of the kept clips. A clip's group depends on where it lies in its video, not on its
    neighbours' fate.

    Each clip has its columns of the clips and videos tables, `position` (its number among all clips
    of its video), bucket, cut_hash and standing (its row of the shard table where it lies in a
    standing shard).
    """
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for clip in clips:
        groups.setdefault((clip["video_id"], clip["position"] // CLIPS_PER_UNIT), []).append(clip)
    found = []
    for (video_id, group), members in sorted(groups.items()):
        members.sort(key=lambda clip: clip["position"])
        names = [f"{clip['clip_id']}/{clip['bucket']}/{clip['cut_hash']}" for clip in members]
        rows = pa.Table.from_pylist(members, schema=UNIT_ROWS)
        found.append(Unit(stage.unit_key(video_id, str(group), *names), len(members), rows=rows))
    return found


def _forget_lost(units: list[Unit], where: dict[str, str], *, data: str) -> None:
    """Have units cut again that are done, but whose media are in no tar and wait nowhere."""
    for unit in units:
        url = dataset.unit_url(data, "shard", unit.key)
        assert unit.rows is not None
        if set(unit.rows["clip_id"].to_pylist()) <= where.keys() or not storage.exists(url):
            continue
        cut_rows = storage.read_table(url, columns=["clip_id", "reject", "error"]).to_pylist()
        if any(
            row["clip_id"] not in where and row["reject"] is None and row["error"] is None
            for row in cut_rows
        ):
            storage.remove(url)


def _kept_clips(data: str) -> list[dict[str, Any]]:
    """Columns of the clips and videos tables for every kept clip, and its number among its video's
    clips.
    """
    verdicts, clips_table, videos_table = (
        dataset.require(data, table) for table in ("filter", "clips", "videos")
    )
    names = [n for n in UNIT_ROWS.names if n in clips_table.column_names]
    clips = clips_table.select(names).to_pylist()
    stream = [n for n in UNIT_ROWS.names if n not in names]
    videos = {
        row["video_id"]: row | {"video_num_frames": row["num_frames"]}
        for row in videos_table.to_pylist()
        if row["reject"] is None and row["error"] is None
    }
    points = _division_points(data)
    judged = dict(zip(verdicts["clip_id"].to_pylist(), verdicts["keep"].to_pylist(), strict=True))
    if unjudged := sum(clip["clip_id"] not in judged for clip in clips):
        raise Abort(f"{unjudged} of {len(clips)} clips have no verdict; run filter first")
    counts: dict[str, int] = {}
    found = []
    for clip in sorted(clips, key=lambda clip: (clip["video_id"], clip["start_frame"])):
        position = counts[clip["video_id"]] = counts.get(clip["video_id"], -1) + 1
        if judged[clip["clip_id"]]:
            video = videos[clip["video_id"]]
            known = {name: video.get(name) for name in stream} | clip
            place = {"position": position, "division_points": points.get(clip["video_id"])}
            found.append(known | place)
    return found


def _division_points(data: str) -> dict[str, list[dict[str, Any]]]:
    """video_id -> keyframes between which a long source need not be read for one clip."""
    sources = dataset.load(data, "sources")
    if sources is None:
        return {}
    columns = (sources[name].to_pylist() for name in ("video_id", "division_points"))
    return {video_id: found for video_id, found in zip(*columns, strict=True) if found}


def _media_places(base: _Base, *, data: str) -> dict[str, str]:
    """clip_id -> the tar or the Parquet file that holds its media; freshly cut ones count."""
    places = {
        key: storage.join(data, "shards", name)
        for name, keys in base.shards.items()
        for key in keys
    }
    for url in dataset.table_files(data, "media"):
        for key in storage.read_table(url, columns=["clip_id"])["clip_id"].to_pylist():
            places[key] = url
    return places


def _write_index(unit_names: list[str], *, data: str) -> None:
    index = dataset.load(data, "index")
    index = (
        INDEX.empty_table()
        if index is None
        else index.sort_by([("shard", "ascending"), ("offset_media", "ascending")])
    )
    names = json.dumps(unit_names).encode()
    storage.write_table(index_url(data), index.replace_schema_metadata({UNITS_KEY: names}))


def _remove_unnamed(shards: set[str], *, data: str) -> None:
    """Tars that the index does not name, and media that now lie in tars."""
    folder = storage.join(data, "shards")
    for url in storage.list_files(folder, ".tar"):
        if "/".join(url.split("/")[-2:]) not in shards:
            storage.remove(url)
    for url in storage.list_files(dataset.tables_url(data, "media"), ".parquet"):
        storage.remove(url)


def _remove_all(data: str) -> None:
    storage.remove(index_url(data))
    for table in ("shard", "media", "index"):
        for url in storage.list_files(dataset.tables_url(data, table), ".parquet"):
            storage.remove(url)
    for url in storage.list_files(storage.join(data, "shards"), ".tar"):
        storage.remove(url)
