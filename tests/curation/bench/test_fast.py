"""What the fast profile changes is counted right, on known differences."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curation.bench.fast import cut_f1, drifts, matches, psnr_db, thumbs_psnr_db
from curation.bench.passes import curate
from curation.stages.scan import Scan


def cuts(*frames: int) -> dict[str, pa.Table]:
    starts, kinds = [0, *frames], ["edge", *["cut"] * len(frames)]
    return {"clips": pa.table({"start_frame": starts, "transition_in": kinds})}


@pytest.mark.parametrize(
    ("truth", "guess", "count"),
    [([10, 20], [11, 19], 2), ([10], [12], 0), ([10], [9, 10, 11], 1), ([10, 11], [10], 1)],
)
def test_a_cut_matches_one_other_at_most_a_frame_away(
    truth: list[int], guess: list[int], count: int
) -> None:
    assert matches(truth, guess) == count


def test_f1_over_several_files() -> None:
    exact, fast = [cuts(10, 20), cuts(30)], [cuts(11), cuts(30, 60)]
    assert cut_f1(exact, fast) == (pytest.approx(2 * 2 / (3 + 3)), 3)
    assert cut_f1([cuts()], [cuts()]) == (1.0, 0)


def test_psnr() -> None:
    a = np.zeros((8, 8, 3), np.uint8)
    assert psnr_db(a, a) == math.inf
    assert psnr_db(a, a + 1) == pytest.approx(48.13, abs=0.01)


def test_a_profile_beside_itself_and_beside_another(film: Path) -> None:
    exact = curate(str(film), knobs=Scan())
    assert cut_f1([exact], [exact]) == (1.0, 5)
    assert set(thumbs_psnr_db([exact], [exact])) == {math.inf}
    assert {d.max_change for d in drifts([exact], [exact])} == {0.0}

    brighter = exact["clips"].to_pylist()
    for clip in brighter:
        clip["luma_mean_pct"] += 2
    brighter[0]["luma_mean_pct"] += 6
    other = exact | {"clips": pa.Table.from_pylist(brighter, schema=exact["clips"].schema)}
    (luma,) = [d for d in drifts([exact], [other]) if d.column == "luma_mean_pct"]
    assert (luma.clips, luma.mean_change, luma.max_change) == (
        6,
        pytest.approx(3, abs=1e-4),
        pytest.approx(8, abs=1e-4),
    )


def test_the_fast_profile_keeps_the_cuts_and_moves_the_pictures(film: Path) -> None:
    exact, fast = (curate(str(film), knobs=Scan(profile=p)) for p in ("exact", "fast"))
    assert cut_f1([exact], [fast])[0] == 1.0
    psnr = thumbs_psnr_db([exact], [fast])
    assert len(psnr) >= 10 and 25 < min(psnr) < math.inf
