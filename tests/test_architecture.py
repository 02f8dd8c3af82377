"""Who may import whom (the packages meet only on disk), and what `import curation.clip` costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("curation", "captioning", "training")
TOP_OF_CURATION = {
    f"curation.{p.stem}" for p in (ROOT / "curation").iterdir() if p.suffix == ".py" or p.is_dir()
} - {f"curation.{name}" for name in ("stages", "meters", "audit", "bench", "demo", "__main__")}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Dotted names imported anywhere in a file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def importers(name: str) -> set[str]:
    """Files that import a library, relative to the root."""
    return {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in sources(package)
        if any(found == name or found.startswith(f"{name}.") for found in imports(path))
    }


@pytest.mark.parametrize("path", sources("curation"), ids=str)
def test_curation_imports_neither_captioning_nor_training(path: Path) -> None:
    assert not [n for n in imports(path) if n.split(".")[0] in ("captioning", "training")]


@pytest.mark.parametrize("path", sources("captioning") + sources("training"), ids=str)
def test_captioning_and_training_see_only_the_top_of_curation(path: Path) -> None:
    mine = path.relative_to(ROOT).parts[0]
    other = {"captioning": "training", "training": "captioning"}[mine]
    for name in imports(path):
        assert name.split(".")[0] != other, f"{path} imports {name}"
        if name.startswith("curation."):
            assert ".".join(name.split(".")[:2]) in TOP_OF_CURATION, f"{path} imports {name}"


def test_ray_is_imported_by_the_pipeline_alone() -> None:
    assert importers("ray") == {"curation/pipeline.py"}


def test_video_libraries_are_imported_where_video_is_opened_or_written() -> None:
    assert all(f.startswith(("curation/video/", "curation/bench/")) for f in importers("decord"))
    others = {f for f in importers("av") if not f.startswith("curation/video/")}
    # they make videos of their own
    makers = ("curation/demo/", "curation/bench/", "curation/meters/cuts/training/")
    assert all(f.startswith(makers) for f in others), others


def test_to_know_what_a_clip_is_costs_pyarrow_alone() -> None:
    code = "import sys, curation.clip; print(*{m.split('.')[0] for m in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    heavy = {"av", "cv2", "ray", "torch", "decord", "duckdb", "fsspec"}
    assert not set(loaded.stdout.split()) & heavy
