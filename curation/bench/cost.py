"""What the one pass costs: CPU seconds of split's scan relative to bare decoding of the same file.

The unit is `ffmpeg -threads 1 -i FILE -map 0:INDEX -f null -`, run between the scans, so that a
machine whose speed drifts gives the same ratio. It includes the start of the ffmpeg process (about
0.06 s): files of a second or two read too low. The scan runs in this process: its imports are paid
once per worker.
"""

import resource
import shutil
import statistics
import subprocess
import time
from dataclasses import dataclass

import cv2

from curation import storage
from curation.stages.split import Split, scan
from curation.video import VideoError

ROUNDS = 3


@dataclass(frozen=True)
class Cost:
    """One file's figures; CPU seconds are the median over the rounds."""

    name: str
    codec: str
    source_frames: int
    decoded_frames: int
    decode_s: float
    scan_s: float


def bench(footage: str, *, rounds: int = ROUNDS) -> None:
    """Print the ratio per file, per codec and in all."""
    if shutil.which("ffmpeg") is None:
        raise ValueError(
            "the command ffmpeg is not installed; bench compares with it: apt-get install ffmpeg"
        )
    costs = [cost for s in storage.list_sources(footage) if (cost := measure(s.uri, rounds=rounds))]
    if not costs:
        raise ValueError(f"FOOTAGE={footage!r} holds no video that can be decoded")
    heads = f"{'decode s':>9}{'pass s':>9}{'pass/decode':>13}{'decoded/source':>16}"
    print(f"{'file':<36}{'codec':<8}{heads}")
    for cost in costs:
        print(row(cost.name[-34:], [cost]))
    for codec in sorted({cost.codec for cost in costs}):
        print(row(f"all {codec}", [cost for cost in costs if cost.codec == codec]))
    print(row("all", costs))


def row(name: str, costs: list[Cost]) -> str:
    """A line of the table: sums, and ratios of sums."""
    decode_s, scan_s = sum(c.decode_s for c in costs), sum(c.scan_s for c in costs)
    frames = sum(c.decoded_frames for c in costs) / sum(c.source_frames for c in costs)
    codecs = {c.codec for c in costs}
    codec = codecs.pop() if len(codecs) == 1 else ""
    ratio = scan_s / decode_s
    return f"{name:<36}{codec:<8}{decode_s:>9.2f}{scan_s:>9.2f}{ratio:>13.2f}{frames:>16.3f}"


def measure(uri: str, *, rounds: int) -> Cost | None:
    """The costs of one file, or None where it is not a video that can be decoded."""
    cv2.setNumThreads(1)
    video = {"uri": uri, "video_id": "bench", "num_bytes": 0}
    with storage.local_copy(uri) as path:
        decodes, scans, table = [], [], None
        for _ in range(rounds):
            begin = time.process_time()
            try:
                table = scan(path, video, knobs=Split())["videos"].to_pylist()[0]
            except VideoError:
                return None
            scans.append(time.process_time() - begin)
            decodes.append(bare_decode_s(str(path), stream=table["stream_index"]))
    assert table is not None
    return Cost(
        name=uri.rpartition("/")[2],
        codec=table["codec"],
        source_frames=table["num_frames"],
        decoded_frames=table["decoded_frames"],
        decode_s=statistics.median(decodes),
        scan_s=statistics.median(scans),
    )


def bare_decode_s(path: str, *, stream: int) -> float:
    """CPU seconds of FFmpeg's own decoder on one thread, writing nothing."""
    command = ["ffmpeg", "-v", "quiet", "-threads", "1", "-i", path, "-map", f"0:{stream}"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*command, "-f", "null", "-"], stdin=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)
