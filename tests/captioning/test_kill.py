"""A captioning run killed with all its processes while answers come in."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from captioning.answers import ANSWERS
from curation import storage
from tests.captioning.test_describe import captions, clip_ids, dataset, write_filter
from tests.curation.killing import kill_when, wait_until_gone

__all__ = ["dataset"]  # a fixture
KEPT = 3


def num_kept(data: Path) -> int:
    files = storage.list_files(str(data / "answers"), ".parquet")
    return storage.read_tables(files).num_rows if files else 0


def test_what_was_answered_is_not_asked_again(
    dataset: Path, chat_server: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    ids = [c for unit in ("boat", "trap", "bare", "none") for c in clip_ids(dataset, unit)]
    write_filter(dataset, dict.fromkeys(ids, True))
    command = [sys.executable, "-m", "captioning", "caption", "--data", str(dataset)]
    command += ["--sources", "[vlm]", "--vlm.model", chat_server.model, "--vlm.structured", "false"]
    command += ["--server.base_urls", f"[{chat_server.url}]", "--workers", "1"]
    chat_server.script = lambda n, request: {"hang": n >= KEPT}
    first = subprocess.Popen(command)
    # all of them are on their way, and the answers that came are on the disk
    started = kill_when(first, lambda: num_kept(dataset) == KEPT, whole=True)
    asked = len(chat_server.requests)
    chat_server.script = lambda n, request: {}
    subprocess.run(command, check=True)
    assert len(chat_server.requests) == asked + len(ids) - KEPT
    assert {row["caption"] for row in captions(dataset).values()} == {chat_server.good}
    (file,) = storage.list_files(str(dataset / "answers"), ".parquet")  # joined at the end
    assert storage.read_table(file).num_rows == len(ids)
    assert storage.read_table(file).schema.names == ANSWERS.names
    wait_until_gone(started)
