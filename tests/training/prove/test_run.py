"""The verdict, and that the proof builds the network of its config."""

from training.prove.run import Bars, Prove, build, judge

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


def test_the_network_is_that_of_the_config() -> None:
    module = build(Prove())
    assert module.grid.counts(4, 12, 12) == (4, 3, 3)
    assert (module.text_drop, module.text_drop_given) == (0.1, 0.5)
