from pathlib import Path

import pytest

from curation.dataset import git_commit


def test_no_git_means_no_commit_and_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit() is None
