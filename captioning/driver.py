"""What the caption stage does before and after its work: units, their cost, what came out."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from captioning import answers, changes, measured, sidecar
from captioning.asking import TOKENS, at_most, check_servers
from captioning.describe import Describe, from_measures, from_sidecars
from captioning.running import keeping, run, tell_in_vain
from curation import dataset, pipeline, storage
from curation.stage import Stage, Unit

CLIPS_PER_UNIT = 128
TOLD = ("caption", "caption_source", "caption_short", "caption_fields")
"""Columns of captions that later stages and shards hold."""
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
    stage = keeping(stage, data=data)
    before = changes.read(data, "captions", TOLD)
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
    asked = stage.vlm.model if missing else None
    record, written = run(stage, found, data=data, workers=workers, model=asked)
    changed = changes.between(before, changes.read(data, "captions", TOLD))
    _forget_later(changed, data=data)
    if found:
        print(summary(dataset.load(data, "captions"), spent=record["tally"]), flush=True)
    changes.tell_of_shards(changed, data=data, note="hold older captions")
    if missing:
        _check_use(stage, written, asked={clip["clip_id"] for clip in missing})
    return record


def _forget_later(changed: set[str], *, data: str) -> None:
    """Remove what later stages have written of captions that are no more: checks of another text
    would have this one rejected.
    """
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


def _check_use(stage: Describe, written: pa.Table, *, asked: set[str]) -> None:
    """Say so where not one of the clips that the model was asked about has a caption by it."""
    rows = written.to_pylist()
    about = [row for row in rows if row["clip_id"] in asked]
    if any(row["caption_source"] == "vlm" for row in about):
        return
    errors = (error for row in about for error in (row["caption_error"] or "").split("; "))
    tell_in_vain(
        [error for error in errors if error.startswith("vlm_")],
        model=stage.vlm.model,
        what=("clips", "caption"),
        look_at="vlm.model and what it answers, and at vlm.prompt, vlm.frames and server in the "
        "config",
        is_all_empty=not any(row["caption"] for row in rows),
    )


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
    return found, _left_to_model(stage, missing) if asks else []


def _left_to_model(stage: Describe, clips: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the clips to which a source before the model gives text."""
    for source in stage.sources[: stage.sources.index("vlm")]:
        given = from_sidecars(clips) if source == "sidecar" else map(from_measures, clips)
        clips = [clip for clip, it in zip(clips, given, strict=True) if not it.text]
    return clips


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
    answer = stage.vlm.max_tokens * len(missing)
    most = at_most(prompt, answer, times=stage.vlm.answers, what="clip", knob="vlm.answers")
    return (
        f"caption: {len(missing):,} clips to ask {stage.vlm.model} about, with {frames:,} frames: "
        f"about {prompt:,} prompt tokens ({prompt / len(missing):,.0f} a clip), "
        f"and up to {answer:,} of answers{most}"
    )


def summary(captions: pa.Table | None, *, spent: Mapping[str, float]) -> str:
    """How many captions came from where, and how many clips met which error. spent: tokens."""
    rows = captions.to_pylist() if captions is not None else []
    sources = Counter(row["caption_source"] or "none" for row in rows)
    codes = Counter(
        error.split(":")[0]
        for row in rows
        for error in (row["caption_error"] or "").split("; ")
        if error
    )
    tokens = [spent.get(kind, 0) for kind in TOKENS]
    text = "captions    " + ", ".join(f"{n} {name}" for name, n in sources.most_common())
    text += "".join(f" | {n} {code}" for code, n in codes.most_common())
    return text + (f" | {tokens[0]:,.0f} + {tokens[1]:,.0f} tokens" if any(tokens) else "")
