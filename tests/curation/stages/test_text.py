"""Text drawn here in known places, read by the real models where they are installed."""

import importlib.util
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest

from curation.stages import text as stage_of_text
from curation.stages.text import TEXT, Box, Text, area_pct, iou, is_text, overlay_pct, summary

HEIGHT, WIDTH = 252, 448  # of a keyframe of 16:9 footage
needs_ocr = pytest.mark.skipif(
    importlib.util.find_spec("rapidocr") is None, reason="needs the extra ocr"
)


def scene(seed: int) -> np.ndarray:
    """A picture without text: soft colours and a few hard edges."""
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    picture = cv2.normalize(cv2.GaussianBlur(picture, (0, 0), 12), None, 0, 160, cv2.NORM_MINMAX)  # type: ignore[call-overload]
    for _ in range(6):
        x, y = rng.integers(0, WIDTH), rng.integers(0, HEIGHT)
        corner = (int(x + rng.integers(20, 90)), int(y + rng.integers(20, 90)))
        cv2.rectangle(picture, (int(x), int(y)), corner, rng.integers(0, 160, 3).tolist(), -1)
    return picture


def write(
    picture: np.ndarray, words: str, *, scale: float, angle: float = 0, at: tuple = (0.5, 0.5)
) -> np.ndarray:
    """White words with their middle at a place (shares of width and height), turned by degrees."""
    (width, height), _ = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, scale, 2)
    layer = np.zeros((HEIGHT, WIDTH), np.uint8)
    x, y = at[0] * WIDTH, at[1] * HEIGHT
    corner = (round(x - width / 2), round(y + height / 2))
    cv2.putText(layer, words, corner, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, 2, lineType=cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D((x, y), angle, 1)
    layer = cv2.warpAffine(layer, turn, (WIDTH, HEIGHT))[..., None] / 255.0
    return np.rint(picture * (1 - layer) + 255 * layer).astype(np.uint8)


def run(clips: dict[str, Sequence[np.ndarray | bytes]], stage: Text | None = None) -> list[dict]:
    """The stage's rows for clips given as pictures."""
    frames = [
        {"clip_id": clip, "position": place / 2, "jpeg": p if isinstance(p, bytes) else jpeg(p)}
        for clip, pictures in clips.items()
        for place, p in enumerate(pictures)
    ]
    tables = {"clips": pa.table({"clip_id": list(clips)})}
    if frames:
        tables["keyframes"] = pa.Table.from_pylist(frames)
    written = (stage or Text()).run(tables)["text"]
    assert written.schema == TEXT
    return written.to_pylist()


def jpeg(picture: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()


# -- what the models see ---------------------------------------------------------------------------


@needs_ocr
def test_words_are_found_and_read_at_any_size_and_angle():
    rows = run(
        {
            f"{scale}/{angle}": [write(scene(7), "HELLO WORLD", scale=scale, angle=angle)]
            for scale in (0.5, 1.0)
            for angle in (0, 30, 60, 90, 180)
        }
    )
    found = {row["clip_id"]: row for row in rows}
    assert all(row["text_boxes"] == 1 for row in rows)
    for scale, height_px in (("0.5", 11), ("1.0", 22)):
        straight = found[f"{scale}/0"]
        assert straight["text"] == "HELLO WORLD" and straight["text_confidence"] > 0.9
        # the box stands a little off the letters, which are about ten times as long as high
        letters_pct = 100 * height_px * 10 * height_px / (WIDTH * HEIGHT)
        assert letters_pct < straight["text_area_pct"] < 3 * letters_pct
        for angle in (30, 60, 90, 180):
            # slanted writing counts like straight writing, not as nothing and not as the upright
            # rectangle around it, which at 30 degrees has four times the area
            share = found[f"{scale}/{angle}"]["text_area_pct"] / straight["text_area_pct"]
            assert 0.6 < share < 1.6


@needs_ocr
def test_a_picture_without_text_has_none():
    (row,) = run({"c": [scene(seed) for seed in range(3)]})
    assert row["text_area_pct"] == row["text_area_mean_pct"] == row["text_boxes"] == 0
    assert row["text"] is None and row["text_confidence"] is None


@needs_ocr
def test_a_subtitle_is_overlay_and_a_sign_that_moves_is_not():
    moving = [scene(seed) for seed in (1, 2, 3)]
    subtitled = [write(p, "I never said that", scale=0.6, at=(0.5, 0.9)) for p in moving]
    places = ((0.3, 0.3), (0.5, 0.5), (0.7, 0.7))
    passed = [write(p, "GROCERY", scale=0.8, at=at) for p, at in zip(moving, places, strict=True)]
    still = [write(scene(1), "GROCERY", scale=0.8)] * 3
    overlay, sign, shop = run({"overlay": subtitled, "sign": passed, "shop": still})
    assert overlay["text"] == "I never said that"
    assert overlay["overlay_text_pct"] == pytest.approx(overlay["text_area_pct"], rel=0.3)
    assert sign["text_area_pct"] > 0 and sign["overlay_text_pct"] == 0
    assert shop["text_area_pct"] > 0 and shop["overlay_text_pct"] is None  # cannot be told


@needs_ocr
def test_clips_without_a_usable_keyframe_say_so():
    bare, broken, tiny = run({"bare": [], "broken": [b"no jpeg"], "tiny": [scene(1)[:1, :1]]})
    assert bare["text_note"] == "no keyframe" and bare["text_area_pct"] is None
    assert broken["text_note"] == "unreadable keyframe" and broken["text_area_pct"] is None
    assert tiny["text_note"] is None and tiny["text_area_pct"] == 0


@needs_ocr
def test_models_come_by_path_and_change_the_units_name(tmp_path):
    wheel = Text().models.files
    copy = tmp_path / "detector.onnx"
    copy.write_bytes(open(wheel["Det"], "rb").read())
    by_path = Text(detector=str(copy))
    (row,) = run({"c": [write(scene(7), "HELLO", scale=1.0)]}, by_path)
    assert row["text"] == "HELLO"
    other = Text(detector=wheel["Cls"])
    assert len({stage.config_hash() for stage in (Text(), by_path, other)}) == 3
    with pytest.raises(ValueError, match="'PP-OCRv9' is neither a file nor in RapidOCR's wheel"):
        Text(detector="PP-OCRv9").config_hash()


def test_without_the_library_columns_are_null_and_the_run_says_why(monkeypatch, capsys):
    monkeypatch.setattr(stage_of_text.importlib.util, "find_spec", lambda name: None)
    stage = Text()
    without = stage.config_hash()
    (row,) = run({"c": [scene(1)]}, stage)
    assert row["text_area_pct"] is None and row["error"] is None
    assert row["text_note"] == "rapidocr and onnxruntime not installed (pip install dailies[ocr])"
    assert "text: rapidocr and onnxruntime not installed" in capsys.readouterr().out
    monkeypatch.undo()
    if importlib.util.find_spec("rapidocr"):
        assert Text().config_hash() != without  # installed later, it is measured then


# -- measures --------------------------------------------------------------------------------------


def quad(x: float, y: float, width: float, height: float) -> np.ndarray:
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], np.float32)


def test_a_turned_box_counts_its_own_area():
    # a diamond with diagonals of 80: half of 80 x 80, 3200 of 20000 pixels
    diamond = np.array([[50, 10], [90, 50], [50, 90], [10, 50]], np.float32)
    assert area_pct([diamond], height=100, width=200) == pytest.approx(16, rel=0.03)
    # the same place twice counts once
    assert area_pct([diamond, diamond], height=100, width=200) == pytest.approx(16, rel=0.03)
    assert area_pct([], height=100, width=200) == 0


def test_intersection_over_union():
    assert iou(quad(0, 0, 10, 10), quad(0, 0, 10, 10)) == pytest.approx(1)
    assert iou(quad(0, 0, 10, 10), quad(5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert iou(quad(0, 0, 10, 10), quad(20, 20, 10, 10)) == 0


def test_what_is_no_line_of_text_does_not_count():
    line = Box(quad(0, 0, 100, 20), "EXIT", 0.9)
    assert is_text(line, short_side_px=252)
    assert not is_text(line._replace(text="1"), short_side_px=252)
    assert not is_text(line._replace(text="-- --"), short_side_px=252)
    assert not is_text(line._replace(confidence=0.4), short_side_px=252)
    assert not is_text(line._replace(corners_42=quad(0, 0, 400, 200)), short_side_px=252)


def test_columns_follow_from_the_boxes():
    box = Box(quad(0, 0, 100, 20), "EXIT", 0.9)  # 21 x 101 pixels as drawn
    wide = Box(quad(0, 100, 200, 20), "NO ENTRY", 0.6)
    pictures = [np.zeros((100, 400, 3), np.uint8)] * 2 + [np.full((150, 400, 3), 90, np.uint8)]
    row: dict[str, Any] = summary([[box], [], [box, wide]], pictures)
    assert row["text_boxes"] == 2
    assert row["text"] == "EXIT\nNO ENTRY"
    drawn = (21 * 101, 21 * 201)
    shares = (100 * drawn[0] / 40_000, 100 * sum(drawn) / 60_000)
    assert row["text_area_pct"] == pytest.approx(shares[1])
    assert row["text_area_mean_pct"] == pytest.approx(sum(shares) / 3)
    assert row["text_confidence"] == pytest.approx((2 * 2000 * 0.9 + 4000 * 0.6) / 8000)
    assert row["overlay_text_pct"] is None  # pictures of two sizes


def test_overlay_stays_while_the_picture_changes():
    first, later = Box(quad(10, 10, 50, 10), "LOGO", 1), Box(quad(11, 10, 50, 10), "LOGO", 1)
    dark, light = np.zeros((60, 100, 3), np.uint8), np.full((60, 100, 3), 60, np.uint8)
    share = 100 * 51 * 11 / 6000
    assert overlay_pct([[first], [later]], [dark, light]) == pytest.approx(share)
    assert overlay_pct([[first], []], [dark, light]) == 0
    assert overlay_pct([[first], [later]], [dark, dark]) is None
    assert overlay_pct([[first]], [dark]) is None
