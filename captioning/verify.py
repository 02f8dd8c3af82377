"""The verify stage: what is wrong with each caption, as columns; `filter` decides what follows.

Wording (captioning/lint.py), language, what is said of the camera against what was measured
(captioning/agreement.py) and, where weights are named, CLIP's similarity of the caption and the
clip's keyframes (captioning/similarity.py). Where a column cannot be filled it is null and
`verify_note` says why.

A unit checks one file of captions. It is named by what it reads, the texts and the measured camera
motion themselves: the stage that writes captions may fill a file of the same name anew.
"""

import functools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from captioning import agreement, changes, lint
from captioning.driver import check_captions
from captioning.language import language
from captioning.similarity import Weights, embed_texts, find_weights, load_tokenizer
from curation import dataset, pipeline, storage
from curation.backbone import embed, load_backbone, mean_per_clip
from curation.clip import hash_128
from curation.stage import Stage, Tables, Unit, empty_columns

VERIFY = pa.schema(
    {
        "clip_id": pa.string(),
        "caption_words": pa.int32(),
        "caption_short_words": pa.int32(),
        # phrases in caption, caption_short, caption_dense and the fields, one text counted once
        "caption_stock_phrases": pa.int32(),
        "caption_opinions": pa.int32(),
        "caption_mentions_medium": pa.int32(),
        "caption_uncertain": pa.int32(),
        "caption_repetition": pa.float32(),  # 0-1, of the text that repeats itself most
        "caption_language": pa.string(),  # ISO 639-1, "zxx" for no language
        "caption_language_probability": pa.float32(),
        "caption_camera_conflict": pa.string(),  # "says static, measured pan left"; null: none
        "caption_clip_similarity": pa.float32(),  # cosine, mean over the keyframes
        "caption_clip_model": pa.string(),  # what gave the similarity
        "verify_note": pa.string(),  # why a column is null
        "error": pa.string(),  # the caption could not be checked at all
    }
)
TOLD = changes.numbers(VERIFY)
TEXTS = ("caption", "caption_short", "caption_dense")
CHECKED = ("clip_id", *TEXTS, "caption_fields")
"""Columns of `captions` that are looked at, where they are present."""
PROBLEMS: dict[lint.Kind, str] = {
    "stock_phrases": "with stock phrases",
    "opinions": "with opinions",
    "mentions_medium": "that mention the medium",
    "uncertain": "uncertain",
}

Row = dict[str, Any]


@dataclass(frozen=True)
class Verify(Stage):
    """Checks captions."""

    model: str = "ViT-L-14-quickgelu"
    """Architecture by open_clip's name. OpenAI's weights, as a file, need a quickgelu one."""
    pretrained: str | None = None
    """Weights: a tag that open_clip knows (openai), or a local file with a state dict; null scores
    no similarity.
    """
    model_config_dir: str | None = None
    """Folder with further open_clip architectures (<model>.json)."""
    batch_size: int = 32
    """Keyframes, or pieces of captions, that go through the model together."""
    num_gpus: float = 0
    """GPUs of one worker; 0 runs on the CPU."""

    name: ClassVar[str] = "verify"
    reads: ClassVar[dict[str, list[str]]] = {
        "captions": ["clip_id", "caption"],
        "clips": ["clip_id"],
    }
    writes: ClassVar[dict[str, pa.Schema]] = {"verify": VERIFY}

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size = {self.batch_size}, expected at least 1")

    @functools.cached_property
    def weights(self) -> Weights:
        weights = find_weights(self.model, self.pretrained, self.model_config_dir)
        if weights.note and self.pretrained is not None:
            print(f"verify: {weights.note}; caption_clip_similarity is null", flush=True)
        return weights

    def config_hash(self) -> str:
        """Of what changes a column: neither how much goes through at once nor on what."""
        scored = [self.model, self.pretrained, self.weights.digest] if self.pretrained else []
        return hash_128(self.name, str(self.version), *scored)

    def run(self, tables: Tables) -> Tables:
        rows = tables["captions"].to_pylist()
        camera = _by_clip(tables["rows"], "camera_motion")
        found = [check(row, camera_motion=camera[row["clip_id"]]) for row in rows]
        texts = {row["clip_id"]: row["caption"] for row in rows if row["caption"]}
        scores, notes = self._similarities(texts, tables.get("keyframes"))
        for row in found:
            clip_id = row["clip_id"]
            if clip_id in scores:
                row |= {"caption_clip_similarity": scores[clip_id]}
                row |= {"caption_clip_model": self.weights.made_by}
            elif clip_id in texts:
                row["verify_note"] = _join(row["verify_note"], notes[clip_id])
        return {"verify": pa.Table.from_pylist(found, schema=VERIFY)}

    def failed(self, tables: Tables, *, error: str) -> Tables:
        ids = tables["captions"]["clip_id"]
        columns = empty_columns(VERIFY, len(ids))
        columns |= {"clip_id": ids, "error": pa.array([error] * len(ids), pa.string())}
        return {"verify": pa.table(columns)}

    def _similarities(
        self, texts: Mapping[str, str], keyframes: pa.Table | None
    ) -> tuple[dict[str, float], dict[str, str]]:
        """Clip -> its similarity, and clip -> why it has none, for every clip with a text."""
        if self.weights.note or keyframes is None or not texts:
            return {}, dict.fromkeys(texts, self.weights.note or "no keyframe")
        wanted = pa.array(list(texts), pa.string())
        frames = keyframes.filter(pc.is_in(keyframes["clip_id"], value_set=wanted))
        device = "cuda" if self.num_gpus else "cpu"
        assert self.pretrained is not None, "without it the weights have a note"
        backbone = load_backbone(self.model, self.pretrained, self.model_config_dir, device)
        images_ND, readable = embed(
            frames["jpeg"].to_pylist(), backbone, batch_size=self.batch_size
        )
        clips = frames["clip_id"].to_numpy()
        unreadable = set(clips[~readable])
        images = mean_per_clip(clips[readable], images_ND)
        notes = {
            clip: "unreadable keyframe" if clip in unreadable else "no keyframe"
            for clip in texts
            if clip in unreadable or clip not in images
        }
        scored = [clip for clip in texts if clip not in notes]
        if not scored:
            return {}, notes
        tokenizer = load_tokenizer(self.model, self.model_config_dir)
        texts_ND = embed_texts(
            [texts[clip] for clip in scored], backbone, tokenizer, batch_size=self.batch_size
        )
        pairs = zip(scored, texts_ND, strict=True)
        return {clip: float(text_D @ images[clip]) for clip, text_D in pairs}, notes


# -- one caption -----------------------------------------------------------------------------------


def check(row: Mapping[str, Any], *, camera_motion: str | None) -> Row:
    """The columns of one row of `captions`, but for the similarity. camera_motion: as measured."""
    found: Row = dict.fromkeys(VERIFY.names) | {"clip_id": row["clip_id"]}
    if not row["caption"]:
        return found | {"verify_note": "no caption"}
    texts = list(dict.fromkeys(text for name in TEXTS if (text := row.get(name))))
    fields = json.loads(row.get("caption_fields") or "{}")
    # what is written in the fields is trained on too
    worded = texts + [text for name, text in fields.items() if name != "text_on_screen"]
    code, probability = language(row["caption"])
    short = row.get("caption_short")
    said = fields.get("camera_motion")
    return found | {
        "caption_words": len(lint.words(row["caption"])),
        "caption_short_words": len(lint.words(short)) if short else None,
        **{
            f"caption_{kind}": sum(len(lint.hits(kind, text)) for text in worded)
            for kind in lint.KINDS
        },
        "caption_repetition": max(lint.repetition(text) for text in texts),
        "caption_language": code,
        "caption_language_probability": probability,
        "caption_camera_conflict": agreement.conflict(camera_motion, said=said, texts=texts),
        "verify_note": None if code else "no letter to tell a language by",
    }


def _join(*notes: str | None) -> str | None:
    return "; ".join(note for note in notes if note) or None


def _by_clip(table: pa.Table, column: str) -> dict[str, Any]:
    return dict(zip(table["clip_id"].to_pylist(), table[column].to_pylist(), strict=True))


# -- driver ----------------------------------------------------------------------------------------


def units(stage: Verify, *, data: str) -> list[Unit]:
    """One unit per file of captions, with the measured camera motion of its clips.

    Their keyframes are read only where they are scored.
    """
    camera: dict[str, str | None] = {}
    frames_of: dict[str, str] = {}
    scores = stage.weights.note is None
    shown = set(dataset.table_files(data, "keyframes")) if scores else set()
    for file in dataset.table_files(data, "clips"):
        clips = storage.read_table(file, columns=["clip_id", "camera_motion"])
        ids = clips["clip_id"].to_pylist()
        measured = "camera_motion" in clips.column_names
        camera |= _by_clip(clips, "camera_motion") if measured else dict.fromkeys(ids)
        frames = dataset.unit_url(data, "keyframes", Path(file).stem)
        frames_of |= dict.fromkeys(ids, frames) if frames in shown else {}
    found = []
    for file in dataset.table_files(data, "captions"):
        captions = storage.read_table(file, columns=list(CHECKED))
        ids = captions["clip_id"].to_pylist()
        if not ids:
            continue
        motions = [camera.get(clip) for clip in ids]
        rows = pa.table({"clip_id": ids, "camera_motion": pa.array(motions, pa.string())})
        frames = sorted({frames_of[clip] for clip in ids if clip in frames_of})
        content = json.dumps([captions.to_pylist(), motions], sort_keys=True)
        key = stage.unit_key(content, *dataset.stems(frames))
        files = {"captions": [file], "keyframes": frames}
        columns = {"captions": list(CHECKED), "keyframes": ["clip_id", "jpeg"]}
        found.append(Unit(key, len(ids), rows=rows, files=files, columns=columns))
    return found


def verify(stage: Verify, *, data: str, workers: int | None = None) -> dict[str, Any]:
    """Check the captions that were not checked yet; returns the run's record."""
    check_captions(stage, data=data)
    before = changes.read(data, "verify", TOLD)
    found = units(stage, data=data)
    record = pipeline.run(stage, found, data=data, workers=workers)
    if found:
        print(summary(dataset.require(data, "verify").to_pylist()), flush=True)
    changed = changes.between(before, changes.read(data, "verify", TOLD))
    changes.tell_of_shards(changed, data=data, note="do not hold these checks yet")
    return record


def summary(rows: Sequence[Row]) -> str:
    """How many captions there are, in which languages, and how many have which problem."""
    checked = [row for row in rows if row["caption_words"] is not None]
    parts = [f"{len(checked)} captions"]
    counts = {
        words: sum(row[f"caption_{kind}"] > 0 for row in checked)
        for kind, words in PROBLEMS.items()
    }
    counts["at odds with the camera"] = sum(bool(row["caption_camera_conflict"]) for row in checked)
    parts += [f"{count} {words}" for words, count in counts.items() if count]
    languages = Counter(row["caption_language"] or "none" for row in checked).most_common(3)
    parts += [f"language {', '.join(f'{code} {n}' for code, n in languages)}"] if languages else []
    return "checks      " + " | ".join(parts)
