"""A pass that begins in the middle sees, but for its first frames, what one from the start sees."""

from collections.abc import Iterator
from typing import Any

import pytest

from curation.meters import METERS
from curation.video.picture import Picture, small_planes, small_size
from tests.curation.meters.feeding import feed, frame_of
from tests.videos import pan

FPS = 24.0
LUMAS = list(pan(2, 60, height=180, width=320, step_px=2)[..., 1])


def from_frame(start: int) -> Iterator[Picture]:
    """What a pass that begins there shows, numbered and timed as in the whole."""
    before = None
    for i in range(start, len(LUMAS)):
        frame = frame_of(LUMAS[i])
        planes = small_planes(frame, size=small_size(frame.width, frame.height), rotation=0)
        picture = Picture(i, i / FPS, planes, before=before, frame=frame)
        yield picture
        before = picture


@pytest.mark.parametrize("meter", METERS)
def test_rows_do_not_depend_on_where_a_pass_began(meter: Any) -> None:
    whole = feed(meter(), from_frame(0))
    part = feed(meter(), from_frame(7))
    assert len(part)
    after = 10  # three frames into the second pass
    expected, found = whole[whole["frame"] >= after], part[part["frame"] >= after]
    assert found.tobytes() == expected.tobytes()
