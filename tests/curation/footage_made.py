"""A small folder of footage with everything in it that real ones hold, and the commands that curate
it: what the end-to-end tests share.

Known by construction: 8 files, one of them the twin of another, one broken, one a sidecar, one an
image; four videos of 7 shots, one of which is black, and two long enough to be divided.
"""

import functools
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curation import storage
from tests.videos import pan, texture, write_video

ROOT = Path(__file__).parents[2]
CONFIG = """\
split:
  max_s: 1.5
filter:
  rules:
    - {name: black, column: black_frames_pct, max: 20}
    - {name: no_caption, column: caption, if_null: reject}
shard:
  short_sides: [48, 64, 96]
  frame_counts: [1, 13, 17, 25, 33, 49]
  samples_per_shard: 2
"""
CAPTION_CONFIG = "sources: [sidecar, measured]\n"
TWO, TWIN, BROKEN, STILL = "two shots.mp4", "zz twin of two shots.mp4", "broken.mp4", "still.jpg"
GARDEN = 'sub/Gärten "nachts" & <i>庭 #1 50%.mkv'
GARDEN_TEXT = 'sub/Gärten "nachts" & <i>庭 #1 50%.txt'
SIDECAR = 'Ein Garten, "ruhig" & weit; <b>kein</b> Ton. 庭'
LONG, OLD = "long.mp4", "old.avi"
FAST = {"preset": "ultrafast", "crf": "20"}


def make_footage(folder: Path) -> Path:
    """Write the footage; returns the folder."""
    make_two(folder / TWO, seed=1)
    shutil.copy(folder / TWO, folder / TWIN)
    black = np.zeros((30, 64, 112, 3), np.uint8)
    shots = [pan(3, 30, height=64, width=112), black, pan(4, 40, height=64, width=112)]
    write_video(folder / GARDEN, np.concatenate(shots), fps=25, options=FAST)
    (folder / GARDEN_TEXT).write_text(SIDECAR, encoding="utf-8")
    write_video(folder / LONG, pan(5, 100, height=96, width=72), fps=30, options=FAST)
    cartoon = pan(6, 30, height=48, width=64)
    write_video(folder / OLD, cartoon, fps=15, codec="mpeg4", options={"g": "10"})
    write_image(folder / STILL, seed=7)
    (folder / BROKEN).write_bytes((folder / TWO).read_bytes()[:200])
    return folder


def make_two(path: Path, *, seed: int) -> Path:
    """Two shots of 36 frames; a key frame at the cut and nowhere else, so that both can be
    copied.
    """
    shots = [pan(100 * seed + i, 36, height=96, width=128) for i in range(2)]
    keys = {"g": "36", "keyint_min": "36", "sc_threshold": "0"}
    return write_video(path, np.concatenate(shots), options=FAST | keys)


def write_image(path: Path, *, seed: int) -> Path:
    import cv2

    assert cv2.imwrite(str(path), texture(seed, height=96, width=128))
    return path


@dataclass(frozen=True)
class Job:
    """Footage, where its dataset lies, and the configs that make it."""

    footage: str
    data: str
    configs: str

    def split(self) -> list[str]:
        return self._curation("split", "--footage", self.footage)

    def judge(self) -> list[str]:
        return self._curation("aesthetics", "dedup", "filter")

    def caption(self) -> list[str]:
        config = f"{self.configs}/captioning.yaml"
        return ["captioning", "caption", "--config", config, "--data", self.data]

    def shard(self) -> list[str]:
        return self._curation("filter", "shard")

    def commands(self) -> list[list[str]]:
        """What `make curate` does."""
        first = self._curation("split", *self.judge()[1:4], "--footage", self.footage)
        return [first, self.caption(), self.shard()]

    def everything(self) -> list[str]:
        """All of curation in one command, without captions."""
        return self._curation("split", *self.judge()[1:4], "shard", "--footage", self.footage)

    def _curation(self, *words: str) -> list[str]:
        config = ["--config", f"{self.configs}/curation.yaml"]
        return ["curation", *words, *config, "--data", self.data]


def write_configs(folder: Path, *, curation: str = CONFIG) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "curation.yaml").write_text(curation)
    (folder / "captioning.yaml").write_text(CAPTION_CONFIG)
    return str(folder)


@functools.cache
def reference(base: Path) -> Job:
    """The dataset of the made footage, from one undisturbed run; made once per test session.

    Ask for the fixture ray_session beside it.
    """
    footage = make_footage(base / "made footage")
    job = Job(str(footage), str(base / "reference"), write_configs(base / "configs"))
    run_here(*job.commands())
    return job


def run_here(*commands: list[str]) -> None:
    """Run command lines in this process, on the Ray that it has."""
    from captioning.__main__ import main as captioning
    from curation.__main__ import main as curation

    programs = {"curation": curation, "captioning": captioning}
    for program, *arguments in commands:
        assert programs[program](arguments) == 0, (program, arguments)


def start(command: list[str], *, log: Path, env: dict[str, str] | None = None) -> subprocess.Popen:
    """Start a command line as a user would, in a process and with a Ray of its own."""
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | (env or {})
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )


def run_alone(command: list[str], *, log: Path, env: dict[str, str] | None = None) -> None:
    code = start(command, log=log, env=env).wait(timeout=300)
    assert code == 0, f"{command} ended with {code}:\n{log.read_text()[-4000:]}"


def contents(data: str, *, without: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Relative path -> bytes of every file under tables/ and shards/, temporary ones included."""
    found = {}
    for folder in ("tables", "shards"):
        for path in Path(data, folder).rglob("*"):
            name = path.relative_to(data).as_posix()
            if path.is_file() and not name.startswith(without):
                found[name] = path.read_bytes()
    return found


def stamps(data: str) -> dict[str, tuple[int, int]]:
    """Relative path -> (inode, modification time): changes when a file is written again."""
    found = {}
    for name in contents(data):
        stat = Path(data, name).stat()
        found[name] = stat.st_ino, stat.st_mtime_ns
    return found


def assert_same(data: str, other: str, *, without: tuple[str, ...] = ()) -> None:
    """Every file under tables/ and shards/ is there in both, byte for byte."""
    one, two = contents(data, without=without), contents(other, without=without)
    assert not (names := sorted(one.keys() ^ two.keys())), f"only in one of them: {names}"
    assert not (names := [n for n in one if one[n] != two[n]]), f"other bytes: {names}"


def rows(data: str, table: str) -> list[dict]:
    return storage.read_table(storage.join(data, "tables", table)).to_pylist()


def record(data: str, stage: str) -> dict:
    import json

    return json.loads(storage.read_bytes(storage.join(data, "runs", f"{stage}.json")))
