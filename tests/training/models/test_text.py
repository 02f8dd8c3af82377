from pathlib import Path
from typing import Any

import pytest
import torch

from training.models.text import TextEncoder, TransformersText, WordText, pack_ids

CAPTIONS = ["a red car", "", "water runs over stones"]


def states_alone_and_packed(text: TextEncoder) -> None:
    packed_ids, cu = pack_ids(text.tokenize(CAPTIONS))
    packed = text(packed_ids, cu)
    assert packed.shape == (cu[-1], text.width)
    for number, caption in enumerate(CAPTIONS):
        alone = text(*pack_ids(text.tokenize([caption])))
        assert len(alone) > 0
        assert (packed[cu[number] : cu[number + 1]] - alone).abs().max() < 1e-5


def test_words() -> None:
    torch.manual_seed(0)
    text = WordText(width=16, depth=2, heads=2, max_words=20, buckets=1000)
    states_alone_and_packed(text)
    one, other, empty = text.tokenize(["A red\ncar, é!", "É: red car a", ""])
    assert sorted(one) == sorted(other)  # neither case nor punctuation
    assert one != other
    assert one[0] == empty[0] == 1000
    assert len(one) == 5
    assert len(empty) == 1
    assert len(text.tokenize(["x " * 99])[0]) == 21


@pytest.fixture(params=["t5", "clip"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A tiny text model with its tokenizer, as save_pretrained leaves them."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = ["<pad>", "</s>", "<unk>", *sorted(set(" ".join(CAPTIONS).split()))]
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.post_processor = processors.TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=32,
    ).save_pretrained(tmp_path)
    torch.manual_seed(0)
    net: Any
    if request.param == "t5":
        net = transformers.T5EncoderModel(
            transformers.T5Config(
                vocab_size=len(words), d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2
            )
        )
    else:
        net = transformers.CLIPTextModel(
            transformers.CLIPTextConfig(
                vocab_size=len(words),
                hidden_size=16,
                intermediate_size=32,
                eos_token_id=1,
                num_hidden_layers=2,
                num_attention_heads=2,
                max_position_embeddings=32,
            )
        )
    net.save_pretrained(tmp_path)
    return tmp_path


def test_a_text_model_from_a_folder(folder: Path) -> None:
    text = TransformersText(str(folder), max_tokens=3)
    assert text.width == 16
    assert len(text.tokenize(["a red car a red car"])[0]) == 3
    states_alone_and_packed(TransformersText(str(folder)))


def test_frozen_weights_are_in_no_checkpoint(folder: Path) -> None:
    text = TransformersText(str(folder))
    assert not text.state_dict()
    assert not list(text.parameters())


def test_a_missing_folder_is_named() -> None:
    with pytest.raises(ValueError, match="no config.json in /nowhere, expected"):
        TransformersText("/nowhere")
