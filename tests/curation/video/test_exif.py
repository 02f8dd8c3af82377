"""Photos lie in files turned and mirrored; everything that looks at them sees them upright."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from curation.video import DecodePass, read_image
from curation.video.exif import orientation
from curation.video.picture import jpeg, small_planes, small_size
from tests.videos import texture


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("format", ["jpg", "png", "webp"])
def test_all_eight_orientations_are_shown_upright(tmp_path: Path, number: int, format: str) -> None:
    path = tmp_path / f"photo.{format}"
    exif = Image.Exif()
    exif[0x112] = number
    Image.fromarray(texture(number, height=96, width=128)).save(path, exif=exif.tobytes())
    upright = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    wanted = np.asarray(upright)
    assert orientation(path.read_bytes()) == number
    assert np.abs(read_image(path.read_bytes())[0].astype(int) - wanted).mean() < 2
    decode = DecodePass(path)
    (frame,) = decode
    display = decode.display_size()
    assert display == upright.size
    image = jpeg(frame.picture, display=display, rotation=decode.rotation)
    seen = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.abs(seen.astype(int) - wanted).mean() < 12
    luma = small_planes(frame.picture, size=small_size(*display), rotation=decode.rotation)[0]
    grey = cv2.resize(cv2.cvtColor(wanted, cv2.COLOR_RGB2GRAY), luma.shape[::-1])
    assert np.abs(luma.astype(int) - grey).mean() < 12  # far below what a turn would give
    assert np.abs(luma[::-1].astype(int) - grey).mean() > 25


def test_a_file_that_says_nothing_or_nonsense_is_shown_as_it_is_stored() -> None:
    for data in (b"", b"\xff\xd8", b"Exif\0\0II*\0", b"Exif\0\0MM\0*\xff\xff\xff\xff" + bytes(40)):
        assert orientation(data) == 1
    nine = b"II*\0\x08\0\0\0\x01\0" + b"\x12\x01\x03\0\x01\0\0\0\x09\0\0\0"
    assert orientation(b"Exif\0\0" + nine) == 1
    assert orientation(b"Exif\0\0" + nine.replace(b"\x09\0\0\0", b"\x05\0\0\0")) == 5
