"""Where shots begin and end.

Hard cuts come from PySceneDetect's detectors, fed frame by frame from our pass instead of decoding
the file again. Gradual transitions come from a blend test: inside a dissolve or a fade every
picture is the weighted mean of the pictures around it (the linear model of Hampapur et al. 1994),
which neither a moving camera nor a moving subject gives. Wipes are not found.
"""

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np

from curation.video.picture import Picture

Detector = Literal["adaptive", "content", "histogram", "hash"]

BLEND_SIZE_PX = (32, 18)
BLEND_FRAMES = (8, 16, 32)  # windows; a longer transition holds windows that are linear themselves
BLEND_CHANGE = 12.0  # of 255: the ends of a window differ at least this much on average
BLEND_SPREAD = (
    0.5  # the median pixel changes at least this much of the mean one: not one object passing
)
BLEND_RESIDUAL = 0.1  # of that change: how far the pictures between may lie from the straight line


@dataclass(frozen=True)
class Transition:
    """Frames [start, end) that belong to no shot; start == end is a hard cut before that frame."""

    start: int
    end: int

    @property
    def kind(self) -> Literal["cut", "gradual"]:
        return "cut" if self.start == self.end else "gradual"


class Cuts:
    """Fed every frame once; `transitions()` afterwards."""

    def __init__(
        self, *, detector: Detector, threshold: float | None, min_shot_frames: int
    ) -> None:
        self.min_shot_frames = min_shot_frames
        self.detector = make_detector(
            detector, threshold=threshold, min_shot_frames=min_shot_frames
        )
        self.found: list[int] = []
        self.tiny: list[np.ndarray] = []

    def update(self, picture: Picture) -> None:
        self.found += [
            code.frame_num
            for code in self.detector.process_frame(_code(picture.index), picture.bgr)
        ]
        self.tiny.append(cv2.resize(picture.bgr, BLEND_SIZE_PX, interpolation=cv2.INTER_AREA))

    def transitions(self) -> list[Transition]:
        """In order of time, not overlapping; a hard cut reported inside a gradual transition is
        part of it.
        """
        self.found += [
            code.frame_num for code in self.detector.post_process(_code(len(self.tiny) - 1))
        ]
        gradual = blends(np.stack(self.tiny), cuts=sorted(self.found))
        hard = [Transition(frame, frame) for frame in sorted(set(self.found))]
        return join(gradual, hard, num_frames=len(self.tiny), min_shot_frames=self.min_shot_frames)


def join(
    gradual: list[Transition], hard: list[Transition], *, num_frames: int, min_shot_frames: int
) -> list[Transition]:
    """All transitions in order. What lies within min_shot_frames of a gradual one is part of it.

    A dissolve's first and last frames hardly differ from the shot's own, and a cut reported inside
    it is its effect.
    """
    spans = []
    for g in gradual:
        start = g.start if g.start >= min_shot_frames else 0
        end = g.end if num_frames - g.end >= min_shot_frames else num_frames
        if spans and start - spans[-1].end < min_shot_frames:
            start = spans.pop().start
        spans.append(Transition(start, end))
    for i, g in enumerate(spans):
        near = [
            c.start for c in hard if g.start - min_shot_frames < c.start < g.end + min_shot_frames
        ]
        spans[i] = Transition(min([g.start, *near]), max([g.end, *near]))
    apart = [c for c in hard if not any(g.start <= c.start <= g.end for g in spans)]
    return sorted(spans + apart, key=lambda t: t.start)


def make_detector(name: Detector, *, threshold: float | None, min_shot_frames: int) -> Any:
    """A PySceneDetect detector; threshold None keeps its own default."""
    from scenedetect import AdaptiveDetector, ContentDetector, HashDetector, HistogramDetector

    kind, knob = {
        "adaptive": (AdaptiveDetector, "adaptive_threshold"),
        "content": (ContentDetector, "threshold"),
        "histogram": (HistogramDetector, "threshold"),
        "hash": (HashDetector, "threshold"),
    }[name]
    knobs = {} if threshold is None else {knob: threshold}
    return kind(min_scene_len=min_shot_frames, **knobs)


def _code(frame: int) -> Any:
    from scenedetect import FrameTimecode

    return FrameTimecode(
        frame, fps=25.0
    )  # only the frame number is used; times come from the stamps


def blends(frames_THWC: np.ndarray, *, cuts: list[int]) -> list[Transition]:
    """Stretches of frames that are linear blends of the frames around them, from uint8 tiny
    pictures.

    A window that holds a hard cut is not looked at: the cut already explains the change.
    """
    num_frames = len(frames_THWC)
    flat_TP = frames_THWC.reshape(num_frames, -1)
    step_T = np.zeros(num_frames)  # step_T[t]: mean change from frame t-1 to t
    for t in range(1, num_frames):
        step_T[t] = cv2.norm(flat_TP[t], flat_TP[t - 1], cv2.NORM_L1) / flat_TP.shape[1]
    inside = np.zeros(num_frames, bool)
    is_cut = np.zeros(num_frames + 1, bool)
    is_cut[[c for c in cuts if c <= num_frames]] = True
    cuts_before = np.concatenate([[0], np.cumsum(is_cut)])
    for length in BLEND_FRAMES:
        for t in range(0, num_frames - length):
            if (
                cuts_before[t + length + 1] - cuts_before[t + 1]
                or step_T[t + 1 : t + length + 1].sum() < BLEND_CHANGE
            ):
                continue
            if is_blend(flat_TP[t : t + length + 1 : length // 4].astype(np.float32)):
                inside[t + 1 : t + length] = True
    return [_trim(run, step_T) for run in _runs(inside)]


def is_blend(frames_KP: np.ndarray) -> bool:
    """Whether K pictures at equal distances lie on the straight line from the first to the last.

    Their distances along the line need not be equal (fades ease in and out), only in order.
    """
    first, last = frames_KP[0], frames_KP[-1]
    change_P = last - first
    size_P = np.abs(change_P)
    if size_P.mean() < BLEND_CHANGE or np.median(size_P) < BLEND_SPREAD * size_P.mean():
        return False
    weights_K = (frames_KP[1:-1] - first) @ change_P / (change_P @ change_P)
    if not (np.diff(weights_K, prepend=0.0, append=1.0) > 0.05).all():
        return False
    line_KP = first + weights_K[:, None] * change_P
    residual = np.abs(frames_KP[1:-1] - line_KP).mean()
    return bool(residual < BLEND_RESIDUAL * size_P.mean())


def _runs(inside: np.ndarray) -> list[Transition]:
    changes = np.flatnonzero(np.diff(np.concatenate([[0], inside.astype(np.int8), [0]])))
    return [Transition(int(a), int(b)) for a, b in zip(changes[0::2], changes[1::2], strict=True)]


def _trim(run: Transition, step_T: np.ndarray) -> Transition:
    """Without the still frames that a window longer than the transition took in at either end."""
    steps = step_T[run.start : run.end]
    moving = np.flatnonzero(steps > 0.25 * np.median(steps))
    return (
        Transition(run.start + int(moving[0]), run.start + int(moving[-1]) + 1)
        if len(moving)
        else run
    )
