"""A short prompt written out in the form of the training captions, for sampling.

A model that was trained on dense captions follows dense prompts, and people write short ones: a
language model closes the gap ("caption upsampling", DALL-E 3, Betker et al. 2023, sec. 3.5 and
appendix C). It may invent what was not asked for and must keep what was.

Sampling never fails for it: without an endpoint, or with one that is down or answers garbage, the
prompt is used as it was given, and a note says why.
"""

import asyncio
import contextlib
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from captioning import llm
from captioning.asking import Row, ask_all, check_servers
from captioning.client import Client
from captioning.endpoint import Endpoint
from captioning.fields import DENSE_WORDS, FIELDS, WORDS, check_length
from captioning.lint import words
from captioning.llm import TextModel
from captioning.prompts import ABOUT
from captioning.text import clean
from captioning.watch import watching
from curation.stage import Abort

# what JSON leaves in a string as it is and YAML, by which the next command reads it, does not
UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")

QUESTION = f"""\
Someone asks for a video clip in a few words. Write the caption that the finished clip would have: \
one paragraph of {DENSE_WORDS[0]} to {DENSE_WORDS[1]} words, in the present tense, from the first \
moment to the last. Keep everything that is asked for, in meaning and number, and contradict none \
of it. Where nothing is asked for, choose what is likely. Speak of these, in sentences:
{{fields}}
Write plain English and only what can be seen: no sounds, thoughts or causes, no opinion and no \
mood that is not visible. Say what is there and never what is absent or uncertain. Never mention \
the video, clip, caption or viewer, nor that something was asked for.
{llm.DATA}
Answer with the paragraph alone, in one line and without quotation marks."""


@dataclass(frozen=True)
class Expand:
    """Writes prompts out in the form of the training captions."""

    fields: list[str] = field(default_factory=lambda: [f for f in FIELDS if f != "text_on_screen"])
    """What of a clip to speak of, beside what is asked for: fields of a structured caption."""
    llm: TextModel = field(default_factory=TextModel)
    """What is asked of which model."""
    server: Endpoint | None = None
    """Where it is asked; null: nowhere, so that prompts stay as they are given."""

    def __post_init__(self) -> None:
        if not self.fields or not set(self.fields) <= set(FIELDS):
            raise ValueError(f"fields = {self.fields}, expected some of {', '.join(FIELDS)}")

    @property
    def question(self) -> str:
        listed = "\n".join(about(name) for name in FIELDS if name in self.fields)
        return self.llm.prompt or QUESTION.format(fields=listed)


@dataclass(frozen=True)
class Expanded:
    """What becomes of a prompt."""

    given: str
    text: str
    note: str | None = None
    """Why the text is the prompt as it was given."""


def about(name: str) -> str:
    """What a caption says in a field, and in which words where they are fixed."""
    said = [word for word in WORDS.get(name, ()) if word != "other"]
    return f"{name}: {ABOUT[name]}" + (f" (one of: {', '.join(said)})" if said else "") + "."


def expand(stage: Expand, prompts: Sequence[str]) -> list[Expanded]:
    """Each prompt as it is to be sampled, in their order."""
    short = list(dict.fromkeys(prompt for prompt in prompts if not _needs_nothing(prompt)))
    answers: dict[str, Row] = {}
    refused: dict[str, str] = {}
    if stage.server is None:
        refused = dict.fromkeys(short, "no endpoint is configured (server.base_urls)")
    elif short:
        try:
            with contextlib.redirect_stdout(sys.stderr), watching(stage.llm.model, stage.server):
                answers, refused = asyncio.run(_ask(stage, stage.server, short))
        except Abort as error:
            refused = dict.fromkeys(short, str(error))
    found = []
    for prompt in prompts:
        note = _needs_nothing(prompt) or refused.get(prompt) or answers[prompt]["error"]
        text = prompt if note else read(answers[prompt]["text"])
        found.append(Expanded(prompt, text, note))
    return found


def _needs_nothing(prompt: str) -> str | None:
    """Why a prompt is not written out; None where it is."""
    if not prompt.strip():
        return "it is empty"
    least = DENSE_WORDS[0]
    if (length := len(words(prompt))) >= least:
        return f"its {length} words are as many as a caption's ({least} or more)"
    return None


async def _ask(
    stage: Expand, server: Endpoint, prompts: Sequence[str]
) -> tuple[dict[str, Row], dict[str, str]]:
    """(answers, "reason_code: why" of those refused), by prompt. Raises Abort."""
    await check_servers(stage.llm.model, server)

    async def ask(client: Client, prompt: str) -> Row:
        return await llm.ask(client, stage.llm, question=stage.question, text=prompt, check=read)

    items = ((prompt, prompt) for prompt in prompts)
    return await ask_all(items, ask, model=stage.llm.model, server=server)


def read(answer: str) -> str:
    """The prompt in an answer, of the length of a caption. Raises CaptionError."""
    text = llm.line(answer)
    check_length("the answer", text, least=DENSE_WORDS[0], most=DENSE_WORDS[1])
    return text


# -- words -----------------------------------------------------------------------------------------


def parse(prompt: str) -> list[str]:
    """The prompts that a command was given: a JSON list of strings, or one prompt as it stands."""
    try:
        found = json.loads(prompt)
    except ValueError:
        return [prompt]
    is_list = isinstance(found, list) and found and all(isinstance(one, str) for one in found)
    return found if is_list else [prompt]


def report(found: Sequence[Expanded]) -> str:
    """Both forms of every prompt that was written out, and a sentence for each reason why others
    were not.
    """
    lines = []
    for one in found:
        if one.note is None:
            lines += [f"given:    {clean(one.given)}", f"expanded: {one.text}"]
    kept: dict[str, list[Expanded]] = {}
    for one in found:
        if one.note is not None:
            kept.setdefault(one.note, []).append(one)
    for note, those in kept.items():
        which = "the prompt is" if len(found) == 1 else f"{len(those)} of {len(found)} prompts are"
        lines.append(f"expand: {which} used as given: {clean(note)}")
    return "\n".join(lines)


def as_json(found: Sequence[Expanded]) -> str:
    """The prompts as one line that is a list in JSON and in YAML alike."""
    written = json.dumps([one.text for one in found], ensure_ascii=False)
    return llm.escape(UNPRINTABLE, written)
