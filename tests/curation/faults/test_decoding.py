"""Broken and hostile files, each decoded in a process of its own: refused or decoded, no more."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from curation.bench.damage import DAMAGE, variants
from curation.bench.faults import attempt, damaged
from curation.bench.hostile import write_hostile
from tests.videos import pan, write_video

URL = "http://127.0.0.1:9/x.mp4"
SLOW = {"many times 8192.gif", "one frame again and again.mp4"}
"""Files that keep a decoder busy for minutes."""
LARGE = {"8192.h264", "8192.png", "millions of samples.mp4", "megabytes of comment.png"}
REFUSED = {
    "30000.png": "no_frames",
    "30000.jpg": "no_frames",
    "30000.bmp": "no_frames",
    "65535.gif": "no_frames",
    "external alias.mov": "no_frames",
    "reference movie.mov": "no_video_stream",
    "empty moov.mp4": "no_video_stream",
    "no moov.mp4": "not_media",
    "boxes in boxes.mp4": "not_media",
    "millions of samples.mp4": "no_frames",
    "ticks of centuries.mkv": "not_media",
    "thousands of streams.mp4": "not_media",
} | dict.fromkeys(
    ("hls of a file.mp4", "hls of a url.mp4", "hls with a key.mp4", "master hls.mp4", "concat.mp4",
     "concat of a url.mp4", "dash.mp4", "session.mp4", "reference.mov", "list.asf"),
    "not_media",
)  # fmt: skip
WHOLE = {
    "attachments.mkv", "linked segments.mkv", "a matrix of zeros.mp4", "turned by no number.mkv",
    "stamps that jump.mkv", "stamps from the end of time.mkv", "stamps that go back.mkv",
    "stamps that stand still.mkv", "packets of nothing.mkv", "shown in the past.mp4",
    "pixels as wide as the sea.mp4", "no duration.mkv", "ticks of nothing.mkv",
}  # fmt: skip
"""Files of which every frame can be had, whatever else they say."""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("hostile")
    secret = write_video(base / "secret.mp4", pan(1, 5))
    return {path.name: path for path in write_hostile(base / "files", secret=secret, url=URL)}


def test_hostile_files_end_in_a_reason_and_not_in_a_crash(hostile: dict[str, Path]) -> None:
    found = {
        name: attempt(path, limit_s=1 if name in SLOW else 30) for name, path in hostile.items()
    }
    codes = {name: outcome.code for name, outcome in found.items()}
    assert not [f"{name}: {code}" for name, code in codes.items() if re.match("esc|cra", code)]
    assert {name for name, code in codes.items() if code == "deadline"} == SLOW
    assert {codes[name] for name in LARGE} == {"decoded", "no_frames"}
    assert {name: codes[name] for name in REFUSED} == REFUSED
    assert {name: found[name].num_frames for name in WHOLE} == dict.fromkeys(WHOLE, 12)
    assert max(outcome.rss_mb for outcome in found.values()) < 4500, "the limit on memory held"


def test_a_file_that_needs_more_memory_than_it_may_have_is_told_apart(
    hostile: dict[str, Path],
) -> None:
    path = hostile["8192.h264"]  # 100 MB a frame, and as many as it likes: decoded with 4 GB
    assert attempt(path, gb=0.3, limit_s=30).code == "no_memory"


def test_nothing_but_the_file_itself_is_opened(hostile: dict[str, Path], tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    files = [str(path) for name, path in hostile.items() if name not in SLOW | LARGE]
    script = (
        "import sys, contextlib, os, pathlib\n"
        "from curation.bench.faults import decode\n"
        "from curation.video import VideoError\n"
        "def all():\n"
        "    for path in sys.argv[1:]:\n"
        "        with contextlib.suppress(VideoError): decode(pathlib.Path(path))\n"
        "all()\n"  # imports and libraries that open files of their own once
        "with contextlib.suppress(OSError): os.open('/all that again', os.O_RDONLY)\n"
        "all()\n"
    )
    log = tmp_path / "calls"
    calls = "trace=open,openat,openat2,creat,socket,connect,execve,fork,vfork"
    done = subprocess.run(
        ["strace", "-f", "-s", "4096", "-e", calls, "-o", str(log)]
        + [sys.executable, "-c", script, *files],
        capture_output=True,
        text=True,
    )
    if "PTRACE" in done.stderr:
        pytest.skip("strace is not permitted here")
    assert done.returncode == 0, done.stderr[-2000:]
    lines = log.read_text().rpartition("/all that again")[2].splitlines()[1:]
    calls_made = [line for line in lines if re.search(r"\d+ +\w+\(", line)]
    opened = [re.search(r'openat\(AT_FDCWD, "([^"]*)"', line) for line in calls_made]
    assert all(opened), [line for line, match in zip(calls_made, opened, strict=True) if not match]
    assert [match[1] for match in opened if match] == files


def test_damage_is_the_same_for_the_same_seed_and_always_damage() -> None:
    data = bytes(range(256)) * 40
    one, two = ([*variants(data, seed=seed, each=5)] for seed in (1, 2))
    assert one == [*variants(data, seed=1, each=5)]
    assert len(one) == 5 * len(DAMAGE) and len({name for name, _ in one}) == len(one)
    assert sum(a[1] != b[1] for a, b in zip(one, two, strict=True)) > 0.9 * len(one)
    assert all(broken != data for _, broken in one)


def test_damaged_files_are_decoded_or_refused(tmp_path: Path) -> None:
    frames = pan(1, 24, height=64, width=96)
    good = [
        write_video(tmp_path / "a.mp4", frames, options={"g": "8"}),
        write_video(
            tmp_path / "b.mkv", frames, codec="libvpx-vp9", options={"deadline": "realtime"}
        ),
        write_video(tmp_path / "c.avi", frames, codec="mpeg4"),
        write_video(tmp_path / "d.ts", frames, format="mpegts"),
        write_video(tmp_path / "e.mov", frames, codec="mjpeg", pixel_format="yuvj420p"),
    ]
    (tmp_path / "damaged").mkdir()
    found = {
        path.name: attempt(path, limit_s=30)
        for path in damaged(good, tmp_path / "damaged", seed=20261121, each=4)
    }
    assert len(found) == 4 * len(DAMAGE) * len(good)
    wrong = re.compile("escaped|crashed|deadline")
    assert not [f"{name}: {o.code}" for name, o in found.items() if wrong.match(o.code)]
    assert sum(outcome.code == "decoded" for outcome in found.values()) > len(found) / 2
