"""One clip asked of a vision-language model, until there is a caption or the answers run out."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from captioning import prompts
from captioning.asking import WORDS_TOKENS, Writer, until_valid
from captioning.client import Client
from captioning.endpoint import Reply, Request
from captioning.fields import DENSE_WORDS, check_length, parse, schema
from captioning.frames import Frames, Shown
from captioning.lint import begins_with_chat
from captioning.text import CaptionError, plain, unfinished
from curation.clip import hash_128
from curation.stage import Abort

VERSION = 1  # raise it when the same knobs would now ask otherwise
TIME_TOKENS = 8  # "<12.5 seconds>" or "12.5, " and the marks around a frame


@dataclass(frozen=True)
class Model(Writer):
    """What is asked of which model."""

    max_tokens: int = 768
    """Tokens of an answer; one that reaches it is cut short and no caption."""
    structured: bool = True
    """Ask for fields by a JSON schema that the server enforces; else for one paragraph."""
    prompt: str | None = None
    """The question that follows the frames; null asks ours."""
    frames: Frames = field(default_factory=Frames)
    """What it gets to see of a clip."""
    told_camera: bool = True
    """Tell it the measured motion of the camera, which it cannot see in a few frames."""

    @property
    def question(self) -> str:
        return self.prompt or (prompts.STRUCTURED if self.structured else prompts.PARAGRAPH)

    def key(self, clip_id: str, *, camera: str | None) -> str:
        """Names the answer about a clip: the same for the same question about the same frames."""
        asked = asdict(self) | {"prompt": self.question, "version": VERSION}
        del asked["answers"]
        for counted_with in ("frames_per_token", "tokens_per_frame"):
            del asked["frames"][counted_with]
        told = prompts.measured_camera(camera) if self.told_camera else None
        return hash_128(clip_id, json.dumps(asked, sort_keys=True), told or "")

    def prompt_tokens(self, length_s: float, display: tuple[int, int]) -> int:
        """About what a prompt costs: exactly for the frames, roughly for the words."""
        count = self.frames.count(length_s)
        words = len(self.question.split()) + 60  # the hint, the roles, when the frames were taken
        seen = self.frames.tokens(count, display)
        return seen + count * TIME_TOKENS + round(WORDS_TOKENS * words)


def request(model: Model, shown: Shown, *, camera: str | None, attempt: int) -> Request:
    """The fields of a chat completion about one clip."""
    content, body = prompts.parts(shown, model.frames)
    told = camera if model.told_camera and shown.length_s else None
    for text in (prompts.measured_camera(told), model.question):
        if text:
            content.append({"type": "text", "text": text})
    fields: Request = {
        "messages": [{"role": "user", "content": content}],
        "extra_body": prompts.merged(body, model.extra_body) or None,
    } | model.drawn(attempt)
    if model.structured:
        fields["response_format"] = {"type": "json_schema", "json_schema": schema()}
    return fields


async def ask(client: Client, model: Model, shown: Shown, *, camera: str | None) -> dict[str, Any]:
    """The columns of an answer (captioning.answers) about one clip. Raises Refused or Abort."""

    def check(reply: Reply) -> None:
        _check_frames(reply, model, shown)
        read(reply.text, structured=model.structured, finish_reason=reply.finish_reason)

    return await until_valid(
        client,
        lambda attempt: request(model, shown, camera=camera, attempt=attempt),
        check,
        answers=model.answers,
    )


def read(
    text: str, *, structured: bool, finish_reason: str | None = "stop"
) -> dict[str, str | None]:
    """The captions in an answer: dense, short and fields. Raises CaptionError."""
    if problem := unfinished(text, finish_reason=finish_reason):
        raise problem
    if not structured:
        paragraph = plain(text)
        if begins_with_chat(paragraph):
            raise CaptionError("vlm_chat", "the answer speaks to somebody and describes nothing")
        check_length("the answer", paragraph, least=1, most=DENSE_WORDS[1])
        return {"dense": paragraph, "short": None, "fields": None}
    caption = parse(text)
    fields = caption.model_dump(exclude={"short", "dense"})
    written = json.dumps(fields, ensure_ascii=False)
    return {"dense": caption.dense, "short": caption.short, "fields": written}


def _check_frames(reply: Reply, model: Model, shown: Shown) -> None:
    """Raise Abort where the prompt took fewer tokens than its frames must have."""
    least = model.frames.tokens_of(len(shown.jpegs), shown.size)
    if reply.prompt_tokens is not None and reply.prompt_tokens < least:
        raise Abort(
            f"the server took {reply.prompt_tokens} tokens for a prompt with {len(shown.jpegs)} "
            f"frames of {shown.size[0]} x {shown.size[1]}, which have {least}: it leaves frames "
            f"out, or the knobs under frames (patch_px = {model.frames.patch_px}, "
            f"frames_per_token = {model.frames.frames_per_token}, tokens_per_frame = "
            f"{model.frames.tokens_per_frame}) are another model's"
        )
