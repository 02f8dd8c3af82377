"""Text encoders, each named by its class path in the YAML: captions to a packed run of text states.

`WordText` is a small transformer over hashed words, trained together with the network: no
vocabulary, no weights to fetch. `TransformersText` is a frozen T5, UMT5 or CLIP text model from a
folder or by hub name; its weights are in no checkpoint. The empty caption means "no text" and is
what guidance is measured against.
Shapes: N text tokens of all captions, D width.
"""

import json
import re
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from torch import Tensor, nn

from training.identity import identity
from training.models.attention import Table, attend


class TextEncoder(nn.Module):
    """What the training plane asks of a text encoder."""

    width: int

    def tokenize(self, captions: list[str]) -> list[list[int]]:
        """Token ids per caption, at least one each."""
        raise NotImplementedError

    def forward(self, ids_N: Tensor, cu: tuple[int, ...]) -> Tensor:
        """States N x width of packed captions; caption i is [cu[i], cu[i+1])."""
        raise NotImplementedError

    def identity(self) -> str | None:
        """Equal for two that give equal states; None: they change as the network is trained."""
        return None


class WordText(TextEncoder):
    """Words of the caption through a few bidirectional layers."""

    def __init__(
        self,
        width: int = 128,
        depth: int = 2,
        heads: int = 4,
        max_words: int = 128,
        buckets: int = 4096,
    ):
        """
        Args:
            width: width of the states.
            depth: layers.
            heads: heads of each layer.
            max_words: longer captions are cut here.
            buckets: vectors that the words share by their hash.
        """
        super().__init__()
        self.width, self.max_words, self.buckets = width, max_words, buckets
        self.embedding = nn.Embedding(1 + buckets, width)
        self.position = nn.Parameter(torch.randn(1 + max_words, width) * 0.02)
        self.layers = nn.ModuleList(TextLayer(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def tokenize(self, captions: list[str]) -> list[list[int]]:
        start = self.buckets  # behind the buckets, so that an empty caption is a token too
        words = [re.findall(r"\w+", caption.lower())[: self.max_words] for caption in captions]
        return [[start, *(crc32(w.encode()) % self.buckets for w in part)] for part in words]

    def forward(self, ids_N: Tensor, cu: tuple[int, ...]) -> Tensor:
        places = torch.cat([torch.arange(end - start) for start, end in pairwise(cu)]).to(
            ids_N.device
        )
        h_ND = self.embedding(ids_N) + self.position[places]
        for layer in self.layers:
            h_ND = layer(h_ND, Table(cu, cu))
        return self.norm(h_ND)


class TextLayer(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, h_ND: Tensor, table: Table) -> Tensor:
        q, k, v = self.qkv(self.norm_attention(h_ND)).unflatten(-1, (3, self.heads, -1)).unbind(1)
        h_ND = h_ND + self.out(attend(q, k, v, table=table).flatten(1))
        return h_ND + self.mlp(self.norm_mlp(h_ND))


class TransformersText(TextEncoder):
    """A frozen text model of transformers and its tokenizer."""

    def __init__(
        self,
        path: str,
        max_tokens: int = 226,
        dtype: str = "float32",
        subfolder: str = "",
        tokenizer_subfolder: str = "",
    ):
        """
        Args:
            path: folder or hub name, such as `google/t5-v1_1-xxl` or
            `openai/clip-vit-large-patch14`.
            max_tokens: longer captions are cut here (also at the model's own limit).
            dtype: torch type of the weights, such as `bfloat16`.
            subfolder: folder of the model inside a pipeline, such as `text_encoder`.
            tokenizer_subfolder: folder of the tokenizer inside a pipeline, such as `tokenizer`.
        """
        import transformers

        super().__init__()
        if path.startswith((".", "/", "~")) and not Path(path, subfolder, "config.json").exists():
            raise ValueError(
                f"no config.json in {Path(path, subfolder)}, "
                "expected a text model in transformers format"
            )
        config = transformers.AutoConfig.from_pretrained(path, subfolder=subfolder)
        models = {
            "t5": transformers.T5EncoderModel,
            "umt5": transformers.UMT5EncoderModel,
            "clip": transformers.CLIPTextModel,
            "clip_text_model": transformers.CLIPTextModel,
        }
        if config.model_type not in models:
            raise ValueError(
                f"{path} is a {config.model_type} model, expected one of {sorted(models)}"
            )
        net: Any = models[config.model_type].from_pretrained(
            path, subfolder=subfolder, dtype=getattr(torch, dtype)
        )
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(
            path, subfolder=tokenizer_subfolder
        )
        self.frozen = (
            net.eval().requires_grad_(False),
        )  # in a tuple: not a submodule, so in no checkpoint
        self.width = net.config.hidden_size
        self.max_tokens = min(max_tokens, self.tokenizer.model_max_length)

    def tokenize(self, captions: list[str]) -> list[list[int]]:
        return self.tokenizer(captions, truncation=True, max_length=self.max_tokens)["input_ids"]

    @torch.no_grad()
    def forward(self, ids_N: Tensor, cu: tuple[int, ...]) -> Tensor:
        net = self.frozen[0].to(ids_N.device)
        captions = [ids_N[start:end] for start, end in pairwise(cu)]
        ids_BL = nn.utils.rnn.pad_sequence(captions, batch_first=True)
        lengths = torch.tensor([len(ids) for ids in captions], device=ids_N.device)
        mask_BL = torch.arange(ids_BL.shape[1], device=ids_N.device) < lengths[:, None]
        states_BLD = net(input_ids=ids_BL, attention_mask=mask_BL.long()).last_hidden_state
        return states_BLD[mask_BL].float()

    def identity(self) -> str:
        net = self.frozen[0]
        fast = getattr(self.tokenizer, "backend_tokenizer", None)
        words = json.loads(fast.to_str()) if fast else self.tokenizer.get_vocab()
        words |= {"truncation": None, "padding": None}  # which the last call leaves there
        knobs = net.config.to_dict() | {"max_tokens": self.max_tokens, "tokenizer": words}
        return identity(type(net), knobs, weights=net.state_dict())


def pack_ids(ids: list[list[int]]) -> tuple[Tensor, tuple[int, ...]]:
    """All captions in one run, and where each begins and ends."""
    flat = torch.tensor([token for caption in ids for token in caption], dtype=torch.long)
    return flat, (0, *accumulate(len(caption) for caption in ids))
