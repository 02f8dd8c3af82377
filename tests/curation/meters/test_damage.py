"""Damaged frames are those that the decoder marked."""

import pytest

from curation.meters.damage import Damage
from tests.curation.meters.feeding import feed, flat, pictures, read


def test_damaged_frames_are_counted_per_clip() -> None:
    meter = Damage()
    rows = feed(meter, pictures([flat(9)] * 6, corrupt=(1, 4, 5)))
    assert read(meter, rows, 0, 4) == {"corrupt_frames": 1, "corrupt_pct": 25.0}
    assert read(meter, rows, 4, 6) == {"corrupt_frames": 2, "corrupt_pct": 100.0}
    assert read(meter, rows, 2, 4)["corrupt_pct"] == pytest.approx(0)
