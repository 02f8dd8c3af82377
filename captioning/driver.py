"""What the caption stage does before and after its work: units, their cost, what came out."""

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from captioning import answers, measured, sidecar
from captioning.asking import check_servers
from captioning.describe import Describe
from curation import dataset, pipeline, storage
from curation.stage import Stage, Unit

CLIPS_PER_UNIT = 128
LATER_TABLES = ("verify", "vqa", "rewrites")
"""What other stages write of captions."""
CLIP_COLUMNS = ("clip_id", "video_id", "uri", "camera_motion", *measured.COLUMNS)
ANSWER = pa.struct([field for field in answers.ANSWERS if field.name not in ("key", "clip_id")])
ROWS = pa.schema(
    {
        "clip_id": pa.string(),
        "num_bytes": pa.int64(),  # of the source, as split read it
        "key": pa.string(),  # of the answer that is wanted
        "answer": ANSWER,  # where it is kept from an earlier run
    }
)


def caption(
    stage: Describe, *, data: str, workers: int | None = None, replace: bool = False
) -> dict[str, Any]:
    """Caption what is missing in the dataset; returns the run's record.

    replace: whether captions by a model may give way to those of a config that asks none. Raises
    ValueError where they would and may not.
    """
    pipeline.check([stage], data=data)
    kept = stage.answers or storage.join(data, "answers")
    stage = dataclasses.replace(stage, answers=kept)
    before = _texts(data)
    by_model = sum(row["caption_source"] == "vlm" for row in before.values())
    if by_model and "vlm" not in stage.sources and not replace:
        raise ValueError(
            f"{data} holds {by_model} captions by a model, and sources = {stage.sources} would "
            "replace them; give the config that wrote them (make: CAPTION_CONFIG=), or --replace "
            "true"
        )
    found, missing = units(stage, data=data)
    if missing and "vlm" in stage.sources:
        print(estimate(stage, missing), flush=True)
        # before any work: a server that is down or serves another model is one sentence, not a run
        most = max(_prompt_tokens(stage, clip) for clip in missing) + stage.vlm.max_tokens
        asyncio.run(check_servers(stage.vlm.model, stage.server, needs_tokens=most))
    record = pipeline.run(stage, found, data=data, workers=workers)
    if "vlm" in stage.sources:
        answers.compact(kept)
    _forget_later(before, data=data)
    if found:
        print(summary(dataset.load(data, "captions")), flush=True)
    return record


def _texts(data: str) -> dict[str, dict[str, Any]]:
    """clip_id -> what is told of the clip, of the captions that are there."""
    names = ["caption", "caption_source", "caption_short", "caption_fields"]
    files = dataset.table_files(data, "captions")
    if not files or not {*names} <= dataset.columns_of(files[0]):
        return {}
    table = dataset.load(data, "captions", columns=["clip_id", *names])
    return {row.pop("clip_id"): row for row in table.to_pylist()} if table is not None else {}


def _forget_later(before: dict[str, dict[str, Any]], *, data: str) -> None:
    """Remove what later stages have written of captions that are no more: checks of another text
    would have this one rejected.
    """
    after = _texts(data)
    changed = {clip for clip, told in before.items() if after.get(clip) != told}
    for table in LATER_TABLES if changed else ():
        stale = [
            file
            for file in dataset.table_files(data, table)
            if changed & set(storage.read_table(file, columns=["clip_id"])["clip_id"].to_pylist())
        ]
        for file in stale:
            storage.remove(file)
        if stale:
            print(f"{table}: what was of older captions is removed; make it again", flush=True)


def check_captions(stage: Stage, *, data: str) -> None:
    """Raise ValueError where a stage that reads `captions` cannot run. That no clip was eligible,
    so that there are none, is no error.
    """
    writer = dataset.manifest_of(data, "captions")
    none = writer is not None and writer["status"] == "complete" and not writer["units"]
    pipeline.check([stage], data=data, given=frozenset({"captions"} if none else ()))


def units(stage: Describe, *, data: str) -> tuple[list[Unit], list[dict[str, Any]]]:
    """(units of work, the clips that a model has to be asked about).

    A unit holds the eligible clips of one video, at most CLIPS_PER_UNIT of them, and is named by
    them and by the sidecars beside it: new footage, and another threshold in the filter, make new
    units only of what they change.
    """
    verdicts = dataset.require(data, "filter")
    eligible = set(verdicts.filter(verdicts["eligible"])["clip_id"].to_pylist())
    videos = dataset.require(data, "videos").select(["video_id", "num_bytes"])
    sizes = dict(zip(*(videos[name].to_pylist() for name in videos.column_names), strict=True))
    asks = "vlm" in stage.sources
    groups = [(_key(stage, clips), file, clips) for file, clips in _groups(data, eligible=eligible)]
    files = storage.list_files(dataset.tables_url(data, "captions"), ".parquet")
    done = {Path(file).stem for file in files}
    wanted = {
        clip["clip_id"]: _answer_key(stage, clip)
        for key, _, clips in groups
        for clip in clips
        if asks and key not in done
    }
    known = answers.load(stage.answers, wanted.values()) if stage.answers else {}
    found = []
    for key, file, clips in groups:
        rows = [
            {
                "clip_id": clip["clip_id"],
                "num_bytes": sizes[clip["video_id"]],
                "key": (wanted_key := wanted.get(clip["clip_id"])),
                "answer": known.get(wanted_key or ""),
            }
            for clip in clips
        ]
        table = pa.Table.from_pylist(rows, schema=ROWS)
        found.append(Unit(key, len(rows), rows=table, files={"clips": [file]}))
    missing = [
        clip
        for _, _, clips in groups
        for clip in clips
        if (wanted_key := wanted.get(clip["clip_id"])) and wanted_key not in known
    ]
    return found, missing


def _groups(data: str, *, eligible: set[str]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """(file of the clips table, eligible clips) of each unit."""
    for file in dataset.table_files(data, "clips"):
        present = dataset.columns_of(file)
        rows = storage.read_table(file, columns=[c for c in CLIP_COLUMNS if c in present])
        found = [row for row in rows.to_pylist() if row["clip_id"] in eligible]
        for start in range(0, len(found), CLIPS_PER_UNIT):
            yield file, found[start : start + CLIPS_PER_UNIT]


def _key(stage: Describe, clips: list[dict[str, Any]]) -> str:
    """Name of a unit: what it reads and is asked to do."""
    read = [clip["clip_id"] for clip in clips]
    if "sidecar" in stage.sources:
        for uri in sorted({clip["uri"] for clip in clips}):
            read += sidecar.versions(uri)
    if "vlm" in stage.sources:
        read += [_answer_key(stage, clip) for clip in clips]
    if "measured" in stage.sources:
        read += [measured.sentence(clip) or "" for clip in clips]
    return stage.unit_key(*read)


def _answer_key(stage: Describe, clip: dict[str, Any]) -> str:
    return stage.vlm.key(clip["clip_id"], camera=clip.get("camera_motion"))


def _prompt_tokens(stage: Describe, clip: dict[str, Any]) -> int:
    return stage.vlm.prompt_tokens(_length_s(clip), (clip["width"], clip["height"]))


def _length_s(clip: dict[str, Any]) -> float:
    """0 of a still image."""
    return clip["end_s"] - clip["start_s"] if clip["num_frames"] > 1 else 0.0


# -- words -----------------------------------------------------------------------------------------


def estimate(stage: Describe, missing: list[dict[str, Any]]) -> str:
    """What the model will be asked, in clips, frames and tokens, before it is."""
    frames = sum(stage.vlm.frames.count(_length_s(clip)) for clip in missing)
    prompt = sum(_prompt_tokens(stage, clip) for clip in missing)
    return (
        f"caption: {len(missing):,} clips to ask {stage.vlm.model} about, with {frames:,} frames: "
        f"about {prompt:,} prompt tokens ({prompt / len(missing):,.0f} a clip), "
        f"and up to {stage.vlm.max_tokens * len(missing):,} of answers, "
        f"{stage.vlm.answers} times as many where no answer is a caption"
    )


def summary(captions: pa.Table | None) -> str:
    """How many captions came from where, and how many clips met which error."""
    rows = captions.to_pylist() if captions is not None else []
    sources = Counter(row["caption_source"] or "none" for row in rows)
    codes = Counter(
        error.split(":")[0]
        for row in rows
        for error in (row["caption_error"] or "").split("; ")
        if error
    )
    tokens = [sum(row[name] or 0 for row in rows) for name in ("prompt_tokens", "answer_tokens")]
    text = "captions    " + ", ".join(f"{n} {name}" for name, n in sources.most_common())
    text += "".join(f" | {n} {code}" for code, n in codes.most_common())
    return text + (f" | {tokens[0]:,} + {tokens[1]:,} tokens" if any(tokens) else "")
