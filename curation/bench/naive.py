"""What the same footage costs the usual way: one tool after the other, each decoding again.

PySceneDetect's adaptive detector finds the shots, ffmpeg writes each to a file (re-encoded, or
copied), and each file is read again for optical flow at two pictures a second (OpenCV) and for
three pictures (decord): the steps that public pipelines have in common. One thread everywhere. The
steps measure less than our pass does; nothing is added to even that out.
"""

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import scenedetect
from scenedetect import VideoOpenFailure

from curation.bench.clock import cpu_s
from curation.meters.keyframes import POSITIONS
from curation.video.read import read_frames

T = TypeVar("T")
CUTS = {"encode": "re-encoded", "copy": "copied"}
"""How clips are cut, and the word for it."""
FLOW_PICTURES_PER_S = 2
FLOW_SIZE_PX = 256, 144
# as OpenCV's tutorial on dense flow has them
FARNEBACK = {"pyr_scale": 0.5, "levels": 3, "winsize": 15, "iterations": 3}
FARNEBACK |= {"poly_n": 5, "poly_sigma": 1.2, "flags": 0}
ENCODER = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "22")


def naive(path: str, *, stream: int) -> dict[str, dict[str, float]]:
    """CPU seconds by step, by how clips are cut; empty where a tool gives up on the file."""
    cv2.setNumThreads(1)
    spent: dict[str, dict[str, float]] = {}
    try:
        found: dict[str, float] = {}
        shots = _timed(found, "detect", lambda: detect(path))
        for cut in CUTS:
            spent[cut] = found | _after_detection(path, shots, stream=stream, cut=cut)
    except (VideoOpenFailure, subprocess.CalledProcessError, ValueError):
        return {}
    return spent


def _after_detection(
    path: str, shots: list[tuple[float, float]], *, stream: int, cut: str
) -> dict[str, float]:
    spent: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="dailies-") as folder:
        names = [Path(folder) / f"{i}.mkv" for i in range(len(shots))]

        def write() -> None:
            for clip, (begin, end) in zip(names, shots, strict=True):
                write_clip(path, clip, begin, end, stream=stream, cut=cut)

        _timed(spent, "cut", write)
        _timed(spent, "flow", lambda: [flow(clip) for clip in names])
        _timed(spent, "pictures", lambda: [few_pictures(clip) for clip in names])
    return spent


def _timed(spent: dict[str, float], name: str, step: Callable[[], T]) -> T:
    before = cpu_s()
    result = step()
    spent[name] = cpu_s() - before
    return result


def detect(path: str) -> list[tuple[float, float]]:
    """(begin, end) of each shot in seconds; the whole file where there is no cut."""
    shots = scenedetect.detect(path, scenedetect.AdaptiveDetector(), start_in_scene=True)
    return [(begin.seconds, end.seconds) for begin, end in shots]


def write_clip(path: str, clip: Path, begin: float, end: float, *, stream: int, cut: str) -> None:
    how = ENCODER if cut == "encode" else ("-c", "copy")
    command = ["ffmpeg", "-v", "quiet", "-threads", "1", "-ss", str(begin), "-i", path]
    command += ["-map", f"0:{stream}", "-t", str(end - begin), *how, "-threads", "1", str(clip)]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True)


def flow(clip: Path) -> float:
    """Mean length of Farneback's vectors between pictures half a second apart."""
    capture, speeds, before, due_s = cv2.VideoCapture(str(clip)), [], None, 0.0
    fps = capture.get(cv2.CAP_PROP_FPS) or 25.0
    index = -1
    while capture.grab():
        index += 1
        if index / fps < due_s:
            continue
        due_s = index / fps + 1 / FLOW_PICTURES_PER_S
        gray = cv2.cvtColor(cv2.resize(capture.retrieve()[1], FLOW_SIZE_PX), cv2.COLOR_BGR2GRAY)
        if before is not None:
            vectors = cv2.calcOpticalFlowFarneback(before, gray, np.empty(0), **FARNEBACK)
            speeds.append(float(np.hypot(vectors[..., 0], vectors[..., 1]).mean()))
        before = gray
    capture.release()
    return float(np.mean(speeds)) if speeds else 0.0


def few_pictures(clip: Path) -> list[bytes]:
    """Three pictures as JPEG."""
    capture = cv2.VideoCapture(str(clip))
    length = max(1, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    capture.release()
    indices = sorted({round(position * (length - 1)) for position in POSITIONS})
    pictures = read_frames(clip, indices=indices)
    return [cv2.imencode(".jpg", picture)[1].tobytes() for picture in pictures]
