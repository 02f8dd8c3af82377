"""The same transitions after a real encoder, through the scan and split of real files; damage and
what is left inside a clip.
"""

from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow as pa
import pytest

from curation.stages.filter import Rule, judge
from tests.curation.splitting import split_folder
from tests.videos import texture, write_video

HEIGHT_PX, WIDTH_PX = 90, 160


def scene(seed: int, num_frames: int) -> np.ndarray:
    """A bent and drifting texture, of a tone of its own."""
    image = texture(seed, height=HEIGHT_PX + 40, width=WIDTH_PX + 60)
    image = np.clip(image * (0.35 + 0.12 * (seed % 5)), 0, 255).astype(np.uint8)
    x, y = np.meshgrid(np.arange(WIDTH_PX), np.arange(HEIGHT_PX))
    out = []
    for t in range(num_frames):
        dx = x + 20 + 0.15 * t + 3 * np.sin(0.05 * y + 0.1 * t)
        dy = y + 15 + 2 * np.sin(0.04 * x - 0.07 * t)
        out.append(cv2.remap(image, dx.astype("f4"), dy.astype("f4"), cv2.INTER_LINEAR))
    return np.stack(out)


def mixed(a: np.ndarray, b: np.ndarray, weight_T: np.ndarray) -> np.ndarray:
    w = weight_T[:, None, None, None]
    return (a + (b.astype(np.float32) - a) * w).astype(np.uint8)


def dissolve(a: np.ndarray, b: np.ndarray, length: int) -> np.ndarray:
    weight = (np.arange(length) + 1) / (length + 1)
    return np.concatenate([a[:-length], mixed(a[-length:], b[:length], weight), b[length:]])


def split(tmp_path: Path, frames: np.ndarray, **knobs) -> list[dict]:
    write_video(tmp_path / "in/film.mp4", frames, options={"crf": "28"})
    clips = split_folder(tmp_path / "in", **knobs)["clips"]
    return sorted(clips, key=lambda clip: clip["start_frame"])


def spans(clips: list[dict]) -> list[tuple[int, int]]:
    return [(clip["start_frame"], clip["end_frame"]) for clip in clips]


def test_cuts_a_short_shot_and_a_flash(tmp_path: Path) -> None:
    film = np.concatenate([scene(1, 50), scene(4, 9), scene(2, 60), scene(8, 45)])
    film[90] = 250
    film[91] = np.clip(film[91].astype(int) + 90, 0, 255)
    assert spans(split(tmp_path, film)) == [(0, 50), (50, 59), (59, 119), (119, 164)]


def test_a_jump_cut_in_a_held_view(tmp_path: Path) -> None:
    """The same texture seen from nearer."""
    first = scene(3, 55)
    near = np.stack([cv2.resize(f[12:72, 30:137], (WIDTH_PX, HEIGHT_PX)) for f in scene(3, 120)])
    assert spans(split(tmp_path, np.concatenate([first, near[60:]]))) == [(0, 55), (55, 115)]


def test_a_long_dissolve_and_a_fade_through_black(tmp_path: Path) -> None:
    film = dissolve(scene(1, 110), scene(3, 110), 60)  # mixed in [50, 110)
    black = np.zeros((6, HEIGHT_PX, WIDTH_PX, 3), np.uint8)
    last, end = scene(2, 70), len(film)
    ramp = np.linspace(0, 1, 14)
    film[-14:] = mixed(film[-14:], np.zeros_like(film[-14:]), ramp)
    last[:14] = mixed(np.zeros_like(last[:14]), last[:14], ramp)
    clips = split(tmp_path, np.concatenate([film, black, last]))
    assert [clip["transition_out"] for clip in clips[:2]] == ["gradual", "gradual"]
    (a, b), (c, d), (e, f) = spans(clips)
    assert a == 0 and f == end + 76
    assert abs(b - 50) <= 10 and abs(c - 110) <= 10
    assert abs(d - (end - 14)) <= 4 and abs(e - (end + 20)) <= 4


@pytest.mark.parametrize("from_left", [True, False])
def test_a_wipe_over_moving_pictures(tmp_path: Path, from_left: bool) -> None:
    a, b = scene(1, 70), scene(4, 70)
    edge = np.linspace(0, WIDTH_PX, 22)[1:-1].astype(int)
    for i, x in enumerate(edge):
        side = np.s_[:, :x] if from_left else np.s_[:, WIDTH_PX - x :]
        a[50 + i][side] = b[i][side]
    (first, start), (end, last) = spans(split(tmp_path, np.concatenate([a, b[20:]])))
    assert (first, last) == (0, 120) and abs(start - 50) <= 6 and abs(end - 70) <= 6


def test_damage_is_no_cut(tmp_path: Path) -> None:
    """Bytes of some packets between the key frames are overwritten."""
    whole = write_video(
        tmp_path / "whole.mp4", scene(2, 150), options={"crf": "24", "g": "75", "bf": "0"}
    )
    rng = np.random.default_rng(0)
    data = bytearray(whole.read_bytes())
    with av.open(str(whole)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    for packet in packets[20:70:10]:
        assert packet.pos is not None
        for at in rng.integers(packet.pos + packet.size // 3, packet.pos + packet.size, 4):
            data[at] ^= 0xFF
    (tmp_path / "in").mkdir()
    (tmp_path / "in/damaged.mp4").write_bytes(data)
    found = split_folder(tmp_path / "in")
    assert spans(found["clips"]) == [(0, found["videos"][0]["num_frames"])]


@pytest.mark.parametrize("kind", ["cut", "dissolve"])
def test_a_clip_that_still_holds_a_transition_is_rejected(tmp_path: Path, kind: str) -> None:
    """Thresholds that nothing reaches leave it inside; the rule of the presets finds it."""
    a, b = scene(1, 60), scene(4, 60)
    film = np.concatenate([a, b]) if kind == "cut" else dissolve(a, b, 24)
    (clip,) = split(tmp_path, film, cut_threshold=1.0, gradual_threshold=1.0)
    other = split_folder(tmp_path / "in")["clips"]
    assert len(other) == 2
    table = pa.Table.from_pylist(
        [{name: row[name] for name in ("clip_id", "residual_cut_score")} for row in (clip, *other)]
    )
    empty = pa.nulls(3, pa.string())
    table = table.append_column("reject", empty).append_column("error", empty)
    judged = judge(table, [Rule("cut_inside", "residual_cut_score", max=0.6)])
    assert judged["reject"].to_pylist() == ["cut_inside", None, None]
