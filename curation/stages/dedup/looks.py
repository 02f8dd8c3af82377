"""The hashes of all clips as flat arrays, from the columns that the meter writes."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Looks:
    """The looks of N clips, end to end."""

    start_N: np.ndarray
    """Place of each clip's first look on the grid."""
    first_N1: np.ndarray
    """Clip i has the looks first[i] to first[i + 1]."""
    scene_L: np.ndarray
    change_L: np.ndarray
    contrast_L: np.ndarray
    energy_L: np.ndarray
    centre_contrast_L: np.ndarray
    centre_energy_L: np.ndarray
    first_part_N1: np.ndarray
    middle_scene_P: np.ndarray
    middle_change_P: np.ndarray
    centre_scene_P: np.ndarray
    centre_change_P: np.ndarray

    @property
    def num_clips(self) -> int:
        return len(self.start_N)

    def count(self, clips: np.ndarray) -> np.ndarray:
        return self.first_N1[clips + 1] - self.first_N1[clips]


def read_looks(clips: pa.Table) -> Looks:
    """From the columns that the meter writes."""
    scene_L, first_N1 = _flat(clips["phash"], "<u8")
    change_L, _ = _flat(clips["phash_change"], "<u8")
    seen_L4, _ = _flat(clips["phash_seen"], "u1")
    parts_P4, first_part_N1 = _flat(clips["phash_parts"], "<u8")
    start = clips["phash_start_look"].fill_null(0).to_numpy()
    # views: a dataset's hashes fill gigabytes
    contrast, energy, centre_contrast, centre_energy = (seen_L4[i::4] for i in range(4))
    middle, middle_change, centre, centre_change = (parts_P4[i::4] for i in range(4))
    return Looks(
        start_N=start,
        first_N1=first_N1,
        scene_L=scene_L,
        change_L=change_L,
        contrast_L=contrast,
        energy_L=energy,
        centre_contrast_L=centre_contrast,
        centre_energy_L=centre_energy,
        first_part_N1=first_part_N1 // 4,
        middle_scene_P=middle,
        middle_change_P=middle_change,
        centre_scene_P=centre,
        centre_change_P=centre_change,
    )


def _flat(column: pa.ChunkedArray, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """All values' bytes as one array, and where each row's begin; null is a row without."""
    item = np.dtype(dtype).itemsize
    parts, sizes = [], [np.zeros(1, np.int64)]
    for chunk in column.chunks:
        chunk = chunk.cast(pa.large_binary()).fill_null(b"")
        offsets = np.frombuffer(chunk.buffers()[1], np.int64)[chunk.offset :][: len(chunk) + 1]
        data = chunk.buffers()[2]
        if len(chunk) and data is not None:
            parts.append(np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]].view(dtype))
        sizes.append(np.diff(offsets) // item)
    flat = parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, dtype), *parts])
    return flat, np.cumsum(np.concatenate(sizes))
