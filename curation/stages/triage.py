"""What the first look condemns: stretches of footage that the full pass need not decode.

Second half of triage, optional (`triage: {enabled: true}`). Rules like those of `filter`, stricter
by default, are held against every look; opens no video, so that other thresholds are tried in a
second. A stretch, from one look to the next, is rejected where the evidence suffices:

- both looks fail a rule, at most max_gap_s apart, and the packets between them leave no room for a
  picture of its own: none is as large as one, or one alone where the next keyframe is no cut; or
- the look at its beginning fails and next to nothing was coded after it, so that what the look saw
  stayed, however far away the next one is: how black and still stretches are told in sources with
  few keyframes, and up to the very cut that ends them; or
- a rule on still_s fails, which is measured on packets itself.

Within a group of pictures nothing can be saved, since a decoder must begin at its keyframe; a group
that holds anything worth keeping is decoded whole. All else passes on. Rejected stretches become
rows of `clips` with their reason, whole sources rows of `videos` too. Where frames cannot be told
by their packets (stamps missing or repeated, interlaced, damaged) the source passes on untriaged,
and the table says so.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from curation import pipeline
from curation.meters.copies import Looks, find_copies
from curation.stage import Abort, Stage, Tables, Unit
from curation.stages.filter import Rule, outside

STRETCH = pa.struct(
    {
        "start_frame": pa.int64(),
        "end_frame": pa.int64(),
        "start_pts": pa.int64(),  # null: from the beginning
        "end_pts": pa.int64(),  # null: to the end
        "start_s": pa.float64(),
        "end_s": pa.float64(),
        "reject": pa.string(),  # null: to be scanned
    }
)
TRIAGE = pa.schema(
    {
        "uri": pa.string(),
        "video_id": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "num_frames": pa.int64(),
        "rejected_frames": pa.int64(),
        "stretches": pa.list_(STRETCH),  # all of the source, in order
        "duplicate_of": pa.string(),  # video_id of the source of which copies were rejected
        "untriaged": pa.string(),  # why the source passes on unjudged
        "reject": pa.string(),  # where nothing of it is left: the reason of most of its frames
    }
)

OF_STRETCH = ("still_s",)
"""Columns that describe what follows a look: no second look is needed."""
STILL_CHANGE_PCT = 0.4  # one level of 255: a still picture coded twice
STILL_CODED_PCT = 5.0  # a second of x264 or VP9 repeating a picture takes 0.5 to 4
STILL_LOCAL_PCT = 1.6  # four levels: what a sensor's noise and coarse coding leave in a place
SAME_CODED_PCT = 20.0  # the first second after a cut refines the picture


@dataclass(frozen=True)
class Triage(Stage):
    """Reject sources and stretches by what their keyframes show."""

    enabled: bool = False
    """Whether split begins with a look at the keyframes."""
    rules: list[Rule] = field(default_factory=list)
    """As in filter, on the columns of the table looks, still_s (seconds for which the picture
    stands still about here) and duplicate_pictures (different pictures by which the look is known
    as part of a copy of another source); a stretch is named after the first rule that rejects it.
    """
    max_gap_s: float = 10.5
    """Seconds between two looks that speak for what lies between; x264 and x265 place a keyframe
    every 250 frames, 10.4 s at 24 frames a second.
    """
    unseen_s: float = 1.25
    """Between two looks at most so far apart that are both rejected no shot is missed, whatever the
    packets between them hold: a camera's noise, at its steady rate, takes as much as another
    picture would.
    """
    max_packet_pct: float = 50.0
    """Of the larger keyframe at its ends; a larger packet between them may show another picture."""
    quiet_pct: float = 40.0
    """Of a full keyframe's bytes; where less is coded in every second, no other picture can have
    come, not even by a fade.
    """
    min_stretch_s: float = 4.0
    """Seconds; what is shorter and lies between kept stretches is scanned with them: a task of its
    own and the frames that it decodes beyond its end cost as much.
    """

    name: ClassVar[str] = "triage"
    unit: ClassVar[Any] = "dataset"
    reads: ClassVar[dict[str, list[str]]] = {
        "first_look": ["uri", "video_id", "untriaged"],
        "looks": ["video_id", "pts", "frame", "time_s"],
    }
    writes: ClassVar[dict[str, pa.Schema]] = {"triage": TRIAGE}

    def __post_init__(self) -> None:
        for rule in self.rules:
            if rule.column not in COLUMNS:
                raise ValueError(
                    f"triage, rule {rule.name!r}: looks have no column {rule.column!r}; "
                    f"expected one of {', '.join(COLUMNS)}"
                )
        if self.enabled and not self.rules:
            raise ValueError(
                "triage is enabled but has no rules, so that it could reject nothing; "
                "configs/curation/triage.yaml has some"
            )

    def run(self, tables: Tables) -> Tables:
        sources = sorted(tables["first_look"].to_pylist(), key=lambda row: row["uri"])
        looks = by_video(tables["looks"])
        copies: dict[str, Any] = {}
        if self._of_copies:
            copies = copied(sources, looks)
        rows = [self.judge(row, looks.get(row["video_id"]), copies) for row in sources]
        return {"triage": pa.Table.from_pylist(rows, schema=TRIAGE)}

    def judge(
        self, source: dict[str, Any], looks: pa.Table | None, copies: dict[str, Any]
    ) -> dict[str, Any]:
        """A source's row of the table triage."""
        row = {name: source.get(name) for name in TRIAGE.names} | {"rejected_frames": 0}
        if source["untriaged"] or looks is None:
            return row | {"stretches": []}
        pictures, original = copies.get(source["video_id"], (np.zeros(len(looks), np.int32), None))
        columns = {name: looks[name] for name in looks.column_names}
        looks = pa.table(
            columns
            | {"still_s": still_s(looks, unseen_s=self.unseen_s), "duplicate_pictures": pictures}
        )
        reasons = self._long_enough(self.reasons(looks), looks)
        stretches = _stretches(source, looks, reasons)
        lost = [s for s in stretches if s["reject"]]
        if len(lost) == len(stretches):
            row["reject"] = max(lost, key=lambda s: s["end_frame"] - s["start_frame"])["reject"]
        if any(s["reject"] in self._of_copies for s in lost):
            row["duplicate_of"] = original
        return row | {
            "stretches": stretches,
            "rejected_frames": sum(s["end_frame"] - s["start_frame"] for s in lost),
        }

    @property
    def _of_copies(self) -> list[str]:
        """The reasons that say of a stretch that it is a copy."""
        return [f"triage_{r.name}" for r in self.rules if r.column == "duplicate_pictures"]

    def reasons(self, looks: pa.Table) -> list[str | None]:
        """For the stretch after each look: the first rule by which it is rejected."""
        largest, second, early, coded, length_s = (
            looks[name].to_numpy()
            for name in (
                *("largest_packet_pct", "second_packet_pct", "early_packet_pct"),
                *("coded_pct", "length_s"),
            )
        )
        of_look, of_stretch = self._failing(looks)
        is_bad = np.array([reason is not None for reason in of_look])
        unchanged = (largest <= self.max_packet_pct) | (
            looks["is_due"].to_numpy() & (second <= self.max_packet_pct)
        )
        stays = coded <= self.quiet_pct
        is_sure = (unchanged & (length_s <= self.max_gap_s)) | (length_s <= self.unseen_s)
        stays |= is_sure & np.append(is_bad[1:], True)
        found = [
            reason if reason and lasts else other
            for reason, lasts, other in zip(of_look, stays, of_stretch, strict=True)
        ]
        # where a kept stretch begins with a bad picture, the cut that ends it may lie so near that
        # the detector must see what is before: the stretch before is kept too
        for i in range(len(found) - 1, 0, -1):
            if found[i] is None and is_bad[i] and early[i] > self.max_packet_pct:
                found[i - 1] = None
        return found

    def _failing(self, looks: pa.Table) -> tuple[list[str | None], list[str | None]]:
        """The first failing rule of each look, of those on what it shows and of those on what
        follows it.
        """
        shown: list[str | None] = [None] * len(looks)
        follows = list(shown)
        for rule in reversed(self.rules):
            reasons = follows if rule.column in OF_STRETCH else shown
            for i in np.flatnonzero(outside(looks[rule.column].combine_chunks(), rule)):
                reasons[i] = f"triage_{rule.name}"
        return shown, follows

    def _long_enough(self, reasons: list[str | None], looks: pa.Table) -> list[str | None]:
        """The reasons without those of short stretches between kept ones."""
        length_s = looks["length_s"].to_numpy()
        kept = list(reasons)
        for start, end in _runs([reason is not None for reason in reasons]):
            is_between = start > 0 and end < len(reasons)
            if reasons[start] and is_between and length_s[start:end].sum() < self.min_stretch_s:
                kept[start:end] = [None] * (end - start)
        return kept

    def failed(self, tables: Tables, *, error: str) -> Tables:
        raise Abort(error)  # table work of one unit: what fails here is not some source's fault


COLUMNS = (
    "dark_pct",
    "bright_pct",
    "luma_mean_pct",
    "contrast_pct",
    "focus",
    "text_pct",
    "aesthetic_laion_linear",
    "aesthetic_laion_mlp",
    "still_s",
    "duplicate_pictures",
)


def by_video(looks: pa.Table) -> dict[str, pa.Table]:
    """video_id -> its looks in order."""
    looks = looks.sort_by([("video_id", "ascending"), ("frame", "ascending")])
    ids = looks["video_id"].to_pylist()
    return {ids[start]: looks.slice(start, end - start) for start, end in _runs(ids)}


def still_s(looks: pa.Table, *, unseen_s: float) -> np.ndarray:
    """(looks,) seconds for which the picture stands still about each look's stretch; 0 where it
    moves.
    """
    coded, length_s = (looks[name].to_numpy() for name in ("coded_pct", "length_s"))
    change, local = (
        np.nan_to_num(looks[name].to_numpy().astype(np.float64), nan=np.inf)
        for name in ("change_pct", "local_change_pct")
    )
    still = (coded <= STILL_CODED_PCT) | ((change <= STILL_CHANGE_PCT) & (coded <= SAME_CODED_PCT))
    still |= (local <= STILL_LOCAL_PCT) & (length_s <= unseen_s)
    still[1:][-1:] |= still[:-1][-1:] & (length_s[-1:] <= unseen_s)  # no look ends the last one
    found = np.zeros(len(still))
    for start, end in _runs(still.tolist()):
        if still[start]:
            found[start:end] = length_s[start:end].sum()
    return found


def copied(sources: list[dict[str, Any]], looks: dict[str, pa.Table]) -> dict[str, Any]:
    """video_id -> (pictures by which each look is known as a copy's, the original's video_id).

    Of copies the one with most pixels is the original, then the one with most bytes.
    """
    known = [source for source in sources if source["video_id"] in looks]
    known.sort(key=lambda s: (-s["width"] * s["height"], -s["num_bytes"], s["uri"]))
    found = find_copies(
        [
            Looks(*(mine[name].to_numpy() for name in ("time_s", "phash", "phash_seen")))
            for mine in (looks[source["video_id"]] for source in known)
        ]
    )
    result = {}
    for source, (pictures, which) in zip(known, found, strict=True):
        originals, counts = np.unique(which[which >= 0], return_counts=True)
        if len(originals):
            original = known[int(originals[counts.argmax()])]["video_id"]
            result[source["video_id"]] = pictures, original
    return result


def _stretches(
    source: dict[str, Any], looks: pa.Table, reasons: list[str | None]
) -> list[dict[str, Any]]:
    """Neighbouring stretches with one verdict joined; what lies before the first look is judged
    with it only if that is the first frame.
    """
    rows = looks.select(["frame", "pts", "time_s"]).to_pylist()
    begin = {"frame": 0, "pts": None, "time_s": source["start_s"]}
    if rows[0]["frame"] == 0:
        rows[0] = begin
    else:
        rows, reasons = [begin, *rows], [None, *reasons]
    end = {"frame": source["num_frames"], "pts": None, "time_s": source["end_s"]}
    edges = [*rows, end]
    return [
        {
            "start_frame": edges[i]["frame"],
            "end_frame": edges[j]["frame"],
            "start_pts": edges[i]["pts"],
            "end_pts": edges[j]["pts"],
            "start_s": edges[i]["time_s"],
            "end_s": edges[j]["time_s"],
            "reject": reasons[i],
        }
        for i, j in _runs(reasons)
    ]


def _runs(values: Sequence[Any]) -> list[tuple[int, int]]:
    """[start, end) of each stretch of equal neighbours."""
    changes = [i for i in range(1, len(values)) if values[i - 1] != values[i]]
    edges = [0, *changes, len(values)] if len(values) else [0]
    return list(itertools.pairwise(edges))


# -- units -----------------------------------------------------------------------------------------


def units(stage: Triage, *, data: str) -> list[Unit]:
    """All sources as one unit: copies are told by comparing them."""
    reads = {"first_look": FIRST_LOOK_COLUMNS, "looks": LOOK_COLUMNS}
    return pipeline.unit_of_dataset(stage, data=data, counted="first_look", reads=reads)


FIRST_LOOK_COLUMNS = [
    *("uri", "video_id", "num_bytes", "width", "height", "num_frames"),
    *("start_s", "end_s", "untriaged"),
]
LOOK_COLUMNS = [
    *(
        "video_id",
        "pts",
        "frame",
        "time_s",
        "length_s",
        "change_pct",
        "local_change_pct",
        "coded_pct",
    ),
    *("largest_packet_pct", "second_packet_pct", "early_packet_pct", "is_due"),
    *("phash", "phash_seen"),
    *(column for column in COLUMNS if column not in ("still_s", "duplicate_pictures")),
]
