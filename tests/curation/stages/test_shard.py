"""Cutting small files made here: the route taken, and sources that are not what split read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.stages import inventory, shard, split
from curation.stages.inventory import Inventory
from curation.stages.shard import Shard
from curation.stages.split import Split
from tests.videos import pan, write_video


def clips_of(path: Path) -> list[dict[str, Any]]:
    """The clips of a file as `shard` is handed them."""
    listing, stage = Inventory(), Split()
    (found,) = inventory.units(listing, footage=str(path))
    (unit,) = split.units(stage, sources=listing.run({"rows": found.rows})["sources"])
    tables = stage.run({"rows": unit.rows})
    (video,) = tables["videos"].to_pylist()
    video["video_num_frames"] = video["num_frames"]
    handed = {"bucket": "144p_16x9_017f", "cut_hash": "h", "standing": None}
    return [
        {name: video.get(name) for name in shard.UNIT_ROWS.names}
        | {name: clip[name] for name in shard.UNIT_ROWS.names if name in clip}
        | handed
        | {"position": position}
        for position, clip in enumerate(tables["clips"].to_pylist())
    ]


def cut(clips: list[dict[str, Any]]) -> list[dict[str, Any]]:
    (unit,) = shard.units(Shard(), clips)
    return Shard().run({"rows": unit.rows})["shard"].to_pylist()


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Two shots in one group of pictures: one keyframe at the beginning, no B-frames."""
    frames = np.concatenate([pan(1, 30), pan(4, 30)])
    return write_video(
        tmp_path / "film.mp4", frames, options={"g": "999", "sc_threshold": "0", "bf": "0"}
    )


def test_a_clip_on_keyframes_is_copied_and_another_one_encoded(film: Path) -> None:
    rows = cut(clips_of(film))
    assert [row["route"] for row in rows] == ["copy", "encode"]
    assert rows[1]["route_reason"] == "cut not on closed keyframes"
    assert [row["frames_encoded"] for row in rows] == [0, 30]
    assert [row["num_frames"] for row in rows] == [30, 30]


def test_a_clip_without_a_bucket_is_rejected_and_not_cut(film: Path) -> None:
    first, second = clips_of(film)
    rows = cut([first | {"bucket": None}, second])
    assert (rows[0]["reject"], rows[0]["route"]) == ("no_bucket", None)
    assert (rows[1]["reject"], rows[1]["route"]) == (None, "encode")


def test_a_source_that_changed_is_told_and_not_cut(tmp_path: Path, film: Path) -> None:
    from PIL import Image

    clips = clips_of(film)
    write_video(film, pan(2, 30))
    assert cut(clips)[0]["error"].startswith("source_changed: ")
    photo = tmp_path / "photo.png"
    Image.fromarray(pan(1, 1)[0]).save(photo)
    clips = clips_of(photo)
    photo.write_bytes(photo.read_bytes()[:-1] + b"x")  # as long as before, other bytes
    assert cut(clips)[0]["error"].startswith("source_changed: ")


def test_a_source_that_is_gone_is_told(film: Path) -> None:
    clips = clips_of(film)
    film.unlink()
    assert {row["error"].partition(":")[0] for row in cut(clips)} == {"vanished"}


def test_a_clip_that_stands_is_not_cut_again(film: Path) -> None:
    first, second = clips_of(film)
    done = cut([first, second])[0]
    film.unlink()
    assert cut([first | {"standing": done}])[0] == done
