"""The README's picture, from a run of three clips."""

import io
import json

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from curation import storage
from curation.demo.film import encode_film
from curation.demo.picture import draw_story, film_shots, spread
from curation.demo.report import read_found


def jpeg(level: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (160, 90), (level, 90, 255 - level)).save(out, "JPEG")
    return out.getvalue()


@pytest.fixture
def data(tmp_path) -> str:
    clips = [
        {"clip_id": f"c{start}", "uri": "/there/f.mp4", "start_frame": start, "end_frame": end}
        for start, end in ((0, 40), (40, 60), (70, 100))
    ]
    tables = {
        "videos": [
            {
                "uri": "/there/f.mp4",
                "num_frames": 100,
                "duration_s": 4.0,
                "reject": None,
                "error": None,
            }
        ],
        "clips": clips,
        "keyframes": [
            {"clip_id": c["clip_id"], "frame": c["start_frame"] + 5, "jpeg": jpeg(c["start_frame"])}
            for c in clips
        ],
        "filter": [
            {"clip_id": "c0", "keep": True, "reject": None},
            {"clip_id": "c40", "keep": False, "reject": "too_short"},
            {"clip_id": "c70", "keep": True, "reject": None},
        ],
        "captions": [{"clip_id": "c0", "caption": "A cat.", "caption_source": "sidecar"}],
    }
    for name, rows in tables.items():
        path = tmp_path / "tables" / name / "unit.parquet"
        storage.write_table(str(path), pa.Table.from_pylist(rows))
    return str(tmp_path)


def test_shots_carry_verdict_words_and_keyframes(data):
    found = read_found(data)
    keyframes = {c["clip_id"]: [(5, Image.new("RGB", (2, 2)))] for c in found.clips}
    shots, last_frame = film_shots(found, keyframes)
    assert last_frame == 100
    assert [(s.start, s.end, s.keep, s.reason, s.caption) for s in shots] == [
        (0, 40, True, "", "A cat."),
        (40, 60, False, "too_short", ""),
        (70, 100, True, "", ""),
    ]


def test_spread_takes_first_and_last():
    assert spread([1, 2, 3, 4, 5, 6, 7], 4) == [1, 3, 5, 7]
    assert spread([1, 2], 4) == [1, 2]


def test_the_picture_is_small_and_always_the_same(data, tmp_path):
    samples = tmp_path / "samples"
    samples.mkdir()
    frames = (np.full((360, 640, 3), 40 * index, np.uint8) for index in range(5))
    (samples / "sample-00.mp4").write_bytes(encode_film(frames))
    (samples / "sample.json").write_text(json.dumps({"prompts": ["a cat"]}))
    outputs = [tmp_path / "one.png", tmp_path / "two.png"]
    for output in outputs:
        draw_story(data, samples=samples, output=output)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert len(outputs[0].read_bytes()) < 400_000
    with Image.open(outputs[0]) as picture:
        assert picture.format == "PNG" and picture.width == 1600


def test_a_run_without_verdicts_is_refused(tmp_path):
    with pytest.raises(ValueError, match="split and filter"):
        draw_story(str(tmp_path), samples=None, output=tmp_path / "x.png")
