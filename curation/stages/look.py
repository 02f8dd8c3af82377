"""The first look: every source's keyframes, measured one by one, before anything is decoded whole.

First half of triage, optional. The file is demuxed once, which gives the stamps and the size of
every packet, and only keyframes are decoded (about 0.04 of a decode). What is written are measures;
which stretches they condemn is asked later, by `triage`, so that other thresholds cost no decoding.

What lies between two looks is told by the packets (`curation.meters.packets`).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import pyarrow as pa

from curation import storage
from curation.clip import hash_128
from curation.memory import DECODING_GB
from curation.meters.glance import Glance, glance
from curation.meters.packets import stretches
from curation.stage import Stage, Tables, Unit, empty_columns
from curation.stages.aesthetics import Aesthetics
from curation.stages.scan import admitted
from curation.video.decode import turn
from curation.video.keys import Key, KeyPass, Untold
from curation.video.open import Source, VideoError, display_size
from curation.video.picture import Picture, jpeg, small_planes, small_size

FIRST_LOOK = pa.schema(
    {
        "uri": pa.string(),
        "video_id": pa.string(),
        "num_bytes": pa.int64(),
        "width": pa.int32(),  # as displayed
        "height": pa.int32(),
        "num_frames": pa.int64(),  # packets; equal to the frames where stamps are whole
        "start_s": pa.float64(),
        "end_s": pa.float64(),
        "untriaged": pa.string(),  # why nothing is known of the source, which is scanned whole
    }
)
LOOKS = pa.schema(
    {
        "video_id": pa.string(),
        "pts": pa.int64(),
        "frame": pa.int64(),  # how many are shown before it
        "time_s": pa.float64(),
        # the frame: curation.meters.glance
        "dark_pct": pa.float32(),
        "bright_pct": pa.float32(),
        "luma_mean_pct": pa.float32(),
        "contrast_pct": pa.float32(),
        "focus": pa.float32(),
        "text_pct": pa.float32(),
        "phash": pa.uint64(),
        "phash_seen": pa.float32(),
        "aesthetic_laion_linear": pa.float32(),  # null unless knob aesthetics is given
        "aesthetic_laion_mlp": pa.float32(),
        # the stretch from here to the next look, or to the end
        "length_s": pa.float64(),
        "num_frames": pa.int64(),
        "change_pct": pa.float32(),  # mean luma difference to the next look; null for the last
        "local_change_pct": pa.float32(),  # the same where it is largest, 1/16 of the width across
        # most that was coded in a second, keyframes apart, of what a keyframe of the source takes
        "coded_pct": pa.float32(),
        # keyframes apart, of the larger keyframe at its ends, or of half of what one of the source
        # takes where both are smaller
        "largest_packet_pct": pa.float32(),
        "second_packet_pct": pa.float32(),  # the largest half a second or more from that one
        "early_packet_pct": pa.float32(),  # the largest so near its beginning that cuts are missed
        "is_due": pa.bool_(),  # the next look came by the encoder's longest distance, not by a cut
    }
)
PICTURES = pa.schema(
    {"video_id": pa.string(), "frame": pa.int64(), "time_s": pa.float64(), "jpeg": pa.binary()}
)


PLACE_PX = 8  # of the small picture


@dataclass(frozen=True)
class Look(Stage):
    """Look at the keyframes of every source."""

    every_s: float = 1.0
    """Seconds at least between keyframes that are decoded."""
    pictures: bool = True
    """Keep a JPEG of every look (15 KB), for the audit of what triage rejects."""
    aesthetics: Aesthetics | None = None
    """Score every look by LAION's predictors, with the knobs of the stage aesthetics; a ViT-L/14
    takes longer on a CPU than the decode that it may save: for workers with a GPU.
    """

    name: ClassVar[str] = "look"
    unit: ClassVar[Any] = "source"
    reads: ClassVar[dict[str, list[str]]] = {
        "sources": ["uri", "video_id", "num_bytes", "version", "error"]
    }
    writes: ClassVar[dict[str, pa.Schema]] = {
        "first_look": FIRST_LOOK,
        "looks": LOOKS,
        "look_pictures": PICTURES,
    }

    def __post_init__(self) -> None:
        if not self.every_s >= 0:
            raise ValueError(f"{self.every_s = }, expected at least 0")

    @property
    def memory_gb(self) -> float | None:
        return None if self.aesthetics else DECODING_GB  # CUDA alone takes more

    @property
    def num_gpus(self) -> float:
        return self.aesthetics.num_gpus if self.aesthetics else 0

    def config_hash(self) -> str:
        digest = self.aesthetics.weights.digest if self.aesthetics else ""
        return hash_128(super().config_hash(), digest)

    def run(self, tables: Tables) -> Tables:
        row = tables["rows"].to_pylist()[0]
        listed = storage.Source(row["uri"], row["num_bytes"], row["version"])
        try:
            with storage.unchanged(listed), storage.open_source(row["uri"]) as source:
                facts, looks, jpegs = look(source, every_s=self.every_s, pictures=self._wants_jpegs)
        except VideoError as error:  # the full pass will meet it too, and say so in videos
            return _tables(row | {"untriaged": str(error)}, [], [])
        except Untold as error:
            reason = f"untold: frames cannot be told by their packets ({error})"
            return _tables(row | {"untriaged": reason}, [], [])
        if self.aesthetics:
            _score(looks, jpegs, self.aesthetics)
        return _tables(row | facts, looks, jpegs if self.pictures else [])

    @property
    def _wants_jpegs(self) -> bool:
        return self.pictures or self.aesthetics is not None

    def failed(self, tables: Tables, *, error: str) -> Tables:
        return _tables(tables["rows"].to_pylist()[0] | {"untriaged": error}, [], [])


def _tables(row: dict[str, Any], looks: list[dict[str, Any]], jpegs: list[bytes]) -> Tables:
    empty = {name: column[0].as_py() for name, column in empty_columns(FIRST_LOOK, 1).items()}
    known = {name: row[name] for name in FIRST_LOOK.names if name in row}
    mine = {"video_id": row["video_id"]}
    shown = [
        mine | {"frame": look["frame"], "time_s": look["time_s"], "jpeg": data}
        for look, data in zip(looks, jpegs, strict=False)
    ]
    return {
        "first_look": pa.Table.from_pylist([empty | known], schema=FIRST_LOOK),
        "looks": pa.Table.from_pylist([mine | look for look in looks], schema=LOOKS),
        "look_pictures": pa.Table.from_pylist(shown, schema=PICTURES),
    }


def look(
    source: Source, *, every_s: float, pictures: bool
) -> tuple[dict[str, Any], list[dict[str, Any]], list[bytes]]:
    """(columns of first_look, rows of looks, a JPEG of each) of one source.

    Raises VideoError where there is nothing to see, Untold where frames cannot be numbered.
    """
    cv2.setNumThreads(1)  # one task, one core
    keys = KeyPass(source, every_s=every_s)
    found: list[tuple[Key, Glance]] = []
    changes: list[dict[str, float]] = []
    jpegs: list[bytes] = []
    display, before = (0, 0), None
    for key in keys:
        rotation = turn(key.picture)
        display = display_size(keys.probe, rotation=rotation)
        planes = small_planes(key.picture, size=small_size(*display), rotation=rotation)
        picture = Picture(len(found), key.time_s, planes, before=before, frame=key.picture)
        if before is not None:
            changes.append(_changes(before, picture))
        found.append((Key(key.packet, key.pts, key.time_s, None), glance(picture)))
        if pictures:
            jpegs.append(jpeg(key.picture, display=display, rotation=rotation))
        picture.forget()
        before = picture
    stamps = [key.pts for key, _ in found]
    if not stamps or stamps != sorted(stamps):
        raise Untold("no keyframes to be shown in order")
    looks = stretches(keys, [key for key, _ in found], num_pixels=display[0] * display[1])
    last_one = {"change_pct": None, "local_change_pct": None}
    for row, (_, measures), change in zip(looks, found, [*changes, last_one], strict=True):
        row |= measures._asdict() | change
    first, last = min(keys.pts), max(keys.pts) + keys.last_ticks
    facts = {
        "width": display[0],
        "height": display[1],
        "num_frames": len(keys.pts),
        "start_s": first * keys.time_base,
        "end_s": last * keys.time_base,
    }
    return facts, looks, jpegs


def _changes(before: Picture, picture: Picture) -> dict[str, float]:
    """Luma differences in percent of full scale; in places a sensor's noise is averaged away."""
    scale = 1 / PLACE_PX
    places = [
        cv2.resize(one.luma, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        for one in (before, picture)
    ]
    local = float(cv2.absdiff(*places).max())
    return {"change_pct": 100 * picture.change / 255, "local_change_pct": 100 * local / 255}


def _score(looks: list[dict[str, Any]], jpegs: list[bytes], stage: Aesthetics) -> None:
    ids = pa.array([str(i) for i in range(len(looks))])
    pictures = pa.table({"clip_id": ids, "jpeg": pa.array(jpegs, pa.binary())})
    scored = stage.run({"clips": pa.table({"clip_id": ids}), "keyframes": pictures})["aesthetics"]
    for column in ("aesthetic_laion_linear", "aesthetic_laion_mlp"):
        for row, score in zip(looks, scored[column].to_pylist(), strict=True):
            row[column] = score


# -- units -----------------------------------------------------------------------------------------


def units(stage: Look, *, sources: pa.Table) -> list[Unit]:
    """One unit per source that the scan would decode."""
    found = []
    for source, reject in admitted(sources):
        if reject is None and source["error"] is None:
            row = {name: source[name] for name in _UNIT_ROWS.names}
            key = stage.unit_key(*(str(value) for value in row.values()))
            found.append(Unit(key, 1, rows=pa.Table.from_pylist([row], schema=_UNIT_ROWS)))
    return found


_UNIT_ROWS = pa.schema(
    {
        "uri": pa.string(),
        "video_id": pa.string(),
        "num_bytes": pa.int64(),
        "version": pa.string(),
    }
)
