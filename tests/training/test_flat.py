"""Batches on their way between processes."""

import pickle
from typing import Any

import torch

from training.flat import flatten, unflatten
from training.pack import Clip, ClipBatch


def test_tensors_come_out_as_they_went_in() -> None:
    parts = [
        torch.randn(3, 5).half(),
        None,
        torch.arange(7, dtype=torch.uint8),
        torch.ones(2, 3, 4) > 0,
        torch.randn(4, 6).T,  # not contiguous
        torch.zeros(0, 3),
        torch.tensor(2.5),
    ]
    whole, places = flatten(parts)
    for part, back in zip(parts, unflatten(whole, places), strict=True):
        if part is None:
            assert back is None
        else:
            assert back is not None
            assert back.dtype == part.dtype
            assert torch.equal(back, part)


def test_a_batch_is_pickled_whole() -> None:
    clips = [
        Clip(
            uid=f"clip {number}",
            rng_key=str(number),
            video_THWC=torch.full((2, 4, 4, 3), number, dtype=torch.uint8),
            times_s=torch.arange(2.0),
            caption="a",
            known_THW=torch.zeros(2, 1, 1) > 0,
            text_MD=torch.randn(number, 8) if number else None,
        )
        for number in range(3)
    ]
    batch = ClipBatch(clips, 7, 9, balance=0.5)
    back: Any = pickle.loads(pickle.dumps(batch))
    assert (back.step_targets, back.budget_tokens, back.balance) == (7, 9, 0.5)
    for clip, same in zip(clips, back.clips, strict=True):
        assert (clip.uid, clip.rng_key, clip.caption) == (same.uid, same.rng_key, same.caption)
        assert torch.equal(clip.video_THWC, same.video_THWC)
        assert (clip.text_MD is None) == (same.text_MD is None)
        assert same.latent_CTHW is None
