"""Which keyframes of a clip are shown."""

from curation.keyframes import spread, within_budget


def test_the_frames_shown_are_evenly_spread() -> None:
    frames = [{"frame": i} for i in range(10)]

    def shown(of: int, count: int) -> list[int]:
        return [row["frame"] for row in spread(frames[:of], count=count)]

    assert shown(10, 4) == [0, 3, 6, 9]
    assert shown(5, 3) == [0, 2, 4]
    assert shown(4, 3) == [0, 2, 3]
    assert shown(2, 3) == shown(2, 6) == [0, 1]
    assert shown(1, 3) == [0]
    assert shown(3, 6) == [0, 1, 2]


def test_pictures_keep_within_their_budget() -> None:
    frames = {c: [{"position": p, "jpeg": b"x" * 10} for p in (0, 0.5, 1)] for c in "abc"}
    shown = within_budget(frames, max_bytes=45)
    # the middle one of each first, then what is left goes to the first clip
    assert {c: [row["position"] for row in rows] for c, rows in shown.items()} == {
        "a": [0, 0.5],
        "b": [0.5],
        "c": [0.5],
    }
