"""The tiny pictures and what is measured between them: the network's input.

Every measure compares frames a fixed number of frames apart, per block of the picture, so that it
says how much changed and where, never what is seen. The whole segment is one tall image: a call to
OpenCV costs 1-2 microseconds however small the picture, and so it is paid once.
"""

import cv2
import numpy as np

WIDTH_PX, HEIGHT_PX = 48, 32
CHROMA_PX = 12, 8
BLOCKS = 6, 4
"""Columns and rows of blocks: 8 x 8 luma and 2 x 2 chroma pixels each."""
NUM_BLOCKS = BLOCKS[0] * BLOCKS[1]
LAGS = 1, 2, 4, 8, 16, 32
"""Frames between two compared pictures; doubling, so that sums of two of them reach any distance
within a factor of 1.5."""
FINE_LAGS = (1,)
BLEND_LAGS = 2, 4, 8, 16
BACK, AHEAD = max(LAGS), max(BLEND_LAGS)
"""Frames before and after on which a frame's measures depend."""
NUM_BLOCK_MEASURES = 3 * len(LAGS) + len(FINE_LAGS) + len(BLEND_LAGS) + 5
NUM_FRAME_MEASURES = 3 * len(LAGS)
QUANTILES = 24
BLANK_RANGE = 12  # levels of 255 between the darkest and the brightest pixel
STEPS_PER_LEVEL = 32
"""Half-size luma keeps 1/32 of a level: in dark scenes a cut changes blocks by less than one."""


def tiny(planes: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """uint8 (T, h, w) of T equal planes, stretched to size = (width, height)."""
    width, height = size
    num_frames = len(planes)
    x = np.concatenate(planes)
    # halving is exact and fast; the last step is between 1 and 2 times, where linear is fair
    while x.shape[1] >= 2 * width and x.shape[0] >= 2 * height * num_frames:
        if x.shape[1] % 2 or (x.shape[0] // num_frames) % 2:
            break
        x = cv2.resize(x, (x.shape[1] // 2, x.shape[0] // 2), interpolation=cv2.INTER_AREA)
    if x.shape != (height * num_frames, width):
        x = cv2.resize(x, (width, height * num_frames), interpolation=cv2.INTER_LINEAR)
    return x.reshape(num_frames, height, width)


def measures(
    luma_THW: np.ndarray, u_Thw: np.ndarray, v_Thw: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """float32 (T - BACK - AHEAD, blocks, measures) and (T - BACK - AHEAD, measures) of the frames
    that have BACK before and AHEAD after them.
    """
    num_frames = len(luma_THW) - BACK - AHEAD
    now = slice(BACK, BACK + num_frames)
    spreads = [spread(plane) for plane in (luma_THW[:, ::4, ::4], u_Thw, v_Thw)]
    full, u, v = in_steps(luma_THW), in_steps(u_Thw), in_steps(v_Thw)
    half = halved(full)
    low, high = local_range(half)
    chroma = np.concatenate([u, v], axis=2)
    blocks: list[np.ndarray] = []
    whole: list[np.ndarray] = []
    for lag in LAGS:
        then = slice(BACK - lag, BACK - lag + num_frames)
        blocks.append(difference(half[now], half[then]))
        blocks.append(outside(half[now], low[then], high[then]))
        uv = difference(chroma[now], chroma[then], width=2 * BLOCKS[0])
        blocks.append((uv[:, :, : BLOCKS[0]] + uv[:, :, BLOCKS[0] :]) / 2)
        whole += [np.abs(s[now] - s[then]).mean(1) for s in spreads]
    low, high = local_range(full)
    for lag in FINE_LAGS:
        then = slice(BACK - lag, BACK - lag + num_frames)
        blocks.append(outside(full[now], low[then], high[then]))
    for lag in BLEND_LAGS:
        ends = mean_of(half[BACK - lag :][:num_frames], half[BACK + lag :][:num_frames])
        blocks.append(difference(half[now], ends))
    change = [np.log1p(block) for block in blocks]
    levels = [
        block_means(half[now]) / 64 - 2,
        np.log1p(block_means(high_pass(full[now]))) - 1,
        np.log1p(block_means(high_pass(half[now]))) - 1,
        block_means(u[now]) / 32 - 4,
        block_means(v[now]) / 32 - 4,
    ]
    x_TBM = np.stack([m.reshape(num_frames, NUM_BLOCKS) for m in change + levels], axis=2)
    return x_TBM, np.log1p(np.stack(whole, axis=1))


def tall(frames_THW: np.ndarray) -> np.ndarray:
    """(T * H, W): the frames under each other."""
    return np.ascontiguousarray(frames_THW).reshape(-1, frames_THW.shape[2])


def in_steps(frames_THW: np.ndarray) -> np.ndarray:
    """uint16, in 1/32 of a level."""
    return np.multiply(frames_THW, STEPS_PER_LEVEL, dtype=np.uint16)


def halved(frames_THW: np.ndarray) -> np.ndarray:
    """(T, H / 2, W / 2) means of 2 x 2 pixels."""
    num_frames, height, width = frames_THW.shape
    size = width // 2, num_frames * height // 2
    half = cv2.resize(tall(frames_THW), size, interpolation=cv2.INTER_AREA)
    return half.reshape(num_frames, height // 2, width // 2)


def local_range(frames_THW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest value of each pixel's 3 x 3 neighbours, within its own frame."""
    row = np.ones((1, 3), np.uint8)
    found = []
    for along, across in ((cv2.erode, np.minimum), (cv2.dilate, np.maximum)):
        x = along(tall(frames_THW), row).reshape(frames_THW.shape)
        y = x.copy()
        across(y[:, 1:], x[:, :-1], out=y[:, 1:])
        across(y[:, :-1], x[:, 1:], out=y[:, :-1])
        found.append(y)
    return found[0], found[1]


def block_means(frames_THW: np.ndarray, *, width: int = BLOCKS[0]) -> np.ndarray:
    """float32 (T, rows, columns) of blocks, in levels."""
    num_frames = len(frames_THW)
    size = width, num_frames * BLOCKS[1]
    means = cv2.resize(tall(frames_THW), size, interpolation=cv2.INTER_AREA)
    return means.reshape(num_frames, BLOCKS[1], width) * np.float32(1 / STEPS_PER_LEVEL)


def difference(a_THW: np.ndarray, b_THW: np.ndarray, *, width: int = BLOCKS[0]) -> np.ndarray:
    """Mean absolute difference per block."""
    return block_means(cv2.absdiff(tall(a_THW), tall(b_THW)).reshape(a_THW.shape), width=width)


def outside(a_THW: np.ndarray, low_THW: np.ndarray, high_THW: np.ndarray) -> np.ndarray:
    """How far pixels lie outside the range that b's pixels have around them, mean per block: a
    difference that small motion does not make.
    """
    above = cv2.subtract(tall(a_THW), tall(high_THW))  # saturates at 0
    below = cv2.subtract(tall(low_THW), tall(a_THW))
    return block_means(cv2.max(above, below).reshape(a_THW.shape))


def mean_of(a_THW: np.ndarray, b_THW: np.ndarray) -> np.ndarray:
    return (a_THW + b_THW) >> 1  # 2 * 32 * 255 fits in 16 bits


def high_pass(frames_THW: np.ndarray) -> np.ndarray:
    """Absolute difference to the pixel on the left: what a blend of two pictures lowers."""
    x = np.ascontiguousarray(frames_THW)
    steps = np.zeros_like(x)
    steps.reshape(-1)[1:] = cv2.absdiff(x.reshape(-1)[1:], x.reshape(-1)[:-1]).reshape(-1)
    steps[:, :, 0] = 0
    return steps


def spread(frames_THW: np.ndarray) -> np.ndarray:
    """float32 (T, 24): the values of a picture's pixels in order, every fourth of them. The mean
    distance of two such rows is the earth mover's between the pictures' histograms, which motion
    hardly changes.
    """
    values = frames_THW.reshape(len(frames_THW), -1).astype(np.float32)  # NumPy sorts these fastest
    values.sort(axis=1)
    return values[:, :: values.shape[1] // QUANTILES]


def blank(luma_THW: np.ndarray) -> np.ndarray:
    """(T,) whether a picture is one flat tone, but for noise and bars of nearly the same tone."""
    values = luma_THW.reshape(len(luma_THW), -1)
    return np.ptp(values, axis=1) <= BLANK_RANGE
