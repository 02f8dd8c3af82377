"""What the module makes of clips before they are a pack."""

import torch

from training.models.dit import Network
from training.models.text import WordText
from training.models.vae import SpaceToDepth
from training.module import VideoFlow
from training.pack import Clip


def clip(number: int, *, given: bool) -> Clip:
    return Clip(
        uid=f"{number}",
        rng_key=f"clip {number}",
        video_THWC=torch.zeros(2, 4, 4, 3, dtype=torch.uint8),
        times_s=torch.tensor([0.0, 0.5]),
        caption="a dog",
        known_THW=torch.tensor([given, False])[:, None, None].expand(2, 1, 1),
    )


def share_without(module: VideoFlow, *, given: bool) -> float:
    clips = [module.told(clip(number, given=given)) for number in range(400)]
    assert {c.caption for c in clips} <= {"", "a dog"}
    return sum(c.caption == "" for c in clips) / len(clips)


def test_captions_are_dropped_as_often_as_asked_and_more_often_beside_given_frames() -> None:
    knobs = Network(width=16, depth=1, heads=2, patch=(1, 4, 4))
    parts = SpaceToDepth(1), WordText(8, depth=1, heads=2)
    apart = VideoFlow(*parts, network=knobs, text_drop=0.1, text_drop_given=0.6)
    assert abs(share_without(apart, given=False) - 0.1) < 0.05
    assert abs(share_without(apart, given=True) - 0.6) < 0.08
    alike = VideoFlow(*parts, network=knobs, text_drop=0.3)
    assert share_without(alike, given=True) == share_without(alike, given=False) > 0.2


def test_which_are_dropped_follows_from_the_sample() -> None:
    module = VideoFlow(
        SpaceToDepth(1),
        WordText(8, depth=1, heads=2),
        network=Network(width=16, depth=1, heads=2, patch=(1, 4, 4)),
        text_drop=0.5,
    )
    once, again = ([module.told(clip(i, given=False)).caption for i in range(50)] for _ in range(2))
    assert once == again and len(set(once)) == 2
