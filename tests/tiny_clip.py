"""A CLIP of open_clip's own code with small random weights, made in the test: no download."""

import json
from pathlib import Path
from typing import Any

from curation import backbone, torchvision_cpu

WIDTH = 32
CONTEXT = 12
TINY = {
    "embed_dim": WIDTH,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    # as many words as the tokenizer knows
    "text_cfg": {
        **{"context_length": CONTEXT, "vocab_size": 49408},
        **{"width": 32, "heads": 2, "layers": 1},
    },
}


def write_weights(folder: Path, model: str, *files: str) -> None:
    """<model>.json, an architecture for open_clip, and files of weights: each of another seed."""
    torchvision_cpu.mend()
    import open_clip
    import torch

    (folder / f"{model}.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder)
    for seed, file in enumerate(files):
        torch.manual_seed(seed)
        torch.save(open_clip.create_model(model).state_dict(), folder / file)


def cut_off(monkeypatch: Any, empty: Path) -> None:
    """No host answers and nothing is cached, on whatever machine this runs."""
    from huggingface_hub import constants

    for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(empty))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(empty))
    backbone._answers.cache_clear()
