"""Copies made by ffmpeg of a video made here, and random hashes."""

import shutil

import numpy as np
import pytest

from curation.bench import dedup
from curation.bench.copies import CHANGES, Measured
from curation.bench.dedup import ORIGINAL, clips_of_file, merged, pieces, scale, show, tally_of
from curation.bench.hashes import FLIPS, planted
from tests.videos import texture, write_video

needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg")


def measured(num_frames: int) -> Measured:
    edges_s = np.arange(num_frames + 1) / 10
    return Measured(edges_s, [], np.ones(num_frames), (640, 360), "h264", 0, False)


def test_shots_are_parted_into_clips_of_up_to_five_seconds():
    cuts = {"cuts": [5, 130], "gradual": [[150, 159]]}
    found = np.array(list(pieces(measured(200), cuts)))
    # half a second before frame 5 is no clip
    expected = [(0.5, 4.667), (4.667, 8.833), (8.833, 13), (13, 15), (16, 20)]
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert list(pieces(measured(30), None)) == [(0, 3)]


def test_files_alike_are_those_of_a_chain():
    assert merged([["a", "a"], ["b", "c"], ["d", "e"], ["c", "d"]]) == [{"b", "c", "d", "e"}]


@needs_ffmpeg
def test_copies_are_looked_at_from_the_same_moment_on_and_found(tmp_path, monkeypatch, capsys):
    names = {"container", "h264 crf 35", "half the size", "0.37 s trimmed", "7.3 s later"}
    monkeypatch.setattr(dedup, "CHANGES", [c for c in CHANGES if c.name in names])
    clips = {}
    for seed in range(2):
        wide = texture(seed, height=240, width=400)
        path = np.cumsum(np.random.default_rng(seed).normal(0, 2, (144, 2)), axis=0)
        x, y = np.abs((path.T.astype(int) + 40) % 160 - 80)
        frames = [wide[b : b + 160, a : a + 240] for a, b in zip(x, y, strict=True)]
        video = write_video(tmp_path / f"{seed}.mp4", frames)
        found, failed = clips_of_file(str(video), {"cuts": [72], "gradual": []})
        assert len(found) == 2 * (1 + len(names)) and not failed
        clips |= found
    start = {key: row["phash_start_look"] for key, row in clips.items()}
    for name, later in (("half the size", 0), ("7.3 s later", 58)):
        # a frame may fall on either side of an eighth of a second
        assert start[name, "1.mp4", 1] - start[ORIGINAL, "1.mp4", 1] == pytest.approx(later, abs=1)
    assert clips["container", "0.mp4", 0]["phash"] == clips[ORIGINAL, "0.mp4", 0]["phash"]
    show(clips, [], alike=[])
    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if line.startswith("all that are asked for"))
    assert row.split()[-4:-1] == ["16", "1.000", "0"]
    wrong = clips | {(ORIGINAL, "2.mp4", 0): clips[ORIGINAL, "1.mp4", 0]}
    assert len(tally_of(wrong, []).false) == 1
    assert not tally_of(wrong, [{"1.mp4", "2.mp4"}]).false


def test_planted_hashes_are_flipped_as_said_and_found(capsys):
    made = planted(400)
    for column in ("phash", "phash_change", "phash_parts"):
        one, two = (
            np.frombuffer(b"".join(made.clips[column].take(rows[3::4]).to_pylist()), "<u8")
            for rows in (made.originals, made.copies)
        )
        assert np.bitwise_count(one ^ two).mean() / 64 == pytest.approx(FLIPS[3], abs=0.01)
    scale(400)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines if line.startswith("found")] == ["1.0000"] * 4
    assert lines[-1].split()[-1] == "0"
