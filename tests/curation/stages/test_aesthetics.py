"""A tiny CLIP and heads in LAION's two formats, made here; scores are also computed otherwise."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curation.stage import Abort
from curation.stages.aesthetics import AESTHETICS, Aesthetics, layers_of
from tests.tiny_clip import WIDTH, cut_off, write_weights


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    cut_off(monkeypatch, tmp_path / "empty")


def mlp(width: int) -> Any:
    """The improved predictor, layer for layer as its authors publish it."""
    from torch import nn

    sizes = [width, 1024, 128, 64, 16, 1]
    linear = [nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)]
    drop = nn.Dropout
    one, two, three, four, five = linear
    return nn.ModuleDict(
        {"layers": nn.Sequential(one, drop(0.2), two, drop(0.2), three, drop(0.1), four, five)}
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """tiny-clip.json, tiny.pt, linear.pth, mlp.pth and the same head as mlp.safetensors."""
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("weights")
    write_weights(folder, "tiny-clip", "tiny.pt")
    torch.save(torch.nn.Linear(WIDTH, 1).state_dict(), folder / "linear.pth")
    torch.save(torch.nn.Linear(768, 1).state_dict(), folder / "linear_768.pth")
    state = mlp(WIDTH).state_dict()
    assert list(state)[::2] == [f"layers.{i}.weight" for i in (0, 2, 4, 6, 7)]
    torch.save(state, folder / "mlp.pth")
    save_file(state, folder / "mlp.safetensors")
    return folder


def tiny(folder: Path, **changes: Any) -> Aesthetics:
    knobs: dict[str, Any] = {
        "model": "tiny-clip",
        "pretrained": str(folder / "tiny.pt"),
        "model_config_dir": str(folder),
        "linear_head": str(folder / "linear.pth"),
        "mlp_head": str(folder / "mlp.pth"),
    }
    return Aesthetics(**(knobs | changes))


def picture(seed: int) -> bytes:
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=95)
    return out.getvalue()


def tables(clips: list[str], frames: Sequence[tuple[str, bytes | None]]) -> dict[str, pa.Table]:
    given = {"clips": pa.table({"clip_id": pa.array(clips, pa.string())})}
    ids, jpegs = [clip for clip, _ in frames], [jpeg for _, jpeg in frames]
    shown = {"clip_id": pa.array(ids, pa.string()), "jpeg": pa.array(jpegs, pa.binary())}
    return given | {"keyframes": pa.table(shown)}


def scores_another_way(folder: Path, jpegs: list[bytes]) -> tuple[float, float]:
    """Embeddings as open_clip's README makes them; a dot product, and LAION's MLP as a module."""
    import open_clip
    import torch
    from PIL import Image

    made: Any = open_clip.create_model_and_transforms(
        "tiny-clip", pretrained=str(folder / "tiny.pt")
    )
    net, _, preprocess = made
    net.eval()
    fit = torch.stack([preprocess(Image.open(io.BytesIO(jpeg))) for jpeg in jpegs])
    with torch.no_grad():
        features = net.encode_image(fit).double().numpy()
    features /= np.linalg.norm(features, axis=1, keepdims=True)

    linear = torch.load(folder / "linear.pth")
    by_linear = features @ linear["weight"].double().numpy()[0] + linear["bias"].item()

    head = mlp(WIDTH)
    head.load_state_dict(torch.load(folder / "mlp.pth"))
    with torch.no_grad():
        by_mlp = head.double().eval()["layers"](torch.from_numpy(features))[:, 0].numpy()
    return float(by_linear.mean()), float(by_mlp.mean())


def test_scores_are_the_heads_on_normalised_embeddings_averaged_over_keyframes(folder):
    frames = [("b", picture(1)), ("a", picture(2)), ("b", picture(3)), ("b", picture(4))]
    stage = tiny(folder, batch_size=2)
    written = stage.run(tables(["a", "b"], frames))["aesthetics"]
    assert written.schema == AESTHETICS
    by_clip = {row["clip_id"]: row for row in written.to_pylist()}
    for clip in "ab":
        expected = scores_another_way(folder, [jpeg for id_, jpeg in frames if id_ == clip])
        row = by_clip[clip]
        found = (row["aesthetic_laion_linear"], row["aesthetic_laion_mlp"])
        assert found == pytest.approx(expected, abs=1e-5)
        assert row["aesthetic_model"] == "tiny-clip/tiny.pt + linear.pth + mlp.pth"
        assert row["aesthetic_note"] is None


def test_safetensors_give_the_same_scores(folder):
    given = tables(["a"], [("a", picture(1))])
    score = [
        tiny(folder, mlp_head=str(folder / name)).run(given)["aesthetics"]["aesthetic_laion_mlp"]
        for name in ("mlp.pth", "mlp.safetensors")
    ]
    assert score[0] == score[1] and score[0].null_count == 0


def test_a_clip_without_readable_keyframes_is_null_with_the_reason(folder):
    whole = picture(1)
    frames = [("a", whole), ("b", whole), ("b", whole[:200]), ("c", None), ("d", b"<html>")]
    written = tiny(folder).run(tables(list("abcde"), frames))["aesthetics"]
    assert [score is None for score in written["aesthetic_laion_mlp"].to_pylist()] == [
        *[False, True, True, True, True]
    ]
    damaged = "unreadable keyframe"
    assert written["aesthetic_note"].to_pylist() == [None, damaged, damaged, damaged, "no keyframe"]
    assert written["aesthetic_model"].to_pylist()[1:] == [None] * 4

    nothing = tiny(folder).run(tables(["a", "b"], [("a", None)]))["aesthetics"]
    assert nothing["aesthetic_note"].to_pylist() == [damaged, "no keyframe"]


def test_without_a_network_the_published_weights_are_missing_and_nothing_else_happens(capsys):
    stage = Aesthetics()
    for _ in range(2):
        written = stage.run(tables(["a", "b"], [("a", picture(1))]))["aesthetics"]
    rows = written.to_pylist()
    assert [row["clip_id"] for row in rows] == ["a", "b"]
    for row in rows:
        assert row["aesthetic_laion_linear"] is row["aesthetic_laion_mlp"] is None
        assert row["aesthetic_model"] is None
        assert row["aesthetic_note"].startswith("missing weights: sa_0_4_vit_l_14_linear (not in")
    assert capsys.readouterr().out.count("missing weights") == 1


def test_missing_weights_are_found_out_without_torch(tmp_path):
    import subprocess
    import sys

    script = (
        "import sys; from curation.stages.aesthetics import Aesthetics;"
        "Aesthetics().config_hash(); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_one_missing_head_leaves_the_other_score(folder):
    stage = tiny(folder, linear_head=str(folder / "gone.pth"))
    row = stage.run(tables(["a"], [("a", picture(1))]))["aesthetics"].to_pylist()[0]
    assert row["aesthetic_laion_linear"] is None and row["aesthetic_laion_mlp"] is not None
    assert row["aesthetic_model"] == "tiny-clip/tiny.pt + mlp.pth"
    assert row["aesthetic_note"] == f"missing weights: {folder / 'gone.pth'} (no such file)"


def test_a_missing_backbone_leaves_no_score(folder):
    head = str(folder / "linear_768.pth")
    for pretrained, why in (
        ("openai", "timm/vit_large_patch14_clip_224.openai (not in the local cache"),
        ("/nowhere/clip.safetensors", "/nowhere/clip.safetensors (no such file)"),
    ):
        stage = Aesthetics(pretrained=pretrained, linear_head=head, mlp_head="/nowhere/mlp.pth")
        row = stage.run(tables(["a"], [("a", picture(1))]))["aesthetics"].to_pylist()[0]
        assert row["aesthetic_laion_linear"] is None and row["aesthetic_model"] is None
        assert why in row["aesthetic_note"]


def test_weights_that_turn_up_change_the_name_of_the_work(folder, tmp_path):
    import shutil

    head = str(tmp_path / "linear.pth")
    before = tiny(folder, linear_head=head).config_hash()
    assert tiny(folder, linear_head=head).config_hash() == before
    shutil.copy(folder / "linear.pth", head)
    after = tiny(folder, linear_head=head).config_hash()
    assert after != before
    import torch

    torch.save(torch.nn.Linear(WIDTH, 1).state_dict(), head)
    assert tiny(folder, linear_head=head).config_hash() not in (before, after)


def test_what_the_driver_found_travels_with_the_stage(folder):
    import pickle

    stage = tiny(folder, linear_head=str(folder / "gone.pth"))
    note = stage.weights.note
    assert pickle.loads(pickle.dumps(stage)).__dict__["weights"].note == note


def test_weights_that_do_not_fit_are_an_error_before_any_work(folder):
    cases = [
        ({"linear_head": str(folder / "linear_768.pth")}, "embeddings of 768 numbers, but tiny"),
        ({"linear_head": str(folder / "mlp.pth")}, "another kind of head"),
        ({"mlp_head": str(folder / "linear.pth")}, "another kind of head"),
        ({"mlp_head": str(folder / "tiny-clip.json")}, "is no state dict"),
        ({"model": "tiny-clap"}, "no architecture of open_clip; the nearest are tiny-clip"),
        ({"linear_head": "sa_0_4_vit_l_14_linaer"}, "nearest: sa_0_4_vit_l_14_linear"),
        ({"pretrained": "opnai"}, "'opnai' is no published name"),
        ({"model_config_dir": "/nowhere"}, "is no folder"),
    ]
    for changes, message in cases:
        with pytest.raises(ValueError, match=message):
            tiny(folder, **changes).config_hash()
    with pytest.raises(ValueError, match="batch_size = 0"):
        Aesthetics(batch_size=0)


def test_published_heads_are_refused_on_another_backbone(folder, tmp_path):
    import shutil

    cache = tmp_path / "empty" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    shutil.copy(folder / "linear_768.pth", cache / "sa_0_4_vit_l_14_linear.pth")
    head = "sa_0_4_vit_l_14_linear"
    with pytest.raises(ValueError, match=r"means nothing on ViT-L-14/laion2b_s32b_b82k"):
        Aesthetics(model="ViT-L-14", pretrained="laion2b_s32b_b82k", linear_head=head).config_hash()
    # read from torch hub's cache, so only the other two are missing
    note = Aesthetics(linear_head=head).weights.note
    assert note is not None and head not in note and "linearMSE" in note and "timm/" in note


def test_a_chain_of_layers_must_fit_together():
    a, b = np.zeros((4, 8), np.float32), np.zeros((1, 5), np.float32)
    arrays = {"layers.0.weight": a, "layers.0.bias": a[:, 0]}
    arrays |= {"layers.2.weight": b, "layers.2.bias": b[:, 0]}
    with pytest.raises(ValueError, match=r"widths \[8, 4, 1\]"):
        layers_of(arrays, linear=False, given="head.pth")


def test_a_worker_that_cannot_load_what_the_driver_found_stops_the_run(folder, tmp_path):
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"not weights")
    with pytest.raises(Abort, match="broken.pt cannot be loaded"):
        tiny(folder, pretrained=str(broken)).run(tables(["a"], [("a", picture(1))]))


def test_rows_of_a_unit_that_failed_are_kept_with_the_reason():
    failed = Aesthetics().failed(tables(["a", "b"], []), error="deadline: too long")["aesthetics"]
    assert failed["clip_id"].to_pylist() == ["a", "b"]
    assert failed["error"].to_pylist() == ["deadline: too long"] * 2
