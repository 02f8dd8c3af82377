"""The command line: every shipped config parses, and a mistake gets one sentence."""

from pathlib import Path

import pytest

from curation.__main__ import main, parser

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "curation").rglob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_every_config_parses_and_says_how_it_is_run(path: Path) -> None:
    assert path.read_text().startswith("# make ")
    args = parser().parse_args(["filter", "--config", str(path), "--data", "x"])
    given = parser().instantiate(args)
    assert given.filter.rules or given.triage.rules or given.targets.targets


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (["spilt", "--data", "x"], 2, "'spilt' is not a stage; expected one or more of split,"),
        (["split", "--data", "x", "--split.maxs", "3"], 2, "--split.maxs"),
        (["split", "--data", "x", "--split.max_s", "long"], 2, "split.max_s"),
        (["split", "--data", "x", "--split.max_s", "-1"], 2, "expected max_s > 0"),
        (["split", "--data", "x"], 1, "--footage is missing"),
        (["filter", "--data", "x", "--workers", "0"], 1, "expected at least 1 (make: WORKERS=)"),
        (["split", "--data", "/tmp/a/b", "--footage", "/tmp/a"], 1, "lies inside FOOTAGE='/tmp/a'"),
        (
            [
                "filter",
                "--data",
                "x",
                "--filter.rules",
                '[{"name": "r", "column": "boarder_pct", "max": 1}]',
            ],
            1,
            "the nearest are border_pct",
        ),
        (["filter"], 1, "--data is missing"),
        (["filter", "--data", "/nowhere/x"], 1, "filter reads the table 'clips', which"),
        (["split", "--data", "x", "--footage", "/nowhere"], 1, "FOOTAGE='/nowhere' holds no files"),
        (["split", "--data", "x", "--config", "/nowhere.yaml"], 2, "nowhere.yaml"),
    ],
)
def test_a_mistake_gets_one_sentence(
    words: list[str], status: int, sentence: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = [str(tmp_path / "data") if word == "x" else word for word in words]
    assert main(words) == status
    said = capsys.readouterr().err.strip()
    assert sentence in said and "Traceback" not in said and len(said.splitlines()) == 1


def test_a_misspelt_dataset_is_not_made(tmp_path: Path) -> None:
    assert main(["filter", "--data", str(tmp_path / "typo")]) == 1
    assert not (tmp_path / "typo").exists()
