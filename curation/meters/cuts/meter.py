"""Interim scores by PySceneDetect and a blend test."""

from typing import Any

import cv2
import numpy as np

from curation.meters.cuts.scores import SCORE, Detector
from curation.meters.cuts.transitions import Transition, runs
from curation.video.picture import Picture

BLEND_SIZE_PX = (32, 18)
BLEND_FRAMES = (8, 16, 32)  # windows; a longer transition holds windows that are linear themselves
BLEND_CHANGE = 12.0  # of 255: the ends of a window differ at least this much on average
BLEND_SPREAD = 0.5  # the median pixel changes at least this much of the mean one
BLEND_RESIDUAL = 0.1  # of that change: how far the pictures between may lie from the straight line


class Cuts:
    """Fed every frame once, in order; `scores()` afterwards."""

    def __init__(self, *, detector: Detector) -> None:
        self.detector = make_detector("adaptive" if detector == "network" else detector)
        self.has_gradual = detector == "network"
        self.found: list[int] = []
        self.tiny: list[np.ndarray] = []

    def update(self, picture: Picture) -> None:
        at = len(self.tiny)
        self.found += [c.frame_num for c in self.detector.process_frame(_code(at), picture.bgr)]
        self.tiny.append(cv2.resize(picture.bgr, BLEND_SIZE_PX, interpolation=cv2.INTER_AREA))

    def scores(self) -> np.ndarray:
        """SCORE rows, one per frame."""
        last = _code(len(self.tiny) - 1)
        found = sorted({*self.found, *(c.frame_num for c in self.detector.post_process(last))})
        rows = np.zeros(len(self.tiny), SCORE)
        rows["cut"][found] = 1
        if self.has_gradual:
            for g in blends(np.stack(self.tiny), cuts=found):
                rows["gradual"][g.start : g.end] = 1
        return rows


def make_detector(name: Detector) -> Any:
    """A PySceneDetect detector with its own defaults."""
    from scenedetect import AdaptiveDetector, ContentDetector, HashDetector, HistogramDetector

    return {
        "adaptive": AdaptiveDetector,
        "content": ContentDetector,
        "histogram": HistogramDetector,
        "hash": HashDetector,
    }[name](min_scene_len=6)


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
    return [_trim(run, step_T) for run in runs(inside)]


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


def _trim(run: Transition, step_T: np.ndarray) -> Transition:
    """Without the still frames that a window longer than the transition took in at either end."""
    steps = step_T[run.start : run.end]
    moving = np.flatnonzero(steps > 0.25 * np.median(steps))
    return (
        Transition(run.start + int(moving[0]), run.start + int(moving[-1]) + 1)
        if len(moving)
        else run
    )
