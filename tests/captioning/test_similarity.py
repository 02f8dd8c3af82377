"""Texts through a tiny CLIP made here, also computed the way open_clip's README does."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from captioning.similarity import chunks, embed_texts, find_weights, fits, load_tokenizer
from curation.backbone import load_backbone
from tests.tiny_clip import CONTEXT, cut_off, write_weights

MODEL = "tiny-clip-s"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cut_off(monkeypatch, tmp_path / "empty")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_weights(folder, MODEL, "tiny.pt")
    return folder


def test_sentences_go_together_while_they_fit() -> None:
    def five_words(text: str) -> bool:
        return len(text.split()) <= 5

    assert chunks("a b c.", fits=five_words) == ["a b c."]
    assert chunks("A b. C d! E f? G h.", fits=five_words) == ["A b. C d!", "E f? G h."]
    # eight words are halved, and what is left of a sentence goes on with the next
    assert chunks("a b c d e f g h. I.", fits=five_words) == ["a b c d", "e f g h. I."]


def test_a_word_that_does_not_fit_is_halved() -> None:
    assert chunks("abcdefgh", fits=lambda text: len(text) <= 3) == ["ab", "cd", "ef", "gh"]


def test_what_fits_is_told_by_the_tokens(folder: Path) -> None:
    tokenizer = load_tokenizer(MODEL, str(folder))
    # beside the words stand a token for the start and one for the end
    assert fits(" ".join(["dog"] * (CONTEXT - 2)), tokenizer)
    assert not fits(" ".join(["dog"] * (CONTEXT - 1)), tokenizer)


def test_a_long_text_is_the_mean_of_its_chunks(folder: Path) -> None:
    import torch

    weights = str(folder / "tiny.pt")
    backbone = load_backbone(MODEL, weights, str(folder), "cpu")
    tokenizer = load_tokenizer(MODEL, str(folder))
    first = "A red boat sails on the lake now."
    second = "A dog sleeps."
    third = "Two cats run over the green grass."
    texts = ["A dog.", f"{first} {second} {third}"]
    made = embed_texts(texts, backbone, tokenizer, batch_size=2)

    def encoded(text: str) -> np.ndarray:
        with torch.no_grad():
            vector = backbone.net.encode_text(tokenizer([text]))[0].double().numpy()
        return vector / np.linalg.norm(vector)

    np.testing.assert_allclose(made[0], encoded("A dog."), atol=1e-6)
    # with its full stop the first has 9 tokens of 10, the second 4 and the third 8
    mean = (encoded(first) + encoded(second) + encoded(third)) / 3
    np.testing.assert_allclose(made[1], mean, atol=1e-6)


def test_weights_are_named_missing_or_none_is_asked_for(folder: Path) -> None:
    def find(pretrained: str | None, model: str = MODEL) -> Any:
        return find_weights(model, pretrained, str(folder))

    there = find(str(folder / "tiny.pt"))
    assert there.note is None and there.made_by == f"{MODEL}/tiny.pt" and there.digest
    assert find(None).note == (
        "no weights are named (pretrained: null): set pretrained to openai, or to a file"
    )
    gone = find(str(folder / "gone.pt"))
    assert gone.note == f"missing weights: {folder / 'gone.pt'} (no such file)" and not gone.digest
    assert "timm/vit_large_patch14_clip_224.openai (not in" in find("openai", "ViT-L-14").note
    with pytest.raises(ValueError, match="'opnai' is no published name"):
        find("opnai", "ViT-L-14")


def test_a_tokenizer_that_lies_on_the_hub_is_missing_without_it(folder: Path) -> None:
    import json

    config = json.loads((folder / f"{MODEL}.json").read_text())
    config["text_cfg"]["hf_tokenizer_name"] = "timm/ViT-B-16-SigLIP"
    (folder / "hub-tokenizer.json").write_text(json.dumps(config))
    from curation.backbone import import_open_clip

    import_open_clip.cache_clear()  # it reads the folder once
    found = find_weights("hub-tokenizer", str(folder / "tiny.pt"), str(folder))
    assert found.note is not None and found.digest == ""
    assert found.note.startswith("missing weights: the tokenizer timm/ViT-B-16-SigLIP (not in")
