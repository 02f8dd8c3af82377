"""What cutting costs, by where the cuts fall, and what of it is proof.

Every file is cut twice: at its own keyframes, where clips are copied, and anywhere, at clips of
CLIP_FRAMES that follow each other from an odd frame on. The unit is `ffmpeg -threads 1 -f null -`
over the same frames (the file's figure times their share of it).
"""

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import get_args

import cv2

from curation import storage
from curation.bench.clock import bare_decode, paired, require_ffmpeg
from curation.bench.known import Known
from curation.video import VideoError
from curation.video.cut import Verify, make_clip, open_reel

CLIP_FRAMES = 97  # a common bucket: about 4 s
FIRST_FRAME = 7  # no keyframe but by chance


@dataclass
class Cutting:
    """What one way of cutting gave."""

    routes: Counter[str] = field(default_factory=Counter)
    frames: int = 0
    frames_encoded: int = 0
    bytes_in: int = 0
    """Of the source, by the share of its frames."""
    bytes_out: int = 0
    failed: int = 0
    decode_s: float = 0.0
    """CPU seconds of bare decoding of the same frames."""
    cut_s: dict[str, float] = field(default_factory=dict)
    """Proof -> CPU seconds of cutting with it."""

    def add(self, other: "Cutting") -> None:
        self.routes += other.routes
        for name in ("frames", "frames_encoded", "bytes_in", "bytes_out", "failed", "decode_s"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name, seconds in other.cut_s.items():
            self.cut_s[name] = self.cut_s.get(name, 0.0) + seconds


def bench(footage: str, *, rounds: int = 3) -> None:
    """Print routes, share encoded, bytes and costs per file and in all."""
    require_ffmpeg()
    cv2.setNumThreads(1)
    totals = {"keyframes": Cutting(), "anywhere": Cutting()}
    heads = " ".join(f"{verify:>8}" for verify in get_args(Verify))
    columns = f"{'copied':>7}{'smart':>6}{'enc.':>5}{'fail':>5}{'encoded':>9}{'bytes':>7}"
    print(f"{'file':<34}{'cuts':<10}{columns}  cost / bare decode: {heads}")
    for source in storage.list_sources(footage):
        with storage.local_copy(source.uri) as path:
            for name, found in measure(path, rounds=rounds).items():
                print(row(source.uri.rpartition("/")[2], name, found))
                totals[name].add(found)
    for name, total in totals.items():
        print(row("all", name, total))


def row(file: str, name: str, found: Cutting) -> str:
    routes = found.routes
    counts = f"{routes['copy']:>7}{routes['smart']:>6}{routes['encode']:>5}{found.failed:>5}"
    if not found.frames:
        return f"{file[-32:]:<34}{name:<10}{counts}"
    encoded, size = found.frames_encoded / found.frames, found.bytes_out / found.bytes_in
    share = f"{100 * encoded:>7.1f} %{size:>7.2f}"
    costs = " ".join(f"{found.cut_s[v] / found.decode_s:>8.3f}" for v in get_args(Verify))
    return f"{file[-32:]:<34}{name:<10}{counts}{share}  {'':<20}{costs}"


def measure(path: Path, *, rounds: int) -> dict[str, Cutting]:
    """How the clips were cut -> what it gave; {} for a file that is no video."""
    try:
        known = Known(path, with_pictures=False)
        with open_reel(path) as reel:
            if known.is_image or reel.packets is None:
                return {}
            entries = sorted(entry.frame for entry in reel.packets.entries if entry.frame >= 0)
    except VideoError:
        return {}
    ends = [*entries[1:], known.num_frames]
    anywhere = range(FIRST_FRAME, known.num_frames - CLIP_FRAMES + 1, CLIP_FRAMES)
    spans = {
        "keyframes": list(zip(entries, ends, strict=True)),
        "anywhere": [(start, start + CLIP_FRAMES) for start in anywhere],
    }
    return {name: _beside(known, found, rounds=rounds) for name, found in spans.items() if found}


def _beside(known: Known, spans: list[tuple[int, int]], *, rounds: int) -> Cutting:
    """Each strength of proof beside a decode, scaled to the frames that were cut."""
    made: dict[str, Cutting] = {}

    def case(verify: Verify) -> None:
        made[verify] = _cut(known, spans, verify)

    cases = {verify: partial(case, verify) for verify in get_args(Verify)}
    stream = known.decode.probe.stream_index
    unit = partial(bare_decode, str(known.path), stream=stream)
    costs = paired(unit, cases, rounds=rounds)
    found = made["decode"]
    share = found.frames / known.num_frames
    found.bytes_in = round(known.path.stat().st_size * share)
    found.decode_s = costs["decode"].unit_s * share
    found.cut_s = {name: cost.ratio * costs["decode"].unit_s for name, cost in costs.items()}
    return found


def _cut(known: Known, spans: list[tuple[int, int]], verify: Verify) -> Cutting:
    found = Cutting()
    with known.reel() as reel:
        for start, end in spans:
            found.frames += end - start
            try:
                clip = make_clip(reel, known.order(start, end, verify=verify))
            except VideoError:
                found.failed += 1
                continue
            found.routes[clip.route] += 1
            found.frames_encoded += clip.frames_encoded
            found.bytes_out += len(clip.data)
    return found
