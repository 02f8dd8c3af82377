"""The detector as the decode pass feeds it."""

from typing import Any, Protocol

import numpy as np

from curation.meters.cuts import network, tiny
from curation.meters.cuts.scores import SCORE, Detector
from curation.video.picture import Picture

SHRINK_FRAMES = 64
"""Pictures kept at the pass's size before they are made tiny together."""


class Cuts:
    """Fed every frame of a segment in order; `scores()` after the last."""

    def __init__(self, *, detector: Detector) -> None:
        self.scorer: _Scorer = Network() if detector == "network" else PySceneDetect(detector)

    def update(self, picture: Picture) -> None:
        self.scorer.update(picture)

    def scores(self) -> np.ndarray:
        """SCORE rows, one per frame. The first and last frames count as repeated beyond the ends,
        so rows nearer than REACH to an end of a segment are right only at the end of a file.
        """
        return self.scorer.scores()


class _Scorer(Protocol):
    def update(self, picture: Picture) -> None: ...

    def scores(self) -> np.ndarray: ...


class Network:
    """Keeps 1.7 kB of each frame and looks at all of them at the end."""

    def __init__(self) -> None:
        self.waiting: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.corrupt: list[bool] = []

    def update(self, picture: Picture) -> None:
        # a damaged stream may change its size
        if self.waiting and picture.luma.shape != self.waiting[0][0].shape:
            self._shrink()
        self.waiting.append((picture.luma, picture.u, picture.v))
        self.corrupt.append(picture.is_corrupt)
        if len(self.waiting) == SHRINK_FRAMES:
            self._shrink()

    def _shrink(self) -> None:
        luma, u, v = (list(planes) for planes in zip(*self.waiting, strict=True))
        size = tiny.WIDTH_PX, tiny.HEIGHT_PX
        self.parts.append(
            (tiny.tiny(luma, size), tiny.tiny(u, tiny.CHROMA_PX), tiny.tiny(v, tiny.CHROMA_PX))
        )
        self.waiting = []

    def scores(self) -> np.ndarray:
        if self.waiting:
            self._shrink()
        if not self.parts:
            return np.zeros(0, SCORE)
        luma, u, v = (np.concatenate([part[i] for part in self.parts]) for i in range(3))
        found = network.probabilities(luma, u, v, weights=network.load())
        rows = np.zeros(len(luma), SCORE)
        rows["cut"], rows["gradual"], rows["blank"] = found[:, 0], found[:, 1], tiny.blank(luma)
        return without_damage(rows, np.array(self.corrupt))


def without_damage(rows: np.ndarray, corrupt_T: np.ndarray) -> np.ndarray:
    """The rows with nothing found on frames that the decoder calls corrupt, nor on the first whole
    one after them: what changes there is the damage, which other columns tell of.
    """
    damaged = corrupt_T.copy()
    damaged[1:] |= corrupt_T[:-1]
    rows["cut"][damaged] = 0
    rows["gradual"][damaged] = 0
    return rows


class PySceneDetect:
    """One of its detectors with its own defaults, fed from our pass; hard cuts only."""

    def __init__(self, name: Detector) -> None:
        from scenedetect import AdaptiveDetector, ContentDetector, HashDetector, HistogramDetector

        self.detector = {
            "adaptive": AdaptiveDetector,
            "content": ContentDetector,
            "histogram": HistogramDetector,
            "hash": HashDetector,
        }[name]()
        self.found: set[int] = set()
        self.num_frames = 0

    def update(self, picture: Picture) -> None:
        codes = self.detector.process_frame(_code(self.num_frames), picture.bgr)
        self.found |= {code.frame_num for code in codes}
        self.num_frames += 1

    def scores(self) -> np.ndarray:
        rows = np.zeros(self.num_frames, SCORE)
        if self.num_frames:
            codes = self.detector.post_process(_code(self.num_frames - 1))
            self.found |= {code.frame_num for code in codes}
            rows["cut"][sorted(self.found)] = 1
        return rows


def _code(frame: int) -> Any:
    from scenedetect import FrameTimecode

    return FrameTimecode(frame, fps=25.0)  # only the frame number is used; times are the pass's
