"""Text in the picture: how much of the frame it covers, what it says, and how much is overlay.

An optional stage (`pip install dailies[ocr]`): PP-OCRv6 by RapidOCR, whose weights come in its
wheel, on a clip's keyframes. A box is the quadrilateral that the detector finds, at any angle, and
its own area is counted, not that of the upright rectangle around it. Only what can be read is text:
the detector alone takes a tree for a large letter now and then, so that writing in a script which
the reader does not know goes uncounted. Overlay (a subtitle, a logo, a watermark) is text that
stays in its place in every keyframe while the picture changes.

Where the library is missing every column is null, and `text_note` says so.
"""

import functools
import hashlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import cv2
import numpy as np
import pyarrow as pa

from curation.clip import hash_128
from curation.stage import Stage, Tables, empty_columns

TEXT = pa.schema(
    {
        "clip_id": pa.string(),
        "text_area_pct": pa.float32(),  # of the frame, in the keyframe that holds most text
        "text_area_mean_pct": pa.float32(),  # mean over the keyframes
        "overlay_text_pct": pa.float32(),  # of the frame; null where the picture stands still
        "text_boxes": pa.int32(),  # in the keyframe that holds most of them
        "text_confidence": pa.float32(),  # 0-1 of the reader, mean over the boxes by their area
        "text": pa.string(),  # every string once, a line each
        "text_note": pa.string(),  # why a column is null
        "error": pa.string(),
    }
)

MAX_CHARS = 1000  # of one clip's text: a page of print says no more about a clip than this
UPRIGHT = "ch_ppocr_mobile_v2.0_cls_mobile"  # tells a line of text from one upside down
CONFIDENCE = 0.5  # RapidOCR's own bound for a string worth keeping
MIN_CHARACTERS = 2  # one letter is what a tree or a lamp post is taken for
MAX_LINE = 0.5  # of the frame's short side: a higher "line" is the scene itself
SAME_PLACE_IOU = 0.5  # one subtitle on unrelated pictures: 0.56 or more, median 0.87
CHANGED = 8.0  # of 255, median over the picture: above noise and JPEG


class Box(NamedTuple):
    """One line of text in one keyframe."""

    corners_42: np.ndarray
    """(4, 2) x and y in pixels, float32, in order around it."""
    text: str
    confidence: float
    """0-1, the reader's."""


@dataclass(frozen=True)
class Models:
    """What the driver found of the models that a stage names."""

    files: dict[str, str]
    """Path of the detector, the reader and the upright classifier; empty where one is missing."""
    note: str | None
    """What is missing, in one sentence."""
    digest: str
    """Changes when the columns would."""


@dataclass(frozen=True)
class Text(Stage):
    """Finds and reads the text in a clip's keyframes."""

    detector: str = "PP-OCRv6_det_small"
    """Finds the boxes: a model in RapidOCR's wheel by name, or a local .onnx of the same kind. A
    keyframe of 448 x 252 takes it 115 ms of one core, and PP-OCRv4's, which misses small slanted
    text, 30 ms.
    """
    reader: str = "PP-OCRv6_rec_small"
    """Reads them: a model in RapidOCR's wheel by name, or a local .onnx with its characters
    inside."""
    max_side_px: int = 960
    """Larger keyframes are reduced to this long side before the detector looks."""

    name: ClassVar[str] = "text"
    reads: ClassVar[dict[str, list[str]]] = {
        "clips": ["clip_id"],
        "keyframes": ["clip_id", "position", "jpeg"],
    }
    writes: ClassVar[dict[str, pa.Schema]] = {"text": TEXT}

    def __post_init__(self) -> None:
        if self.max_side_px < 32:
            raise ValueError(f"max_side_px = {self.max_side_px}, expected at least 32")

    @functools.cached_property
    def models(self) -> Models:
        models = find_models(self)
        if models.note:
            print(f"text: {models.note}; its columns are null", flush=True)
        return models

    def config_hash(self) -> str:
        return hash_128(super().config_hash(), self.models.digest)

    def run(self, tables: Tables) -> Tables:
        ids = tables["clips"]["clip_id"].to_pylist()
        if not self.models.files:
            return {"text": _rows(ids, {}, note=self.models.note)}
        engine = load_engine(tuple(self.models.files.items()), self.max_side_px)
        by_clip: dict[str, list[dict[str, Any]]] = {}
        frames = tables.get("keyframes")
        for row in frames.to_pylist() if frames is not None else ():
            by_clip.setdefault(row["clip_id"], []).append(row)
        found = {}
        for clip, rows in by_clip.items():
            rows.sort(key=lambda row: row["position"])
            pictures = [picture for row in rows if (picture := _decode(row["jpeg"])) is not None]
            if len(pictures) < len(rows):
                found[clip] = {"text_note": "unreadable keyframe"}
                continue
            boxes = [look(engine, picture) for picture in pictures]
            found[clip] = summary(boxes, pictures)
        return {"text": _rows(ids, found, note="no keyframe")}

    def failed(self, tables: Tables, *, error: str) -> Tables:
        ids = tables["clips"]["clip_id"]
        columns = empty_columns(TEXT, len(ids))
        columns |= {"clip_id": ids, "error": pa.array([error] * len(ids), pa.string())}
        return {"text": pa.table(columns)}


def _decode(jpeg: bytes) -> np.ndarray | None:
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


def _rows(ids: Sequence[str], found: dict[str, dict[str, Any]], *, note: str | None) -> pa.Table:
    rows = [
        dict.fromkeys(TEXT.names) | {"clip_id": clip} | found.get(clip, {"text_note": note})
        for clip in ids
    ]
    return pa.Table.from_pylist(rows, schema=TEXT)


# -- measures --------------------------------------------------------------------------------------


def summary(boxes: Sequence[Sequence[Box]], pictures_HW3: Sequence[np.ndarray]) -> dict[str, Any]:
    """A clip's columns from the boxes in each of its keyframes, in order of time."""
    shapes = [picture.shape[:2] for picture in pictures_HW3]
    areas = [
        area_pct([box.corners_42 for box in seen], height=height, width=width)
        for seen, (height, width) in zip(boxes, shapes, strict=True)
    ]
    every = [box for seen in boxes for box in seen]
    sizes = [cv2.contourArea(box.corners_42) for box in every]
    strings = list(dict.fromkeys(box.text for box in every if box.text))
    confidence = None
    if sum(sizes):
        confidence = float(np.average([box.confidence for box in every], weights=sizes))
    return {
        "text_area_pct": max(areas),
        "text_area_mean_pct": float(np.mean(areas)),
        "overlay_text_pct": overlay_pct(boxes, pictures_HW3),
        "text_boxes": max(map(len, boxes)),
        "text_confidence": confidence,
        "text": "\n".join(strings)[:MAX_CHARS] or None,
    }


def is_text(box: Box, *, short_side_px: int) -> bool:
    """Whether a box holds something that can be read and is no higher than a line of text."""
    line_px = min(cv2.minAreaRect(box.corners_42)[1])
    characters = sum(character.isalnum() for character in box.text)
    return (
        box.confidence >= CONFIDENCE
        and characters >= MIN_CHARACTERS
        and line_px <= MAX_LINE * short_side_px
    )


def area_pct(quads_N42: Sequence[np.ndarray], *, height: int, width: int) -> float:
    """Share of the frame that the quadrilaterals cover, where they overlap counted once."""
    return 100 * float(_mask(quads_N42, height=height, width=width).mean())


def overlay_pct(boxes: Sequence[Sequence[Box]], pictures_HW3: Sequence[np.ndarray]) -> float | None:
    """Share of the frame under text that every keyframe has in one place while the picture changes.

    None where that cannot be told: of one keyframe, of keyframes of several sizes, and where the
    picture stands still, as a sign in the scene then does too.
    """
    height, width = pictures_HW3[0].shape[:2]
    if len(boxes) < 2 or any(picture.shape[:2] != (height, width) for picture in pictures_HW3):
        return None
    quads = [[box.corners_42 for box in seen] for seen in boxes]
    text_HW = np.any([_mask(some, height=height, width=width) for some in quads], axis=0)
    luma_THW = [cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) for picture in pictures_HW3]
    changes_HW = np.max([cv2.absdiff(luma_THW[0], later) for later in luma_THW[1:]], axis=0)
    if text_HW.all() or np.median(changes_HW[~text_HW]) < CHANGED:
        return None
    overlay = [
        quad
        for quad in quads[0]
        if all(any(iou(quad, other) >= SAME_PLACE_IOU for other in later) for later in quads[1:])
    ]
    return area_pct(overlay, height=height, width=width)


def iou(a_42: np.ndarray, b_42: np.ndarray) -> float:
    """Intersection over union of two convex quadrilaterals."""
    shared = cv2.intersectConvexConvex(a_42, b_42)[0]
    union = cv2.contourArea(a_42) + cv2.contourArea(b_42) - shared
    return shared / union if union > 0 else 0.0


def _mask(quads_N42: Sequence[np.ndarray], *, height: int, width: int) -> np.ndarray:
    mask_HW = np.zeros((height, width), np.uint8)
    for quad in quads_N42:
        cv2.fillConvexPoly(mask_HW, np.rint(quad).astype(np.int32), 1)
    return mask_HW.astype(bool)


# -- the engine ------------------------------------------------------------------------------------


def find_models(stage: Text) -> Models:
    """Look for the library and the models; ValueError where a name is neither in the wheel nor a
    file.
    """
    absent = [name for name in ("rapidocr", "onnxruntime") if not importlib.util.find_spec(name)]
    if absent:
        note = f"{' and '.join(absent)} not installed (pip install dailies[ocr])"
        return Models({}, note, digest=note)
    spec = importlib.util.find_spec("rapidocr")
    assert spec is not None and spec.origin is not None
    wheel = os.path.join(os.path.dirname(spec.origin), "models")
    digest = hashlib.blake2b(importlib.metadata.version("rapidocr").encode(), digest_size=16)
    files = {}
    for part, given in (("Det", stage.detector), ("Rec", stage.reader), ("Cls", UPRIGHT)):
        path = os.path.join(wheel, f"{given}.onnx")
        files[part] = path if os.path.isfile(path) else given
        if not os.path.isfile(files[part]):
            known = sorted(name[:-5] for name in os.listdir(wheel) if name.endswith(".onnx"))
            raise ValueError(
                f"text: {given!r} is neither a file nor in RapidOCR's wheel, which has {known}"
            )
        with open(files[part], "rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return Models(files, None, digest.hexdigest())


@functools.lru_cache(maxsize=1)
def load_engine(files: tuple[tuple[str, str], ...], max_side_px: int) -> Any:
    """RapidOCR on one thread: there is a worker per core."""
    from rapidocr import RapidOCR

    threads = "EngineConfig.onnxruntime"
    options: dict[str, Any] = {
        "Global.log_level": "critical",
        "Global.text_score": CONFIDENCE,
        f"{threads}.intra_op_num_threads": 1,
        f"{threads}.inter_op_num_threads": 1,
        "Det.limit_type": "max",  # its default enlarges a keyframe threefold, at ten times the cost
        "Det.limit_side_len": max_side_px,
    }
    # by path, so that nothing is ever fetched
    options |= {f"{part}.model_path": path for part, path in files}
    return RapidOCR(params=options)


def look(engine: Any, picture_HW3: np.ndarray) -> list[Box]:
    """The lines of text in one BGR picture."""
    found = engine(picture_HW3)
    if found.boxes is None:
        return []
    corners = np.asarray(found.boxes, np.float32)
    boxes = [
        Box(quad, text.strip(), float(confidence))
        for quad, text, confidence in zip(corners, found.txts, found.scores, strict=True)
    ]
    short_side_px = min(picture_HW3.shape[:2])
    return [box for box in boxes if is_text(box, short_side_px=short_side_px)]
