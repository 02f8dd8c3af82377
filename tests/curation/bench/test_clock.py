"""CPU seconds count children too, and the ratio of two known loads comes out."""

import subprocess
import sys
import time

import pytest

from curation.bench.clock import cpu_s, cpu_s_of, paired


def spin(seconds: float) -> None:
    begin = time.process_time()
    while time.process_time() - begin < seconds:
        pass


def test_a_child_counts_and_sleep_does_not() -> None:
    child = "import time\nwhile time.process_time() < 0.3: pass"
    assert cpu_s_of(lambda: subprocess.run([sys.executable, "-c", child], check=True)) >= 0.3
    assert cpu_s_of(lambda: time.sleep(0.3)) < 0.1


def test_each_case_stands_between_two_units() -> None:
    order: list[str] = []

    def case(name: str, seconds: float) -> None:
        order.append(name)
        spin(seconds)

    before = cpu_s()
    found = paired(
        lambda: case("unit", 0.05),
        {"twice": lambda: case("twice", 0.1), "half": lambda: case("half", 0.025)},
        rounds=2,
    )
    assert order == ["unit", *["twice", "unit", "half", "unit"] * 2]
    assert found["twice"].ratio == pytest.approx(2, rel=0.1)
    assert found["half"].ratio == pytest.approx(0.5, rel=0.1)
    assert found["half"].unit_s == pytest.approx(0.05, rel=0.1)
    assert cpu_s() - before >= 0.5
