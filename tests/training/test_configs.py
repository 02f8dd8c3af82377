"""Every YAML in configs/training parses, and begins with the command that runs it."""

from pathlib import Path

import pytest
import yaml

from training.__main__ import main

REPOSITORY = Path(__file__).parents[2]
CONFIGS = sorted((REPOSITORY / "configs" / "training").glob("*.yaml"))


def configs_of(path: Path) -> list[str]:
    """The --config arguments of the command in its first line: an overlay names its base."""
    words = path.read_text().splitlines()[0].split()
    named = [words[number + 1] for number, word in enumerate(words) if word == "--config"]
    return [f"--config={REPOSITORY / name}" for name in named]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_it_parses(
    path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["training"])  # LightningCLI warns where both are given
    with pytest.raises(SystemExit) as end:
        main(["fit", *configs_of(path), "--print_config"])
    assert end.value.code == 0
    merged = yaml.safe_load(capsys.readouterr().out)
    assert merged["trainer"]["max_steps"] > 0
    devices = int(merged["trainer"]["devices"]) if merged["trainer"]["devices"] != "auto" else 1
    packs = merged["data"]["init_args"]["packs_per_step"]
    assert packs % devices == 0, (packs, devices)
    if (mix := merged["data"]["init_args"]["caption_mix"]) is not None:
        assert sum(mix.values()) == pytest.approx(1)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_its_first_line_is_the_command(path: Path) -> None:
    relative = path.relative_to(REPOSITORY)
    first = path.read_text().splitlines()[0]
    assert first.startswith("# python -m training fit --config ")
    assert f"--config={REPOSITORY / relative}" in configs_of(path)
