"""A clip's sound: kept or dropped, and where it belongs in time."""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from curation.bench.known import Known
from curation.bench.mixed import film


def test_a_clip_without_sound_has_one_stream_and_one_with_it_two(tmp_path: Path) -> None:
    for codec, kept in (("aac", "aac"), ("pcm_s16le", "aac"), ("libopus", "opus")):
        path = with_sound(tmp_path / f"{codec}.mkv", codec)
        known = Known(path)
        for mode in ("exact", "copy", "encode"):
            for start, end in ((13, 77), (0, 40)):
                silent = known.cut(start, end, mode=mode)
                clip = known.cut(start, end, mode=mode, keep_audio=True)
                assert streams(silent.data) == ["h264"]
                assert streams(clip.data) == ["h264", kept]
                assert clip.proof.wrong is None and clip.route == silent.route
                first_s = (start - clip.first_frame) / 24
                onset = sound_onset_s(clip.data)
                # the click lies at 1.5 s of the source
                if first_s < 1.4 and end / 24 > 1.6:
                    assert abs(onset - (1.5 - first_s)) < 0.03


def with_sound(path: Path, codec: str) -> Path:
    """Two keyframes a second apart and silence but for a click at 1.5 s."""
    wave = np.zeros(5 * 48000, np.int16)
    wave[72000:72480] = (20000 * np.sin(np.arange(480) / 3)).astype(np.int16)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=24, options={"g": "30", "sc_threshold": "0"})
        video.height, video.width, video.pix_fmt = 96, 160, "yuv420p"
        sound = container.add_stream(codec, rate=48000, layout="mono")
        for i, image in enumerate(film()):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 24)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for at in range(0, len(wave), 960):
            frame = av.AudioFrame.from_ndarray(
                wave[None, at : at + 960], format="s16", layout="mono"
            )
            frame.sample_rate, frame.pts, frame.time_base = 48000, at, Fraction(1, 48000)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


def streams(data: bytes) -> list[str]:
    with av.open(io.BytesIO(data)) as container:
        return [stream.codec_context.codec.canonical_name for stream in container.streams]


def sound_onset_s(data: bytes) -> float:
    """When the sound is loud first, by the stream's own stamps."""
    with av.open(io.BytesIO(data)) as container:
        for frame in container.decode(audio=0):
            loud = np.flatnonzero(np.abs(frame.to_ndarray().astype(np.float32)).max(axis=0) > 0.1)
            if len(loud):
                return float(frame.pts * frame.time_base) + loud[0] / frame.sample_rate
    return -1.0
