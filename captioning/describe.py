"""The caption stage: clips that passed the filter get a text, labelled with where it comes from.

Sources are tried in the order that the config gives them and the first that yields text wins:
`sidecar` (text beside the source file), `vlm` (a model looks at the clip's keyframes), `measured`
(a plain sentence of measured columns). What failed on the way stands in `caption_error`.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc

from captioning import measured, prompts, sidecar
from captioning.client import Answer, Client, Endpoint, Model
from curation import dataset, pipeline, storage
from curation.clip import hash_128
from curation.stage import Stage, Tables, Unit

CAPTIONS = pa.schema(
    {
        "clip_id": pa.string(),
        "caption": pa.string(),
        "caption_source": pa.string(),  # sidecar | vlm | measured, null where none gave text
        "caption_model": pa.string(),  # of source vlm
        "caption_error": pa.string(),  # "reason_code: why" of the sources that failed, "; " between
        "caption_chars": pa.int64(),  # 0 without a caption
        "error": pa.string(),  # the clip could not be worked on at all
    }
)

Source = Literal["sidecar", "vlm", "measured"]
Row = dict[str, Any]


@dataclass(frozen=True)
class Describe(Stage):
    """Writes a caption for every clip that the filter found eligible."""

    sources: list[Source] = field(default_factory=lambda: ["sidecar", "measured"])
    """Tried in this order; the first that yields text wins."""
    vlm: Model = field(default_factory=Model)
    """What the source `vlm` asks."""
    server: Endpoint = field(default_factory=Endpoint)
    """Where it asks."""

    name: ClassVar[str] = "caption"
    reads: ClassVar[dict[str, list[str]]] = {
        "clips": ["clip_id", "uri", "start_s", "end_s", "num_frames", "width", "height"],
        "keyframes": ["clip_id", "time_s", "jpeg"],
        "filter": ["clip_id", "eligible"],
    }
    writes: ClassVar[dict[str, pa.Schema]] = {"captions": CAPTIONS}
    deadline_s: ClassVar[float] = 6 * 3600  # 2000 clips of a film at a slow server

    def __post_init__(self) -> None:
        if not self.sources or len(set(self.sources)) < len(self.sources):
            raise ValueError(
                f"sources = {self.sources}, expected some of sidecar, vlm, measured, each once"
            )

    def config_hash(self) -> str:
        """Of what changes a caption: not of the server, and of the model only where it is asked."""
        vlm = asdict(self.vlm) if "vlm" in self.sources else None
        asked = json.dumps({"sources": self.sources, "vlm": vlm}, sort_keys=True)
        return hash_128(self.name, str(self.version), asked)

    def run(self, tables: Tables) -> Tables:
        rows = eligible_rows(tables)
        answers: list[list[Answer]] = [[] for _ in rows]
        found: list[Source | None] = [None] * len(rows)
        for source in self.sources:
            waiting = [i for i, known in enumerate(found) if known is None]
            given = self._ask(source, [rows[i] for i in waiting], tables) if waiting else []
            for i, answer in zip(waiting, given, strict=True):
                answers[i].append(answer)
                found[i] = source if answer.text else None
        written = [
            self._row(row, source, tried)
            for row, source, tried in zip(rows, found, answers, strict=True)
        ]
        return {"captions": pa.Table.from_pylist(written, schema=CAPTIONS)}

    def failed(self, tables: Tables, *, error: str) -> Tables:
        rows = [_caption_row(row["clip_id"], error=error) for row in eligible_rows(tables)]
        rows = [row | {"error": error} for row in rows]
        return {"captions": pa.Table.from_pylist(rows, schema=CAPTIONS)}

    def _ask(self, source: Source, rows: list[Row], tables: Tables) -> list[Answer]:
        if source == "sidecar":
            return from_sidecars(rows)
        if source == "measured":
            return [from_measures(row) for row in rows]
        return asyncio.run(from_model(rows, tables.get("keyframes"), self.vlm, self.server))

    def _row(self, row: Row, source: Source | None, tried: list[Answer]) -> Row:
        errors = [answer.error for answer in tried if answer.error]
        if source is None and not errors:
            errors = [f"no_caption: {', '.join(self.sources)} gave no text"]
        return _caption_row(
            row["clip_id"],
            caption=tried[-1].text,
            source=source,
            model=self.vlm.model if source == "vlm" else None,
            error="; ".join(errors) or None,
        )


def _caption_row(
    clip_id: str,
    *,
    caption: str | None = None,
    source: str | None = None,
    model: str | None = None,
    error: str | None = None,
) -> Row:
    return {
        "clip_id": clip_id,
        "caption": caption,
        "caption_source": source,
        "caption_model": model,
        "caption_error": error,
        "caption_chars": len(caption or ""),
    }


def eligible_rows(tables: Tables) -> list[Row]:
    """The unit's clips, as the driver chose them, in the order of the clips table."""
    chosen = tables["rows"]["clip_id"]
    clips = tables["clips"]
    return clips.filter(pc.is_in(clips["clip_id"], value_set=chosen.combine_chunks())).to_pylist()


# -- sources ---------------------------------------------------------------------------------------


def from_sidecars(rows: list[Row]) -> list[Answer]:
    """Text beside the source files, each of which is read once."""
    read = {uri: sidecar.read(uri) for uri in {row["uri"] for row in rows}}
    answers = []
    for row in rows:
        beside = read[row["uri"]]
        problems = list(beside.problems)
        try:
            text = beside.caption(start_s=row["start_s"], end_s=row["end_s"])
        except sidecar.Unusable as problem:
            text = None
            problems.append(str(problem))
        answers.append(Answer(text, "; ".join(problems) or None))
    return answers


def from_measures(row: Row) -> Answer:
    text = measured.sentence(row)
    return Answer(text, None if text else "measured_nothing: the clip's size is not known")


async def from_model(
    rows: list[Row], keyframes: pa.Table | None, model: Model, endpoint: Endpoint
) -> list[Answer]:
    """Ask the model about all the rows, as many at once as the endpoint's concurrency says."""
    frames: dict[str, list[Row]] = {row["clip_id"]: [] for row in rows}
    if keyframes is not None:
        asked = pa.array(list(frames), pa.string())
        for frame in keyframes.filter(pc.is_in(keyframes["clip_id"], value_set=asked)).to_pylist():
            frames[frame["clip_id"]].append(frame)

    async def one(client: Client, turn: int, row: Row) -> Answer:
        chosen = spread(frames[row["clip_id"]], model.max_frames)
        if not chosen:
            return Answer(error="vlm_no_keyframes: the clip has none to show")
        times_s = [frame["time_s"] - row["start_s"] for frame in chosen]
        return await client.caption(
            lambda: prompts.messages(
                model.prompt,
                jpegs=[frame["jpeg"] for frame in chosen],
                times_s=times_s,
                length_s=row["end_s"] - row["start_s"] if row["num_frames"] > 1 else 0.0,
            ),
            turn=turn,
        )

    # gather and not a task group: an Abort has to come through as itself
    async with Client(model, endpoint) as client:
        return await asyncio.gather(*(one(client, i, row) for i, row in enumerate(rows)))


def spread(frames: Sequence[Row], count: int) -> list[Row]:
    """At most `count` of the frames, evenly over time, the first and last among them."""
    ordered = sorted(frames, key=lambda frame: frame["time_s"])
    if len(ordered) <= count:
        return ordered
    if count == 1:
        return [ordered[len(ordered) // 2]]
    last = len(ordered) - 1
    return [ordered[round(i * last / (count - 1))] for i in range(count)]


# -- driver ----------------------------------------------------------------------------------------


def units(stage: Describe, *, data: str) -> list[Unit]:
    """One unit per video with eligible clips, named by those clips and by the sidecars beside it.

    So another threshold in the filter asks again only for videos whose eligible clips it changed.
    """
    verdicts = dataset.load(data, "filter", columns=["clip_id", "eligible"])
    assert verdicts is not None, "pipeline.check comes first"
    eligible = set(verdicts.filter(verdicts["eligible"])["clip_id"].to_pylist())
    keyframes = set(dataset.table_files(data, "keyframes")) if "vlm" in stage.sources else set()
    found = []
    for file in dataset.table_files(data, "clips"):
        stem = Path(file).stem
        clips = storage.read_table(file, columns=["clip_id", "uri"])
        chosen = [clip_id in eligible for clip_id in clips["clip_id"].to_pylist()]
        rows = clips.filter(pa.array(chosen, pa.bool_()))
        if not rows.num_rows:
            continue
        beside: list[str] = []
        if "sidecar" in stage.sources:
            for uri in sorted(set(rows["uri"].to_pylist())):
                beside += sidecar.versions(uri)
        key = hash_128(stage.config_hash(), stem, *rows["clip_id"].to_pylist(), *beside)
        files = {"clips": [file]}
        if (frames := dataset.unit_url(data, "keyframes", stem)) in keyframes:
            files["keyframes"] = [frames]
        found.append(Unit(key, rows.num_rows, rows=rows.select(["clip_id"]), files=files))
    return found


def caption(stage: Describe, *, data: str, workers: int | None = None) -> dict[str, Any]:
    """Caption what is missing in the dataset; returns the run's record."""
    pipeline.check([stage], data=data)
    found = units(stage, data=data)
    if "vlm" in stage.sources and _missing(found, data=data):
        asyncio.run(_check(stage))
    record = pipeline.run(stage, found, data=data, workers=workers)
    if found:
        print(summary(dataset.load(data, "captions")), flush=True)
    return record


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
    text = "captions    " + ", ".join(f"{n} {name}" for name, n in sources.most_common())
    return text + "".join(f" | {n} {code}" for code, n in codes.most_common())


def _missing(found: list[Unit], *, data: str) -> bool:
    files = storage.list_files(dataset.tables_url(data, "captions"), ".parquet")
    return bool({unit.key for unit in found} - {Path(file).stem for file in files})


async def _check(stage: Describe) -> None:
    """Before any work: a server that is down or serves another model is one sentence, not a run."""
    async with Client(stage.vlm, stage.server) as client:
        await client.check()
