"""Whether exact clips are exact: every frame of every clip, in every reader.

Clips of the mixed set, whose sources are made here, and of footage: there the shots that a
cuts.json beside it names (or the whole file), and from each a piece whose ends lie anywhere.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from curation import storage
from curation.bench import mixed
from curation.bench.known import COPIED, ENCODED, Known
from curation.bench.readers import Reader, installed
from curation.video import VideoError

MAX_FRAMES = 250  # of a clip; longer shots are divided, as split does
MIN_FRAMES = 5  # split's shortest shot is 6
MIN_SIDE_PX = 73  # decord cannot read some widths up to 72, which are below every bucket
SPANS = [(0, 40), (40, 85), (85, 123), (13, 77), (33, 118), (60, 61), (25, 90), (62, 89)]
"""Of the mixed set's film: shots, pieces of them, across them, one frame, an edge of one frame."""


@dataclass
class Exact:
    """What became of the clips of one source."""

    clips: int = 0
    routes: Counter[str] = field(default_factory=Counter)
    frames: int = 0
    frames_encoded: int = 0
    right: Counter[str] = field(default_factory=Counter)
    """Reader -> clips of which it gives the planned frames and no others."""
    wrong: list[str] = field(default_factory=list)

    def add(self, other: "Exact") -> None:
        self.clips += other.clips
        self.frames += other.frames
        self.frames_encoded += other.frames_encoded
        self.routes += other.routes
        self.right += other.right
        self.wrong += other.wrong


def exact(footage: str | None = None) -> bool:
    """Print routes, frames encoded and how many clips each reader reads exactly; True: all."""
    cv2.setNumThreads(1)
    readers = installed()
    heads = "".join(f"{name:>11}" for name in readers)
    print(f"{'source':<34}{'clips':>6}{'copy':>6}{'smart':>6}{'enc.':>6}{'encoded':>10}{heads}")
    total = Exact()
    for name, path, spans in sources(footage):
        found = measure(path, spans, readers)
        if found.clips:
            print(row(name, found, readers), flush=True)
            total.add(found)
    print(row("all", total, readers))
    for sentence in total.wrong:
        print(sentence)
    return not total.wrong


def row(name: str, found: Exact, readers: dict[str, Reader]) -> str:
    routes = "".join(f"{found.routes[route]:>6}" for route in ("copy", "smart", "encode"))
    share = f"{100 * found.frames_encoded / max(1, found.frames):>8.1f} %"
    agree = "".join(f"{f'{found.right[reader]}/{found.clips}':>11}" for reader in readers)
    return f"{name[-33:]:<34}{found.clips:>6}{routes}{share}{agree}"


Spans = list[tuple[int, int]]


def sources(footage: str | None) -> Iterator[tuple[str, Path, Spans | list[int]]]:
    """(name, file, spans of its clips or the frames at which shots begin and end)."""
    frames = mixed.film()
    with tempfile.TemporaryDirectory() as folder:
        for name, source in (mixed.SOURCES | mixed.MORE).items():
            yield name, mixed.make(Path(folder) / "source", source, frames), SPANS
    for source in storage.list_sources(footage) if footage else []:
        name = source.uri.rpartition("/")[2]
        bounds = _bounds(source.uri.removesuffix(name) + "cuts.json").get(name, [])
        with storage.local_copy(source.uri) as path:
            yield name, path, bounds


def _bounds(url: str) -> dict[str, list[int]]:
    if not storage.exists(url):
        return {}
    known = json.loads(storage.read_bytes(url))
    return {
        name: sorted({*shots["cuts"], *(end for pair in shots["gradual"] for end in pair)})
        for name, shots in known.items()
    }


def measure(path: Path, spans: Spans | list[int], readers: dict[str, Reader]) -> Exact:
    found = Exact()
    try:
        known = Known(path)
    except VideoError:
        return found
    if known.is_image or min(known.decode.display_size()) < MIN_SIDE_PX:
        return found
    views = _views(known, readers) if known.decode.probe.is_hdr else {}
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        for start, end in _clips(spans, known.num_frames):
            _check(found, known, start, end, Path(file.name), readers, views)
    return found


def _views(known: Known, readers: dict[str, Reader]) -> dict[str, list[np.ndarray]]:
    """The source by each reader that gives all of its frames: of high dynamic range each has its
    own idea (OpenCV's is 15 of 255 off the others').
    """
    found = {name: read(known.path) for name, read in readers.items()}
    return {name: frames for name, frames in found.items() if len(frames) == known.num_frames}


def _clips(spans: Spans | list[int], num_frames: int) -> Spans:
    """Spans as they are; between bounds: shots, and of each a piece whose ends lie anywhere."""
    if spans is SPANS:
        return [(start, end) for start, end in SPANS if end <= num_frames]
    inner = [bound for bound in spans if isinstance(bound, int) and 0 < bound < num_frames]
    bounds = [0, *inner, num_frames]
    clips = []
    for first, last in zip(bounds, bounds[1:], strict=False):
        for start in range(first, last, MAX_FRAMES):
            end = min(start + MAX_FRAMES, last)
            length = end - start
            clips += [(start, end), (start + length // 5, end - length // 7)]
    return [(start, end) for start, end in clips if end - start >= MIN_FRAMES]


def _check(
    found: Exact,
    known: Known,
    start: int,
    end: int,
    file: Path,
    readers: dict[str, Reader],
    views: dict[str, list[np.ndarray]],
) -> None:
    where = f"{known.path.name} [{start}, {end})"
    found.clips += 1
    found.frames += end - start
    try:
        clip = known.cut(start, end)
    except VideoError as error:
        found.wrong.append(f"{where}: {error}")
        return
    found.routes[clip.route] += 1
    found.frames_encoded += clip.frames_encoded
    file.write_bytes(clip.data)
    for name, read in readers.items():
        limit = COPIED if clip.route == "copy" else ENCODED
        try:
            wrong = known.wrong(read(file), start, end, limit=limit, view=views.get(name))
        except Exception as error:  # readers have exceptions of their own
            wrong = f"{type(error).__name__}: {error}"
        if wrong:
            found.wrong.append(f"{where} by {clip.route} in {name}: {wrong}")
        else:
            found.right[name] += 1
