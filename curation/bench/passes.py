"""All that a source costs between its file and its clips, in this process: without Ray, and without
writing anything.
"""

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
from curation.video.cut import Look, Order, make_clip, open_reel
from curation.video.cut.clip import refusal
from curation.video.decode import DecodePass
from curation.video.picture import Picture, fingerprint, small_planes, small_size


def listed(uri: str) -> pa.Table:
    """The row of the table sources."""
    (unit,) = inventory.units(Inventory(), footage=uri)
    assert unit.rows is not None
    return Inventory().run({"rows": unit.rows})["sources"]


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

    What several meters share is asked for first, so that it counts for none of them. Reading the
    clock twice for each part adds half a microsecond to it.
    """
    spent = Laps(defaultdict(float))
    spent.begin()
    with storage.open_source(uri) as source:
        decode = DecodePass(source)
        cuts, seen = Cuts(detector="network"), [Log(meter()) for meter in METERS]
        thumbs, before, size = Thumbs(), None, (0, 0)
        for frame in decode:
            spent.lap("decode")
            size = size if frame.index else small_size(*decode.display_size())
            planes = small_planes(frame.picture, size=size, rotation=decode.rotation)
            picture = Picture(
                frame.index,
                frame.time_s,
                planes,
                before=before,
                frame=frame.picture,
                is_corrupt=decode.corrupt[-1],
            )
            spent.lap("small planes")
            _ = picture.histogram, picture.change
            spent.lap("histogram, change")
            for log in seen:
                log.update(picture)
                spent.lap(type(log.meter).__name__.lower())
            cuts.update(picture)
            spent.lap("cuts")
            thumbs.update(picture, decode)
            spent.lap("thumbs")
            fingerprint(picture.luma)
            spent.lap("fingerprint")
            before = picture
        spent.lap("decode")
        cuts.scores()
        spent.lap("cuts")
        for log in seen:
            log.array()
        spent.lap("records")
    return spent.spent_s
