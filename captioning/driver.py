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
from curation.clip import hash_128
from curation.stage import Stage, Unit

CLIPS_PER_UNIT = 128
VIDEOS_PER_UNIT = 8  # on average, where they have few clips each
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


def caption(stage: Describe, *, data: str, workers: int | None = None) -> dict[str, Any]:
    """Caption what is missing in the dataset; returns the run's record."""
    pipeline.check([stage], data=data)
    kept = stage.answers or storage.join(data, "answers")
    stage = dataclasses.replace(stage, answers=kept)
    found, missing = units(stage, data=data)
    if missing and "vlm" in stage.sources:
        print(estimate(stage, missing), flush=True)
        # before any work: a server that is down or serves another model is one sentence, not a run
        most = max(_prompt_tokens(stage, clip) for clip in missing) + stage.vlm.max_tokens
        asyncio.run(check_servers(stage.vlm.model, stage.server, needs_tokens=most))
    record = pipeline.run(stage, found, data=data, workers=workers)
    if "vlm" in stage.sources:
        answers.compact(kept)
    if found:
        print(summary(dataset.load(data, "captions")), flush=True)
    return record


def check_captions(stage: Stage, *, data: str) -> None:
    """Raise ValueError where a stage that reads `captions` cannot run. That no clip was eligible,
    so that there are none, is no error.
    """
    writer = dataset.manifest_of(data, "captions")
    none = writer is not None and writer["status"] == "complete" and not writer["units"]
    pipeline.check([stage], data=data, given=frozenset({"captions"} if none else ()))


def units(stage: Describe, *, data: str) -> tuple[list[Unit], list[dict[str, Any]]]:
    """(units of work, the clips that a model has to be asked about).

    A unit holds the eligible clips of some videos and is named by them and by the sidecars beside
    them. Which videos go together hangs on the videos alone, so that another threshold in the
    filter makes new units only of those whose eligible clips it changed.
    """
    verdicts = dataset.require(data, "filter")
    eligible = set(verdicts.filter(verdicts["eligible"])["clip_id"].to_pylist())
    videos = dataset.require(data, "videos").select(["video_id", "num_bytes"])
    sizes = dict(zip(*(videos[name].to_pylist() for name in videos.column_names), strict=True))
    asks = "vlm" in stage.sources
    groups = [
        (_key(stage, clips), files, clips) for files, clips in _groups(data, eligible=eligible)
    ]
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
    for key, clip_files, clips in groups:
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
        found.append(Unit(key, len(rows), rows=table, files={"clips": clip_files}))
    missing = [
        clip
        for _, _, clips in groups
        for clip in clips
        if (wanted_key := wanted.get(clip["clip_id"])) and wanted_key not in known
    ]
    return found, missing


def _groups(data: str, *, eligible: set[str]) -> Iterator[tuple[list[str], list[dict[str, Any]]]]:
    """(files of the clips table, eligible clips) that go together."""
    files: list[str] = []
    clips: list[dict[str, Any]] = []
    for file in dataset.table_files(data, "clips"):
        present = dataset.columns_of(file)
        rows = storage.read_table(file, columns=[c for c in CLIP_COLUMNS if c in present])
        found = [row for row in rows.to_pylist() if row["clip_id"] in eligible]
        for start in range(0, len(found), CLIPS_PER_UNIT):
            if clips and len(clips) + len(found[start:]) > CLIPS_PER_UNIT:
                yield files, clips
                files, clips = [], []
            files.append(file)
            clips += found[start : start + CLIPS_PER_UNIT]
        if clips and int(hash_128(Path(file).stem), 16) % VIDEOS_PER_UNIT == 0:
            yield files, clips
            files, clips = [], []
    if clips:
        yield files, clips


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
    length_s = clip["end_s"] - clip["start_s"] if clip["num_frames"] > 1 else 0.0
    return stage.vlm.prompt_tokens(length_s, (clip["width"], clip["height"]))


# -- words -----------------------------------------------------------------------------------------


def estimate(stage: Describe, missing: list[dict[str, Any]]) -> str:
    """What the model will be asked, in clips, frames and tokens, before it is."""
    frames = sum(
        stage.vlm.frames.count(clip["end_s"] - clip["start_s"] if clip["num_frames"] > 1 else 0.0)
        for clip in missing
    )
    prompt = sum(_prompt_tokens(stage, clip) for clip in missing)
    return (
        f"caption: {len(missing):,} clips to ask {stage.vlm.model} about, with {frames:,} frames: "
        f"about {prompt:,} prompt tokens ({prompt / len(missing):,.0f} a clip), "
        f"and up to {stage.vlm.max_tokens * len(missing):,} of answers"
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
