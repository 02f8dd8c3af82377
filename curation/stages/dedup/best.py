"""Which of several clips that show the same is worth keeping.

Sound before rejected, failed or damaged ones, as later rules would drop those anyway; then those
without a logo or a line of text; then by worth, in octaves: a clip with twice as much of anything
is one octave better.

    pixels    inside bars, and less once more for the bars, which are in the way
    detail    four times the octaves of sharpness: enlarging to twice the pixels takes 0.33 of an
              octave off the sharpness (median over 35 real videos), so that what was enlarged is
              behind what it was made from, and each further coding takes some 0.05
    frames    that differ from the one before: longer clips and those of more frames per second
    bits      a twentieth of the octaves of bits per pixel, in bits of H.264: a generous encoder
              adds nothing to what it was given

An original that was coded again at more bits than it had is not always told from its copy, which
then shows the same.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MARKED_PCT = 0.5  # of the frame: the smallest logos; single letters of noise stay below
SHARPNESS_PCT = 45.0  # of usual footage, where nothing was sharp enough to measure
BITS = 0.05  # per pixel, of usual footage, where the container does not tell
DETAIL, FRAMES, RATE = 4.0, 1.0, 0.05  # octaves of worth per octave
H264_BITS = {
    # bits that H.264 needs for what one of theirs shows: Ohm et al. 2012 (IEEE TCSVT 22:12), for
    # entertainment
    **{"hevc": 1.55, "mpeg4": 0.55, "h263": 0.53, "mpeg2video": 0.45},
    # roughly, since published comparisons differ
    **{"av1": 1.8, "vp9": 1.3, "vp8": 0.7, "theora": 0.45, "mpeg1video": 0.4},
    # each picture for itself: MJPEG took 7 and 15 times the bits at the same SSIM on two videos
    **{"mjpeg": 0.1, "prores": 0.1, "dnxhd": 0.1, "dvvideo": 0.1},
}


def best_first(clips: pa.Table, *, codecs: pa.ChunkedArray) -> np.ndarray:
    """(N,) the clips' rows from the one most worth keeping; equal ones by clip_id."""
    unsound = pc.or_(pc.is_valid(clips["error"]), pc.is_valid(clips["reject"]))
    damaged = pc.greater(pc.fill_null(clips["corrupt_frames"], 0), 0)
    marked = pc.greater(pc.fill_null(clips["overlay_pct"], 0), MARKED_PCT)
    return np.lexsort(
        (
            clips["clip_id"].to_numpy(),
            -worth(clips, codecs=codecs),
            marked.to_numpy(),
            damaged.to_numpy(),
            unsound.to_numpy(),
        )
    )


def worth(clips: pa.Table, *, codecs: pa.ChunkedArray) -> np.ndarray:
    """(N,) octaves."""
    pixels = _numbers(clips["width"], 0) * _numbers(clips["height"], 0)
    # borders in whole percent: a bright line's flicker at an edge is no border
    inside = 1 - np.round(_numbers(clips["border_pct"], 0)) / 100
    frames = _numbers(clips["num_frames"], 0) * (
        1 - _numbers(clips["duplicate_frames_pct"], 0) / 100
    )
    sharpness = _numbers(clips["sharpness_pct"], SHARPNESS_PCT) / 100
    bits = _numbers(clips["bits_per_pixel"], BITS) * h264_bits(codecs)
    octaves = [
        np.log2(np.maximum(what, 1e-6)) for what in (pixels * inside**2, sharpness, frames, bits)
    ]
    return octaves[0] + DETAIL * octaves[1] + FRAMES * octaves[2] + RATE * octaves[3]


def h264_bits(codecs: pa.ChunkedArray) -> np.ndarray:
    """(N,) by codec; 1 where it is not known."""
    names = pa.array(H264_BITS, pa.string())
    known = pa.array(H264_BITS.values(), pa.float64())
    return known.take(pc.index_in(codecs, value_set=names)).fill_null(1.0).to_numpy()


def _numbers(column: pa.ChunkedArray, missing: float) -> np.ndarray:
    return column.cast(pa.float64()).fill_null(missing).to_numpy()
