"""A small dataset on disk, written by hand to the shard contract: the answer is known by
construction.
"""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from curation.clip import INDEX
from training.__main__ import main

Spec = tuple[str, int, int, float | None, int, int]

SPECS: list[Spec] = [
    # (media, first_frame, frames, fps, height, width); frame i of the file has grey level 10 * i
    ("mp4", 0, 9, 8.0, 48, 80),
    ("mp4", 3, 7, 8.0, 80, 48),
    ("mp4", 0, 17, 24.0, 64, 64),
    ("mp4", 0, 5, 8.0, 48, 64),
    ("mp4", 2, 21, 16.0, 48, 80),
    ("png", 0, 1, None, 64, 96),
]
AFTER_END = 2
"""Frames of the file behind the sample's last one, as mode `copy` leaves them."""


def grey_video(num_frames: int, *, fps: float, height: int, width: int) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=round(fps), options={"crf": "1", "g": "8"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(num_frames):
            image = np.full((height, width, 3), 10 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def captions_of(number: int) -> dict[str, Any]:
    """Every third clip has what a model writes, every third a sidecar's text only, and the others
    nothing but their .txt, as shards had once.
    """
    caption = f"grey clip {number}"
    if number % 3 == 0:
        captions = {"dense": caption, "short": f"grey {number}", "original": f"MVI {number}"}
        fields = {"subject": f"clip {number}", "camera_motion": "static", "text_on_screen": ""}
        return {"caption_source": "vlm", "captions": captions, "caption_fields": fields}
    if number % 3 == 1:
        return {"caption_source": "sidecar", "captions": {"original": caption}}
    return {}


def write_shards(data: Path, specs: list[Spec]) -> Path:
    """`shards/` of a dataset with one tar; clip i has the key `clip-i` and the caption `grey clip
    i`.
    """
    folder = data / "shards" / "bucket"
    folder.mkdir(parents=True)
    rows = []
    with tarfile.open(folder / "bucket-000000.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, (media, first_frame, num_frames, fps, height, width) in enumerate(specs):
            if media == "mp4":
                content = grey_video(
                    first_frame + num_frames + AFTER_END, fps=fps, height=height, width=width
                )
            else:
                content = cv2.imencode(".png", np.full((height, width, 3), 200, np.uint8))[
                    1
                ].tobytes()
            key, caption = f"clip-{number}", f"grey clip {number}"
            members = {
                "media": content,
                "json": json.dumps({"clip_id": key} | captions_of(number)).encode(),
                "txt": caption.encode(),
            }
            row: dict[str, Any] = {
                "key": key,
                "bucket": "bucket",
                "shard": "bucket/bucket-000000.tar",
                "media": media,
                "first_frame": first_frame,
                "num_frames": num_frames,
                "fps": fps,
                "height": height,
                "width": width,
                "duration_s": num_frames / (fps or 1),
                "caption_chars": len(caption),
            }
            for part, payload in members.items():
                info = tarfile.TarInfo(f"{key}.{media if part == 'media' else part}")
                info.size = len(payload)
                row[f"offset_{part}"], row[f"size_{part}"] = (
                    tar.offset + tarfile.BLOCKSIZE,
                    len(payload),
                )
                tar.addfile(info, io.BytesIO(payload))
            rows.append(row)
    pq.write_table(pa.Table.from_pylist(rows, schema=INDEX), data / "shards" / "index.parquet")
    return data


@pytest.fixture(scope="session")
def specs() -> list[Spec]:
    """(media, first frame, frames, fps, height, width) of every sample of `dataset`."""
    return SPECS


@pytest.fixture(scope="session")
def make_shards() -> Callable[[Path, list[Spec]], Path]:
    return write_shards


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(tmp_path_factory.mktemp("dataset"), SPECS)


TINY: dict[str, Any] = {
    "trainer": {
        "accelerator": "cpu",
        "max_steps": 7,
        "enable_model_summary": False,
        "logger": False,
    },
    "model": {
        "vae": {"class_path": "training.models.vae.SpaceToDepth", "init_args": {"pixels": 4}},
        "text": {
            "class_path": "training.models.text.WordText",
            "init_args": {"width": 16, "depth": 1, "heads": 2, "buckets": 64},
        },
        "network": {"width": 32, "depth": 2, "heads": 2, "positions": "both", "pooled_text": True},
        "objective": {
            "class_path": "training.flow.Flow",
            "init_args": {"shift_tokens": 64},
        },
        "optimizer": {"lr": 1e-3, "warmup_steps": 2, "decay_steps": 20, "fused": True},
    },
    "checkpoint": {"every_n_steps": 3, "keep": 9},
    "meters": {"every_n_steps": 5},
    "data": {
        "view": {"area_px": 1536, "max_frames": 5, "fps": 8},
        "budget_tokens": 200,  # 5 packs an epoch: step 7 lies in the middle of the second
        "num_workers": 0,
    },
}


@pytest.fixture
def run(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    monkeypatch.setattr("sys.argv", ["training"])  # LightningCLI warns where both are given
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(TINY))

    def call(name: str, *args: str, command: str = "fit", data: Path = dataset) -> Path:
        output = tmp_path / name
        main(
            [
                command,
                f"--config={config}",
                f"--data.data={data}",
                f"--trainer.default_root_dir={output}",
                *args,
            ]
        )
        return output

    return call
