"""The verdict, and that the proof builds the network of its config."""

import json
from pathlib import Path

import pytest
import yaml

from training.prove.run import Bars, Prove, build, judge, prove

ROOT = Path(__file__).parents[3]

LEARNED = {"colour": 1.0, "shape": 0.95, "direction": 0.95, "joint": 0.9, "future_error": 0.02}
CHANCE = {"colour": 0.36, "shape": 0.30, "direction": 0.2, "joint": 0.0, "future_error": 0.09}


def rows(**changed: dict[str, float]) -> dict[str, dict[str, float]]:
    names = ("text dropped", "shuffled captions", "zero learning rate")
    return {"trained": LEARNED, **dict.fromkeys(names, CHANCE)} | {
        name.replace("_", " "): row for name, row in changed.items()
    }


def test_what_learned_passes_and_every_bar_can_fail() -> None:
    assert all(judge(rows(), 0.01, bars=Bars()).values())
    assert not all(judge(rows(), 0.03, bars=Bars()).values())
    for name, value in (("colour", 0.9), ("shape", 0.8), ("direction", 0.8), ("future_error", 0.1)):
        assert not all(judge(rows(trained=LEARNED | {name: value}), 0.01, bars=Bars()).values())


def test_a_control_that_learns_fails_the_proof() -> None:
    for control in ("text_dropped", "shuffled_captions", "zero_learning_rate"):
        for name in ("colour", "shape", "direction"):
            learned = CHANCE | {name: 0.9}
            assert not all(judge(rows(**{control: learned}), 0.01, bars=Bars()).values())


@pytest.mark.slow
def test_the_whole_proof_in_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every part, from films to the verdict, which is no after two steps."""
    monkeypatch.chdir(ROOT)
    config = yaml.safe_load((ROOT / Prove.config).read_text())
    config["trainer"]["max_steps"] = 2
    small = tmp_path / "small.yaml"
    small.write_text(yaml.safe_dump(config))
    how = Prove(
        output=f"{tmp_path}/out", config=str(small), films=1, control_steps=1, prompts=36, futures=2
    )
    assert not prove(how)
    found = json.loads((tmp_path / "out" / "prove.json").read_text())
    assert set(found["rows"]) == set(rows())
    assert not found["verdict"]["colour >= 0.95"]
    assert found["verdict"]["zero learning rate: colour <= 0.48"]
    assert (tmp_path / "out" / "run" / "samples" / "contact_sheet.png").exists()


def test_an_earlier_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(ValueError, match="holds an earlier run, expected a new folder: remove it"):
        prove(Prove(output=str(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_network_is_that_of_the_config() -> None:
    module = build(Prove())
    assert module.grid.counts(4, 12, 12) == (4, 3, 3)
    assert (module.text_drop, module.text_drop_given) == (0.1, 0.5)
