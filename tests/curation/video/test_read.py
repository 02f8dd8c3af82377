from pathlib import Path

import numpy as np
import pytest

from curation.video import read_frames, read_image
from tests.videos import pan, write_video


@pytest.mark.parametrize(("codec", "container"), [("libx264", "mp4"), ("libsvtav1", "mp4")])
def test_frames_by_index_from_a_file_and_from_bytes(
    tmp_path: Path, codec: str, container: str
) -> None:
    frames = pan(1, 10)
    path = write_video(tmp_path / f"a.{container}", frames, codec=codec)
    whole = read_frames(path)
    assert whole.shape == (10, 96, 160, 3) and whole.dtype == np.uint8
    assert np.abs(whole.astype(int) - frames).mean() < 6
    some = read_frames(path.read_bytes(), indices=[7, 2, 2])
    assert np.array_equal(some, whole[[7, 2, 2]])
    assert read_frames(path, indices=[3], size=(48, 80)).shape == (1, 48, 80, 3)


@pytest.mark.parametrize("codec", ["libx264", "libsvtav1"])
def test_a_frame_that_does_not_exist_is_a_clear_error(tmp_path: Path, codec: str) -> None:
    path = write_video(tmp_path / "a.mp4", pan(1, 5), codec=codec)
    with pytest.raises(ValueError, match="of a clip of 5 frames"):
        read_frames(path, indices=[5])


def test_an_image_is_read_upright(tmp_path: Path) -> None:
    from PIL import Image

    image = np.zeros((20, 30, 3), np.uint8)
    image[:10] = (200, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(image).save(tmp_path / "a.jpg", exif=exif, quality=95)
    found = read_image((tmp_path / "a.jpg").read_bytes())
    assert found.shape == (1, 30, 20, 3)
    assert found[0, 15, 15, 0] > 150 and found[0, 15, 5, 0] < 50  # the red half is on the right
