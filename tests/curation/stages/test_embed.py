"""A tiny CLIP made here; embeddings are also computed the way open_clip's README does."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest

from curation.stages.dedup import Dedup
from curation.stages.embed import EMBED, Embed
from curation.stages.split import Split
from tests.tiny_clip import cut_off, write_weights


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    cut_off(monkeypatch, tmp_path / "empty")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """tiny-clip-e.json, tiny.pt and other.pt."""
    folder = tmp_path_factory.mktemp("weights")
    write_weights(folder, "tiny-clip-e", "tiny.pt", "other.pt")
    return folder


def tiny(folder: Path, **changes: Any) -> Embed:
    knobs: dict[str, Any] = {
        "model": "tiny-clip-e",
        "pretrained": str(folder / "tiny.pt"),
        "model_config_dir": str(folder),
    }
    return Embed(**(knobs | changes))


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    return jpeg(pixels, quality=95)


def smooth(seed: int) -> np.ndarray:
    """Colours that change over a quarter of the picture: coding leaves them as they are."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return cv2.resize(small, (56, 40), interpolation=cv2.INTER_CUBIC)


def jpeg(pixels: np.ndarray, *, quality: int) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=quality)
    return out.getvalue()


def tables(clips: list[str], frames: Sequence[tuple[str, bytes | None]]) -> dict[str, pa.Table]:
    given = {"clips": pa.table({"clip_id": pa.array(clips, pa.string())})}
    ids, jpegs = [clip for clip, _ in frames], [jpeg for _, jpeg in frames]
    shown = {"clip_id": pa.array(ids, pa.string()), "jpeg": pa.array(jpegs, pa.binary())}
    return given | {"keyframes": pa.table(shown)}


def features_another_way(folder: Path, jpegs: list[bytes]) -> np.ndarray:
    import open_clip
    import torch
    from PIL import Image

    made: Any = open_clip.create_model_and_transforms(
        "tiny-clip-e", pretrained=str(folder / "tiny.pt")
    )
    net, _, preprocess = made
    net.eval()
    fit = torch.stack([preprocess(Image.open(io.BytesIO(jpeg))) for jpeg in jpegs])
    with torch.no_grad():
        features = net.encode_image(fit).double().numpy()
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def test_embedding_is_the_normalised_mean_of_normalised_features(folder):
    frames = [("b", picture(1)), ("a", picture(2)), ("b", picture(3)), ("b", picture(4))]
    written = tiny(folder, batch_size=2).run(tables(["a", "b"], frames))["embed"]
    assert written.schema == EMBED
    for row in written.to_pylist():
        jpegs = [jpeg for clip, jpeg in frames if clip == row["clip_id"]]
        mean = features_another_way(folder, jpegs).mean(axis=0)
        norm = np.linalg.norm(mean)
        assert row["embedding_mean_norm"] == pytest.approx(norm, abs=1e-5)
        # half precision keeps 11 bits
        np.testing.assert_allclose(row["embedding"], mean / norm, atol=5e-4)
        assert np.linalg.norm(np.float64(row["embedding"])) == pytest.approx(1, abs=1e-3)
        assert row["embed_model"] == "tiny-clip-e/tiny.pt"
        assert row["embed_note"] is None and row["error"] is None
    assert written["embedding_mean_norm"][0].as_py() == pytest.approx(1, abs=1e-5)  # one keyframe


def test_dedup_groups_the_clips_whose_keyframes_mean_the_same(folder):
    """Real embeddings by way of the table: coarsely coded pictures join those they were made of."""
    shown = {name: smooth(seed) for seed, name in enumerate("abcd")}
    frames = [(name, jpeg(pixels, quality=95)) for name, pixels in shown.items()]
    frames += [(f"{name}'", jpeg(shown[name], quality=40)) for name in "ac"]
    clips = [name for name, _ in frames]
    embedded = tiny(folder).run(tables(clips, frames))["embed"]
    names = Dedup.reads["clips"]
    given = Split.writes["clips"].empty_table().select(names).schema
    rows = [{"clip_id": clip, "video_id": "v", "width": 640, "height": 360} for clip in clips]
    videos = pa.table({"video_id": ["v"], "codec": ["h264"]})
    read = {"clips": pa.Table.from_pylist(rows, schema=given), "videos": videos}
    stage = Dedup(similarity=0.999, clusters=1)  # of random weights all pictures are much alike
    found = stage.run(read | {"embed": embedded})["dedup"].to_pylist()
    assert {row["clip_id"]: row["sem_of"] for row in found} == {
        **{"a": "a", "a'": "a", "c": "c", "c'": "c"},
        **{"b": None, "d": None},
    }
    # four of the cluster stay
    assert [row["sample_weight"] for row in found] == pytest.approx([4**-0.5] * len(clips))


def test_a_clip_without_readable_keyframes_is_null_with_the_reason(folder):
    whole = picture(1)
    frames = [("a", whole), ("b", whole), ("b", whole[:200]), ("c", None)]
    written = tiny(folder).run(tables(list("abcd"), frames))["embed"]
    assert [vector is None for vector in written["embedding"].to_pylist()] == [
        *[False, True, True, True]
    ]
    damaged = "unreadable keyframe"
    assert written["embed_note"].to_pylist() == [None, damaged, damaged, "no keyframe"]
    assert written["embed_model"].to_pylist()[1:] == [None] * 3


def test_without_weights_nothing_is_made_up(capsys):
    stage = Embed()
    for _ in range(2):
        written = stage.run(tables(["a", "b"], [("a", picture(1))]))["embed"]
    assert written["embedding"].null_count == 2 and written["embed_model"].null_count == 2
    assert all(
        note.startswith("missing weights: timm/vit_large_patch14_clip_224.openai (not in")
        for note in written["embed_note"].to_pylist()
    )
    assert capsys.readouterr().out.count("missing weights") == 1


def test_other_weights_change_the_name_of_the_work(folder, tmp_path):
    import shutil

    path = str(tmp_path / "late.pt")
    names = [tiny(folder, pretrained=path).config_hash() for _ in range(2)]
    for file in ("tiny.pt", "other.pt"):
        shutil.copy(folder / file, path)
        names.append(tiny(folder, pretrained=path).config_hash())
    assert names[0] == names[1] and len(set(names)) == 3


def test_a_wrong_name_is_an_error_before_any_work(folder):
    for changes, message in (
        ({"model": "tiny-clap-e"}, "no architecture of open_clip; the nearest are tiny-clip"),
        ({"pretrained": "opnai"}, "'opnai' is no published name"),
    ):
        with pytest.raises(ValueError, match=message):
            tiny(folder, **changes).config_hash()
    with pytest.raises(ValueError, match="batch_size = 0"):
        Embed(batch_size=0)


def test_rows_of_a_unit_that_failed_are_kept_with_the_reason():
    failed = Embed().failed(tables(["a", "b"], []), error="deadline: too long")["embed"]
    assert failed["clip_id"].to_pylist() == ["a", "b"]
    assert failed["error"].to_pylist() == ["deadline: too long"] * 2
    assert failed.schema.names == EMBED.names
