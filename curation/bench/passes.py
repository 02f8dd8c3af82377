"""All that a source costs between its file and its clips, in this process: without Ray, and without
writing anything.
"""

import math
import time
from collections import Counter, defaultdict
from dataclasses import dataclass

import pyarrow as pa

from curation import storage
from curation.meters import METERS
from curation.meters.cuts import Cuts
from curation.meters.keyframes import Thumbs
from curation.meters.record import Log
from curation.stage import Tables
from curation.stages import inventory, scan
from curation.stages.inventory import Inventory
from curation.stages.scan import Scan
from curation.stages.split import Split
from curation.video.batch import batches, pictured
from curation.video.cut import Look, Order, make_clip, open_reel
from curation.video.cut.clip import refusal
from curation.video.decode import DecodePass
from curation.video.picture import fingerprint


def listed(footage: str) -> pa.Table:
    """The table sources of a folder or file."""
    stage = Inventory()
    units = inventory.units(stage, footage=footage)
    return pa.concat_tables(
        stage.run({"rows": unit.rows})["sources"] for unit in units if unit.rows is not None
    )


def curate(uri: str, *, knobs: Scan) -> Tables:
    """The tables of scan and split for one source."""
    units = scan.units(knobs, sources=listed(uri))
    scanned = [knobs.run({"rows": unit.rows}) for unit in units if unit.rows is not None]
    joined = {name: pa.concat_tables([tables[name] for tables in scanned]) for name in Scan.writes}
    return joined | Split().run(joined)


def cut_all(uri: str, tables: Tables) -> Counter[str]:
    """Stream copies of every clip, made and thrown away: how many were copied and how many could
    not be ("refused").
    """
    facts = tables["segments"].to_pylist()[0]
    made: Counter[str] = Counter()
    with storage.open_source(uri) as source, open_reel(source) as reel:
        for clip in tables["clips"].to_pylist():
            order = Order(
                clip["start_frame"],
                clip["end_frame"],
                fps=clip["fps"],
                look=Look((clip["width"], clip["height"])),
                pixel_format=facts["pixel_format"],
                rotation=facts["rotation"],
                sample_aspect=facts["sample_aspect"],
                first_luma=clip["first_luma"],
                last_luma=clip["last_luma"],
                mode="copy",
                verify="packets",
            )
            route = "refused" if refusal(reel, order) else make_clip(reel, order).route
            made[route] += 1
    return made


# -- what each part of the pass costs --------------------------------------------------------------


@dataclass
class Laps:
    """CPU seconds of this thread by the name of what they went into."""

    spent_s: dict[str, float]
    last: int = 0

    def begin(self) -> None:
        self.last = time.thread_time_ns()

    def lap(self, name: str) -> None:
        now = time.thread_time_ns()
        self.spent_s[name] += (now - self.last) / 1e9
        self.last = time.thread_time_ns()


def laps(uri: str) -> dict[str, float]:
    """CPU seconds by part of the pass: the loop of `scan.scan` with a clock in it.

    The change to the frame before, which several meters share, is asked for first, so that it
    counts for none of them.
    """
    spent = Laps(defaultdict(float))
    spent.begin()
    with storage.open_source(uri) as source:
        decode = DecodePass(source)
        cuts, logs, thumbs = Cuts(detector="network"), [Log(m()) for m in METERS], Thumbs(decode)
        parts = {"change": lambda picture: picture.change}
        parts |= {type(log.meter).__name__.lower(): log.update for log in logs}
        parts |= {"cuts": cuts.update, "thumbs": thumbs.update}
        parts |= {"fingerprint": lambda picture: fingerprint(picture.luma)}
        before = None
        for frames in batches(decode, max_source_s=math.inf):
            spent.lap("decode")
            pictures = pictured(frames, decode, before=before)
            spent.lap("small planes")
            for name, see in parts.items():
                for picture in pictures:
                    see(picture)
                spent.lap(name)
            before = pictures[-1]
        spent.lap("decode")
        cuts.scores()
        spent.lap("cuts")
        for log in logs:
            log.array()
        spent.lap("records")
    return spent.spent_s
