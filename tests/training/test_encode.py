"""Latents and text states written once: a run that reads them is the run that does not, and what
does not belong to it is refused.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import webdataset
from safetensors.torch import load

from tests.training.resharded import reshard
from training import encode as encoding
from training.curriculum import Phase, View
from training.index import load_index
from training.latents import open_latents, wanted_folders
from training.models.patches import Grid
from training.models.text import TransformersText
from training.models.vae import SpaceToDepth
from training.reader import ClipReader

VIEW = View(area_px=1536, max_frames=5, fps=8, window="first")
FIRST = "--data.view.window=first"
GRID = Grid(frames=1, pixels=4, patch=(1, 2, 2))


@pytest.fixture
def t5(tmp_path: Path) -> str:
    """A tiny T5 encoder with a tokenizer of the captions' words, as save_pretrained leaves them."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    folder = tmp_path / "t5"
    words = ["<pad>", "</s>", "<unk>", "grey", "clip", "MVI", "Clip", "The", "camera", "is", "."]
    words += ["static", *"012345"]
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.post_processor = processors.TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=32, **names
    ).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    net: Any = transformers.T5EncoderModel(transformers.T5Config(vocab_size=len(words), **sizes))
    net.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def data(dataset: Path, tmp_path: Path) -> Path:
    """Six samples in three shards."""
    return reshard(dataset, tmp_path / "data", samples_per_shard=2)


def frozen(t5: str) -> list[str]:
    return [
        "--model.text=training.models.text.TransformersText",
        f"--model.text.init_args.path={t5}",
    ]


def files(folder: Path) -> dict[str, bytes]:
    """By their place under the folder; the record tells of the commit."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "record.json"
    }


def checkpoint(output: Path) -> dict[str, Any]:
    return torch.load(output / "checkpoints" / "last.ckpt", weights_only=True)


def first(saved: dict[str, Any]) -> float:
    """Loss of the fixed batch before training."""
    (found,) = (s["first"] for name, s in saved["callbacks"].items() if "FixedBatch" in name)
    return found


def assert_close(one: Path, other: Path) -> None:
    """The same loss before and after, and the same weights but for the last digits."""
    a, b = checkpoint(one), checkpoint(other)
    assert a["global_step"] == b["global_step"]
    assert first(a) == pytest.approx(first(b), rel=1e-6)
    for name, value in a["state_dict"].items():
        assert (value - b["state_dict"][name]).abs().max() < 1e-5, name


def spoil(data: Path, keys: set[str]) -> None:
    """Overwrite the media of some samples, where they lie."""
    for row in pq.read_table(data / "shards" / "index.parquet").to_pylist():
        if row["key"] in keys:
            with (data / "shards" / row["shard"]).open("r+b") as file:
                file.seek(row["offset_media"])
                file.write(bytes(row["size_media"]))


EVERY = {f"clip-{n}" for n in range(6)}


def test_a_run_on_latents_is_the_run_without(
    run: Callable[..., Path], data: Path, t5: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mix = {"dense": 1, "short": 1, "fields": 1, "original": 1}
    knobs = [FIRST, *frozen(t5), f"--data.caption_mix={json.dumps(mix)}", "--model.text_drop=0.3"]
    knobs += ["--data.tasks={extend: 1}", "--trainer.max_steps=12"]
    before = run("before", *knobs, data=data)
    run("encode", *knobs, "--dtype=float32", "--data.num_workers=2", command="encode", data=data)
    spoil(data, EVERY)  # nobody looks at the videos any more
    texts: list[int] = []
    real = TransformersText.tokenize

    def tokenize(self: TransformersText, captions: list[str]) -> list[list[int]]:
        texts.extend("Clip" not in caption for caption in captions)
        return real(self, captions)

    monkeypatch.setattr(TransformersText, "tokenize", tokenize)
    after = run("after", *knobs, "--data.latents=auto", "--data.num_workers=2", data=data)
    assert_close(before, after)
    # what a mix composes is encoded in the run, and nothing else is
    assert 0 < len(texts) < 40
    assert not any(texts)
    assert not checkpoint(after)["VideoData"]["failed"]


def test_latents_beside_a_text_encoder_that_is_trained(
    run: Callable[..., Path], data: Path, capfd: pytest.CaptureFixture
) -> None:
    before = run("before", FIRST, data=data)
    run("encode", FIRST, "--dtype=float32", command="encode", data=data)
    said = capfd.readouterr().out
    assert "the text encoder is trained with the network, so only latents are written" in said
    assert "6 samples, 0 of them lost" in said
    spoil(data, EVERY)
    after = run("after", FIRST, "--data.latents=auto", data=data)
    assert_close(before, after)
    run("valid", FIRST, "--data.latents=auto", command="validate", data=data)


def test_phases_and_images_seen_of_videos(run: Callable[..., Path], data: Path) -> None:
    view = {"area_px": 1536, "max_frames": 5, "fps": 8, "window": "first"}
    small = view | {"area_px": 800}
    phases = [
        {"steps": 3, "view": small, "budget_tokens": 150, "image_share": 0.5, "min_frames": 6},
        {"view": view, "budget_tokens": 250, "image_share": 0.3},
    ]
    knobs = [f"--data.phases={json.dumps(phases)}", "--trainer.max_steps=9"]
    before = run("before", *knobs, data=data)
    run("encode", *knobs, "--dtype=float32", command="encode", data=data)
    assert len([*(data / "latents").iterdir()]) == 4  # two views, and a frame of each
    spoil(data, EVERY)
    assert_close(before, run("after", *knobs, "--data.latents=auto", data=data))


def test_half_precision_is_near(run: Callable[..., Path], data: Path, t5: str) -> None:
    for dtype, step in (("float16", 2**-10), ("bfloat16", 2**-7)):
        run("encode", FIRST, *frozen(t5), f"--dtype={dtype}", command="encode", data=data)
        plain, stored = readers(data, t5)
        for row in range(6):
            clips = [r.read(row, view=VIEW, epoch=3, purpose="train") for r in (plain, stored)]
            video, latent = clips[0].video_THWC, clips[1].latent_CTHW
            assert clips[1].video_THWC is None
            assert latent.dtype == getattr(torch, dtype)
            exact = SpaceToDepth(4).encode(video.permute(3, 0, 1, 2).float() / 127.5 - 1)
            assert (latent.float() - exact).abs().max() <= step / 2
            assert (clips[0].times_s == clips[1].times_s).all()
            assert clips[1].text_MD.shape[1] == 16
            assert clips[1].empty_text_MD.shape == (1, 16)


def readers(data: Path, t5: str) -> tuple[ClipReader, ClipReader]:
    """One that decodes, one that takes what was stored."""
    index = load_index(str(data))
    text = TransformersText(t5).identity()
    parts = {"vae": SpaceToDepth(4).identity(), "text": text}
    wanted = wanted_folders(index, phases=[Phase(view=VIEW)], grid=GRID, **parts)
    latents = open_latents(str(data / "latents"), index=index, wanted=wanted)
    knobs = {"grid": GRID, "seed": 0, "cache_mb": 0}
    return ClipReader(index, **knobs), ClipReader(index, **knobs, latents=latents)


def test_every_text_of_a_sample_is_stored_once(
    run: Callable[..., Path], data: Path, t5: str
) -> None:
    run("encode", FIRST, *frozen(t5), command="encode", data=data)
    _, reader = readers(data, t5)
    assert reader.latents
    texts = {
        "clip-0": {"grey clip 0", "grey 0", "MVI 0"},  # the dense one is the primary one
        "clip-1": {"grey clip 1"},
        "clip-2": {"grey clip 2"},
    }
    for key, stored in texts.items():
        for text in stored:
            states, empty = reader.latents.states(key, text)
            assert len(states) == len(text.split()) + 1  # and the end
            assert len(empty) == 1
        assert reader.latents.states(key, "Clip 0. The camera is static.")[0] is None
    (folder,) = {p.parent for p in (data / "latents").rglob("empty-*.tar")}
    found = pq.read_table(folder / "index.parquet").to_pylist()
    assert len(found) == 3 + 1 + 1 + 3 + 1 + 1 + 1
    assert len({row["text"] for row in found}) == len(found)


def test_stored_tensors_are_a_plain_webdataset(run: Callable[..., Path], data: Path) -> None:
    run("encode", FIRST, "--dtype=float32", command="encode", data=data)
    tars = sorted(str(path) for path in (data / "latents").rglob("*.tar"))
    assert len(tars) == 3
    samples = [*webdataset.WebDataset(tars, shardshuffle=False)]
    assert [sample["__key__"] for sample in samples] == sorted(EVERY)
    assert load(samples[0]["latent.safetensors"])["x"].shape[0] == 48


def test_the_same_command_again_continues(
    run: Callable[..., Path], data: Path, t5: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    knobs = [FIRST, *frozen(t5), "--data.num_workers=1"]
    run("whole", *knobs, f"--data.latents={data}/whole", command="encode", data=data)
    real, written = encoding.write_unit, []

    def write_some(folder: str, unit: Any, *rest: Any) -> None:
        if len(written) == 5:
            raise KeyboardInterrupt
        real(folder, unit, *rest)
        written.append(unit.name)

    monkeypatch.setattr(encoding, "write_unit", write_some)
    with pytest.raises(KeyboardInterrupt):
        run("stopped", *knobs, command="encode", data=data)
    with pytest.raises(ValueError, match="the latents in .* are not complete: run `make encode`"):
        run("early", *knobs, "--data.latents=auto", data=data)
    first, written[:] = list(written), []
    run("stopped", *knobs, command="encode", data=data)
    assert not set(first) & set(written)
    assert len(first) + len(written) == 3 + 3 + 1
    assert files(data / "latents") == files(data / "whole")
    written.clear()
    run("stopped", *knobs, command="encode", data=data)
    assert not written


def test_new_footage_costs_only_itself(
    run: Callable[..., Path],
    dataset: Path,
    specs: list,
    make_shards: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fewer = reshard(
        make_shards(tmp_path / "fewer", specs[:4]), tmp_path / "data", samples_per_shard=2
    )
    run("encode", FIRST, command="encode", data=fewer)
    more = reshard(dataset, tmp_path / "more", samples_per_shard=2)
    (fewer / "latents").rename(more / "latents")
    with pytest.raises(ValueError, match="the latents in .* are of another dataset, or of what it"):
        run("early", FIRST, "--data.latents=auto", data=more)
    real, written = encoding.write_unit, []

    def write(folder: str, unit: Any, *rest: Any) -> None:
        written.append(unit.name)
        real(folder, unit, *rest)

    monkeypatch.setattr(encoding, "write_unit", write)
    run("encode", FIRST, command="encode", data=more)
    assert len(written) == 1
    assert written[0].startswith("bucket-000002-")
    # another type is another cache, in the place of the first
    run("encode", FIRST, "--dtype=bfloat16", command="encode", data=more)
    assert len(written) == 4
    assert len([*(more / "latents").rglob("*.tar")]) == 3


def test_a_broken_sample_is_recorded_and_left_out(
    run: Callable[..., Path], data: Path, capfd: pytest.CaptureFixture
) -> None:
    spoil(data, {"clip-2"})
    knobs = [FIRST, "--data.budget_tokens=300"]
    before = run("before", *knobs, data=data)
    for _ in range(2):  # the second time it is known
        with pytest.raises(SystemExit) as end:
            run("encode", *knobs, "--dtype=float32", command="encode", data=data)
        assert end.value.code == 1
        said = capfd.readouterr()
        assert "sample clip-2 of bucket/bucket-000001.tar cannot be decoded" in said.err
        assert "6 samples, 1 of them lost" in said.out
    after = run("after", *knobs, "--data.latents=auto", data=data)
    assert_close(before, after)
    failed = [checkpoint(output)["VideoData"]["failed"] for output in (before, after)]
    assert [*failed[0]] == ["clip-2"]
    assert failed[0] == failed[1]


def test_a_damaged_tensor_is_masked_and_recorded(run: Callable[..., Path], data: Path) -> None:
    run("encode", FIRST, command="encode", data=data)
    (index,) = (path for path in data.glob("latents/*/index.parquet") if is_latents(path))
    row = next(r for r in pq.read_table(index).to_pylist() if r["key"] == "clip-3")
    with (index.parent / row["shard"]).open("r+b") as file:
        file.seek(row["offset"])
        file.write(bytes(row["size"]))
    output = run("out", FIRST, "--data.latents=auto", data=data)
    failed = checkpoint(output)["VideoData"]["failed"]
    assert [*failed] == ["clip-3"]
    assert "is damaged at byte" in failed["clip-3"]
    assert "run `make encode` again" in failed["clip-3"]


def is_latents(index: Path) -> bool:
    return json.loads((index.parent / "record.json").read_text())["kind"] == "latents"


def test_what_belongs_to_something_else_is_refused(
    run: Callable[..., Path], data: Path, t5: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="there are no latents in .*: run `make encode` with this"):
        run("out", FIRST, "--data.latents=auto", data=data)
    with pytest.raises(ValueError, match="expected window: first and gaps: 0 in every phase"):
        run("out", command="encode", data=data)
    run("encode", FIRST, *frozen(t5), command="encode", data=data)
    wide = ["--data.budget_tokens=900"]
    for knobs, what in (
        (["--data.view.fps=4", *frozen(t5)], "latents in .* were made with another view"),
        (
            ["--model.vae.init_args.pixels=2", *wide, *frozen(t5)],
            "latents in .* another autoencoder",
        ),
        (["--model.network.patch=[2,2,2]", *frozen(t5)], "latents in .* with another grid"),
        (["--model.text.init_args.max_tokens=3"], "text states in .* another text encoder"),
    ):
        knobs = knobs if "path" in str(knobs) else [*frozen(t5), *knobs]
        with pytest.raises(ValueError, match=what):
            run("out", FIRST, "--data.latents=auto", *knobs, data=data)
    # the same weights elsewhere are the same encoder
    moved = Path(t5).rename(tmp_path / "moved")
    run("out", FIRST, "--data.latents=auto", *frozen(str(moved)), data=data)
    model = TransformersText(str(moved))  # and other weights in the same place are another
    with torch.no_grad():
        next(iter(model.frozen[0].parameters()))[0, 0] += 1e-3
    model.frozen[0].save_pretrained(moved)
    with pytest.raises(ValueError, match="text states in .* with another text encoder"):
        run("out", FIRST, "--data.latents=auto", *frozen(str(moved)), data=data)


def test_a_tensor_that_does_not_fit_is_told(t5: str) -> None:
    cpu = torch.device("cpu")
    encoder = encoding.Encoder(SpaceToDepth(4), TransformersText(t5), "float16", cpu)
    with pytest.raises(ValueError, match="up to 1e.05 does not fit float16.* --dtype bfloat16"):
        encoder.content(torch.tensor([1e5]))
    assert np.isfinite(load(encoder.content(torch.tensor([1e4])))["x"].item())
