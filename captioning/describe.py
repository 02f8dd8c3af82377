"""The caption stage: clips that passed the filter get a text, labelled with where it comes from.

Sources are tried in the order that the config gives them and the first that yields text wins:
`vlm` (a model looks at frames of the clip), `sidecar` (text beside the source file), `measured` (a
plain sentence of measured columns). What failed on the way stands in `caption_error`. The text of a
sidecar is kept beside a model's, as the variant that people wrote.
"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Literal

import pyarrow as pa

from captioning import measured, sidecar, vlm
from captioning.answers import load
from captioning.asking import MAY_PASS, ask_all, spending, spent_now
from captioning.client import Client
from captioning.endpoint import Endpoint
from captioning.frames import FrameReader, Frames, Shown
from captioning.text import CaptionError
from captioning.vlm import Model
from curation import storage
from curation.clip import hash_128
from curation.stage import Stage, Tables

CAPTIONS = pa.schema(
    {
        "clip_id": pa.string(),
        "caption": pa.string(),  # the primary text: of a model the dense one
        "caption_source": pa.string(),  # vlm | sidecar | measured, null where none gave text
        "caption_model": pa.string(),  # of source vlm, as the next three
        "caption_short": pa.string(),
        "caption_dense": pa.string(),
        "caption_fields": pa.string(),  # JSON object of strings: captioning.fields.FIELDS
        "caption_original": pa.string(),  # text beside the source file, whichever source won
        "caption_error": pa.string(),  # "reason_code: why" of the sources that failed, "; " between
        "caption_chars": pa.int64(),  # 0 without a caption
        "caption_attempts": pa.int32(),  # answers asked of the model; null where it was not asked
        "prompt_tokens": pa.int64(),  # of all attempts
        "answer_tokens": pa.int64(),
        "error": pa.string(),  # the clip could not be worked on; the next run tries again
    }
)
# what stands against a clip for this run only: the footage or a server may be back by the next
LATER = {storage.VANISHED, "unreadable", "source_changed", *MAY_PASS}
# a unit that took too long or took its worker down: what it had answered is kept
STOPPED = {"deadline", "decoder_crashed"}

Source = Literal["vlm", "sidecar", "measured"]
Row = dict[str, Any]


@dataclass(frozen=True)
class Given:
    """What a source gives for one clip: a text, or why there is none ("reason_code: why")."""

    text: str | None = None
    error: str | None = None
    columns: Row = field(default_factory=dict)
    """Of `captions`, beside the text."""


@dataclass(frozen=True)
class Describe(Stage):
    """Writes a caption for every clip that the filter found eligible."""

    sources: list[Source] = field(default_factory=lambda: ["sidecar", "measured"])
    """Tried in this order; the first that yields text wins."""
    vlm: Model = field(default_factory=Model)
    """What the source `vlm` asks."""
    server: Endpoint = field(default_factory=Endpoint)
    """Where it asks."""
    answers: str | None = None
    """Folder or s3://… that keeps the model's answers; null: the dataset's own, $DATA/answers."""

    name: ClassVar[str] = "caption"
    reads: ClassVar[dict[str, list[str]]] = {
        "clips": [
            "clip_id",
            "video_id",
            "uri",
            "start_s",
            "end_s",
            "num_frames",
            "width",
            "height",
        ],
        "videos": ["video_id", "num_bytes"],
        "filter": ["clip_id", "eligible"],
    }
    writes: ClassVar[dict[str, pa.Schema]] = {"captions": CAPTIONS}
    passing: ClassVar[frozenset[str]] = frozenset(LATER | STOPPED)
    deadline_s: ClassVar[float] = 6 * 3600  # 128 clips at a slow server

    def __post_init__(self) -> None:
        if not self.sources or len(set(self.sources)) < len(self.sources):
            raise ValueError(
                f"sources = {self.sources}, expected some of vlm, sidecar, measured, each once"
            )

    @property
    def num_cpus(self) -> float:
        """A worker that asks a model mostly waits: four share a core, so that videos of few clips
        keep the servers busy too.
        """
        return 0.25 if "vlm" in self.sources else 1

    def among(self, workers: int) -> "Describe":
        """The limits of a server are of the whole run."""
        return replace(self, server=self.server.divided(workers))

    def config_hash(self) -> str:
        """Of what changes a caption: not of the server, and of the model only where it is asked."""
        asked = asdict(self.vlm) | {"version": vlm.VERSION} if "vlm" in self.sources else None
        knobs = json.dumps({"sources": self.sources, "vlm": asked}, sort_keys=True)
        return hash_128(self.name, str(self.version), knobs)

    def run(self, tables: Tables) -> Tables:
        rows = eligible_rows(tables)
        beside = from_sidecars(rows) if "sidecar" in self.sources else [Given() for _ in rows]
        written = [
            dict.fromkeys(CAPTIONS.names) | {"clip_id": row["clip_id"], "caption_original": it.text}
            for row, it in zip(rows, beside, strict=True)
        ]
        for source in self.sources:
            waiting = [i for i, row in enumerate(written) if not (row["caption"] or row["error"])]
            for i, given in zip(waiting, self._ask(source, waiting, rows, beside), strict=True):
                _add(written[i], given, source=source)
        for row in written:
            if not row["caption"] and not row["caption_error"]:
                row["caption_error"] = f"no_caption: {', '.join(self.sources)} gave no text"
            row["caption_chars"] = len(row["caption"] or "")
        return {"captions": pa.Table.from_pylist(written, schema=CAPTIONS)}

    def _ask(
        self, source: Source, waiting: list[int], rows: list[Row], beside: list[Given]
    ) -> list[Given]:
        if source == "sidecar":
            return [beside[i] for i in waiting]
        asked = [rows[i] for i in waiting]
        if source == "measured":
            return [from_measures(row) for row in asked]
        return asyncio.run(from_model(asked, self)) if asked else []

    def failed(self, tables: Tables, *, error: str) -> Tables:
        empty = dict.fromkeys(CAPTIONS.names) | {"caption_chars": 0, "error": error}
        rows = [empty | {"clip_id": row["clip_id"]} for row in eligible_rows(tables)]
        return {"captions": pa.Table.from_pylist(rows, schema=CAPTIONS)}

    def tally(self, tables: Tables, written: Tables) -> dict[str, float]:
        return spent_now(written["captions"], tables["rows"]["answer"].to_pylist())

    def progress(self, tally: dict[str, float], *, seconds: float, share: float) -> str:
        """Tokens per second, and the money spent and to be spent."""
        price = self.server.usd_per_hour
        return spending(tally, usd_per_hour=price, seconds=seconds, share=share)


def _add(row: Row, given: Given, *, source: Source) -> None:
    """Put what a source gave into the clip's row."""
    row |= given.columns
    if given.text:
        row |= {"caption": given.text, "caption_source": source}
    if given.error:
        before = f"{row['caption_error']}; " if row["caption_error"] else ""
        row["caption_error"] = before + given.error
        if given.error.split(":")[0] in LATER:
            row["error"] = given.error


def eligible_rows(tables: Tables) -> list[Row]:
    """The unit's clips, as the driver chose them, with what it knows of each."""
    clips = {row["clip_id"]: row for row in tables["clips"].to_pylist()}
    return [clips[row["clip_id"]] | row for row in tables["rows"].to_pylist()]


# -- sources ---------------------------------------------------------------------------------------


def from_sidecars(rows: list[Row]) -> list[Given]:
    """Text beside the source files, each of which is read once."""
    read = {uri: sidecar.read(uri) for uri in {row["uri"] for row in rows}}
    given = []
    for row in rows:
        beside = read[row["uri"]]
        problems = list(beside.problems)
        try:
            text = beside.caption(start_s=row["start_s"], end_s=row["end_s"])
        except sidecar.Unusable as problem:
            text = None
            problems.append(str(problem))
        given.append(Given(text, "; ".join(problems) or None))
    return given


def from_measures(row: Row) -> Given:
    text = measured.sentence(row)
    return Given(text, None if text else "measured_nothing: the clip's size is not known")


async def from_model(rows: list[Row], stage: Describe) -> list[Given]:
    """The model's captions: those that are kept, and the others asked for."""
    prefix = f"{rows[0]['key']}-"  # of this unit's own files: a first attempt may have left some
    kept = {row["key"]: row["answer"] for row in rows if row["answer"]}
    if stage.answers:
        kept |= load(stage.answers, {row["key"] for row in rows} - set(kept), prefix=prefix)
    kept = {key: answer for key, answer in kept.items() if _is_readable(answer, stage.vlm)}
    missing = [row for row in rows if row["key"] not in kept]
    unread: dict[str, str] = {}

    def read() -> Iterator[tuple[str, tuple[Row, Shown]]]:
        for row, shown in read_frames(missing, stage.vlm.frames):
            if isinstance(shown, str):
                unread[row["key"]] = shown
            else:
                yield row["key"], (row, shown)

    async def ask(client: Client, item: tuple[Row, Shown]) -> Row:
        row, shown = item
        answer = await vlm.ask(client, stage.vlm, shown, camera=row.get("camera_motion"))
        return answer | {"clip_id": row["clip_id"]}

    answers, refused = await ask_all(
        read(), ask, model=stage.vlm.model, server=stage.server, kept=stage.answers, prefix=prefix
    )
    answers |= kept
    refused |= unread
    return [
        _given(answers[row["key"]], stage.vlm)
        if row["key"] in answers
        else Given(error=refused[row["key"]])
        for row in rows
    ]


def _is_readable(answer: Row, model: Model) -> bool:
    """Whether a kept answer passes today's rules; one that does not is asked for again."""
    try:
        return answer["text"] is None or bool(vlm.read(answer["text"], structured=model.structured))
    except CaptionError:
        return False


def _given(answer: Row, model: Model) -> Given:
    """The columns of an answer, just received or kept from an earlier run."""
    columns = {
        "caption_attempts": answer["attempts"],
        "prompt_tokens": answer["prompt_tokens"],
        "answer_tokens": answer["answer_tokens"],
    }
    if answer["text"] is None:
        return Given(error=answer["error"], columns=columns)
    texts = vlm.read(answer["text"], structured=model.structured)
    columns |= {f"caption_{name}": text for name, text in texts.items()}
    return Given(texts["dense"], columns=columns | {"caption_model": model.model})


def read_frames(rows: list[Row], frames: Frames) -> Iterator[tuple[Row, Shown | str]]:
    """Each row with its frames, or with "reason_code: why" there are none; source after source."""
    by_uri: dict[str, list[Row]] = {}
    for row in rows:
        by_uri.setdefault(row["uri"], []).append(row)
    for uri, clips in by_uri.items():
        clips.sort(key=lambda row: row["start_s"])
        left = {row["clip_id"]: row for row in clips}
        try:
            _check_size(uri, clips[0]["num_bytes"])
            with storage.open_source(uri) as source:
                for row, shown in FrameReader(source, frames).read(clips):
                    del left[row["clip_id"]]
                    yield row, shown
        except storage.SourceError as error:
            yield from ((row, str(error)) for row in left.values())


def _check_size(uri: str, expected: int) -> None:
    """Raises SourceError where the file is not the one that split read."""
    try:
        num_bytes = storage.num_bytes(uri)
    except FileNotFoundError as error:
        raise storage.SourceError(storage.VANISHED, "the source file is gone") from error
    except PermissionError as error:
        raise storage.SourceError("unreadable", "PermissionError") from error
    if num_bytes != expected:
        raise storage.SourceError("source_changed", "the file is not the one that split read")
