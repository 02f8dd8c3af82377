"""What cutting costs, by where the cuts fall, and what of it is proof.

Every file is cut twice: at its own keyframes, where clips are copied, and anywhere, at clips of
CLIP_FRAMES that follow each other from an odd frame on. The unit is `ffmpeg -threads 1 -f null -`
over the same frames (the file's figure times their share of it).
"""

import shutil
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import get_args

import cv2

from curation import storage
from curation.bench.clock import bare_decode, paired
from curation.video import DecodePass, VideoError
from curation.video.cut import Look, Order, Reel, Verify, make_clip, open_reel
from curation.video.decode import mean_fps
from curation.video.picture import fingerprint, small_planes, small_size

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
    if shutil.which("ffmpeg") is None:
        raise ValueError(
            "the command ffmpeg is not installed; bench compares with it: apt-get install ffmpeg"
        )
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
        known = _Known(path)
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
    return {name: known.cut(path, found, rounds=rounds) for name, found in spans.items() if found}


class _Known:
    """A source decoded once, as split knows it."""

    def __init__(self, path: Path) -> None:
        self.decode = DecodePass(path)
        self.prints: list[bytes] = []
        for frame in self.decode:
            size = small_size(*self.decode.display_size())
            planes = small_planes(frame.picture, size=size, rotation=self.decode.rotation)
            self.prints.append(fingerprint(planes[0]))
        self.num_frames = len(self.prints)
        self.edges_s = self.decode.edges_s()
        self.num_bytes = path.stat().st_size
        self.stream = self.decode.probe.stream_index
        self.is_image = self.decode.probe.image_extension is not None

    def order(self, start: int, end: int, verify: Verify) -> Order:
        probe, decode = self.decode.probe, self.decode
        is_interlaced = 2 * decode.interlaced_frames > self.num_frames
        return Order(
            start=start,
            end=end,
            fps=mean_fps(self.edges_s[start : end + 1]),
            look=Look(decode.display_size(), is_interlaced=is_interlaced),
            pixel_format=probe.pixel_format,
            rotation=decode.rotation,
            sample_aspect=probe.sample_aspect,
            first_luma=self.prints[start],
            last_luma=self.prints[end - 1],
            verify=verify,
        )

    def cut(self, path: Path, spans: list[tuple[int, int]], *, rounds: int) -> Cutting:
        """Each strength of proof beside a decode, scaled to the frames that were cut."""
        made: dict[str, Cutting] = {}

        def case(verify: Verify) -> None:
            with open_reel(path) as reel:
                if reel.packets is None or reel.packets.num_frames != self.num_frames:
                    reel.packets = None
                made[verify] = self._cut(reel, spans, verify)

        cases = {verify: partial(case, verify) for verify in get_args(Verify)}
        unit = partial(bare_decode, str(path), stream=self.stream)
        costs = paired(unit, cases, rounds=rounds)
        found = made["decode"]
        share = found.frames / self.num_frames
        found.bytes_in = round(self.num_bytes * share)
        found.decode_s = costs["decode"].unit_s * share
        found.cut_s = {name: cost.ratio * costs["decode"].unit_s for name, cost in costs.items()}
        return found

    def _cut(self, reel: Reel, spans: list[tuple[int, int]], verify: Verify) -> Cutting:
        found = Cutting()
        for start, end in spans:
            found.frames += end - start
            try:
                clip = make_clip(reel, self.order(start, end, verify))
            except VideoError:
                found.failed += 1
                continue
            found.routes[clip.route] += 1
            found.frames_encoded += clip.frames_encoded
            found.bytes_out += len(clip.data)
        return found
