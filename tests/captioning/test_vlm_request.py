"""One clip asked of a model: what goes out, and what of the answers is taken."""

import asyncio
import base64
import json
from typing import Any

import pytest

from captioning import prompts, vlm
from captioning.client import Client
from captioning.endpoint import Endpoint
from captioning.frames import Frames, Shown
from captioning.vlm import Model
from curation.stage import Abort
from tests.captioning.test_fields import GOOD

SHOWN = Shown([b"one", b"two"], [0.25, 1.5], 2.0, (64, 32))
PROSE: dict[str, Any] = {"structured": False}


def model(server: Any, **knobs: Any) -> Model:
    frames = Frames(min_pixels=32 * 32)
    return Model(**{"model": server.model, "seed": 7, "frames": frames} | knobs)


def ask(server: Any, camera: str | None = "pan left", **knobs: Any) -> dict[str, Any]:
    async def run() -> dict[str, Any]:
        asked = model(server, **knobs)
        async with Client(asked.model, Endpoint(base_urls=[server.url])) as client:
            return await vlm.ask(client, asked, SHOWN, camera=camera)

    return asyncio.run(run())


def test_frames_travel_as_one_video_with_their_times(chat_server: Any) -> None:
    chat_server.script = lambda n, request: {"text": json.dumps(GOOD)}
    assert json.loads(ask(chat_server)["text"]) == GOOD
    (request,) = chat_server.requests
    video, when, hint, question = request["messages"][0]["content"]
    encoded = video["video_url"]["url"].removeprefix("data:video/jpeg;base64,").split(",")
    assert [base64.b64decode(frame) for frame in encoded] == SHOWN.jpegs
    assert when["text"] == "2 frames of a clip of 2.0 s, taken at 0.2, 1.5 s."
    assert "the camera is: pan left" in hint["text"] and question["text"] == prompts.STRUCTURED
    assert request["media_io_kwargs"]["video"] == {
        "num_frames": -1,
        "fps": 1000,
        "frames_indices": [250, 1500],
        "total_num_frames": 2000,
        "duration": 2.0,
    }
    assert request["response_format"]["json_schema"]["name"] == "caption"


def test_frames_travel_as_pictures_each_after_its_time(chat_server: Any) -> None:
    ask(chat_server, camera=None, frames=Frames(send_as="images"), **PROSE)
    (request,) = chat_server.requests
    kinds = [part["type"] for part in request["messages"][0]["content"]]
    assert kinds == ["text", "image_url"] * 2 + ["text", "text"]
    assert request["messages"][0]["content"][0]["text"] == "Frame 1, 0.2 s:"
    assert not {"media_io_kwargs", "response_format"} & set(request)


@pytest.mark.parametrize("camera", [None, "mixed"])
def test_what_is_not_known_of_the_camera_is_not_told(chat_server: Any, camera: str | None) -> None:
    ask(chat_server, camera=camera, **PROSE)
    ask(chat_server, camera="roll", told_camera=False, **PROSE)
    for request in chat_server.requests:
        assert "the camera is:" not in json.dumps(request)


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ({"text": ""}, "vlm_empty"),
        ({"text": None}, "vlm_empty"),
        ({"text": '{"subject": "A bo', "finish_reason": "length"}, "vlm_truncated"),
        ({"text": "A boat."}, "vlm_not_the_schema"),
        ({"text": json.dumps(GOOD | {"short": "<|endoftext|>"})}, "vlm_garbage"),
        ({"text": json.dumps(GOOD | {"dense": "so " * 90})}, "vlm_runaway"),
    ],
)
def test_what_is_no_caption_is_asked_again_and_then_recorded(
    chat_server: Any, reply: dict[str, Any], code: str
) -> None:
    chat_server.script = lambda n, request: reply | {"prompt_tokens": 100}
    answer = ask(chat_server, answers=3, temperature=0)
    assert answer["text"] is None
    assert answer["error"].startswith(f"{code}: ") and answer["error"].endswith("(3 of 3 tries)")
    counts = [answer[name] for name in ("attempts", "prompt_tokens", "answer_tokens")]
    assert counts == [3, 300, 27]
    # the same seed at temperature 0 would give the same answer again
    drawn = [(request["seed"], request["temperature"]) for request in chat_server.requests]
    assert drawn == [(7, 0), (8, 0.7), (9, 0.7)]


def test_a_second_answer_that_is_good_is_taken(chat_server: Any) -> None:
    chat_server.script = lambda n, request: {"text": "" if n == 0 else "A boat."}
    answer = ask(chat_server, **PROSE)
    assert (answer["text"], answer["error"], answer["attempts"]) == ("A boat.", None, 2)


def test_a_server_that_leaves_frames_out_stops_the_run(chat_server: Any) -> None:
    chat_server.script = lambda n, request: {"prompt_tokens": 1}  # 64 x 32 of 32: 2 tokens a pair
    with pytest.raises(Abort, match="took 1 tokens for a prompt with 2 frames of 64 x 32, .* 2:"):
        ask(chat_server, **PROSE)


def test_an_answer_is_read_as_it_was_asked_for() -> None:
    texts = vlm.read(json.dumps(GOOD), structured=True)
    assert (texts["short"], texts["dense"]) == (GOOD["short"], GOOD["dense"])
    fields = json.loads(texts["fields"] or "")
    assert fields == {name: GOOD[name] for name in GOOD if name not in ("short", "dense")}
    assert vlm.read(" A boat.\n", structured=False) == {
        "dense": "A boat.", "short": None, "fields": None
    }  # fmt: skip


def test_tokens_are_estimated_before_anything_is_sent() -> None:
    knobs = Frames(per_s=2, max_frames=8, patch_px=32, max_pixels=256 * 1024)
    asked = Model(frames=knobs, prompt="one two three four five")
    # 8 frames of 672 x 384 in pairs, 8 tokens for each one's time, 65 words
    assert asked.prompt_tokens(4.0, (1920, 1080)) == 4 * 21 * 12 + 8 * 8 + round(1.4 * 65)
