"""What is saved beside every output, so that it can be made again: seed, config, commit."""

import subprocess
from pathlib import Path


def git_commit() -> str | None:
    """The commit of the checkout that this runs from; None for an installed package."""
    folder = Path(__file__).parent
    answer = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=False
    )
    return answer.stdout.strip() if answer.returncode == 0 else None
