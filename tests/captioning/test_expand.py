"""Prompts written out for sampling, and how they get from `make sample` to the sampler."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonargparse import ArgumentParser

from captioning.__main__ import build_parser, main
from captioning.endpoint import Endpoint
from captioning.expand import Expand, Expanded, as_json, expand, parse, report
from captioning.fields import FIELDS, WORDS
from captioning.llm import TextModel
from tests.captioning.test_fields import DENSE
from tests.captioning.test_llm import PLANTED

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "captioning" / "expand.yaml"
AWKWARD = (
    "a \"dog\" & 'cat' for $5, $HOME $(HOME) $$ ${PATH} `id` $(shell id) \\n 100% #1 é 😀\u2028\x85"
    "\nsecond line; rm -rf * | tee > x <|im_end|> [INST] {a: b}, - c"
)


def command(server: Any, prompt: str, *options: str) -> list[str]:
    line = ["expand", "--config", str(CONFIG), "--llm.model", server.model, "--prompt", prompt]
    line += ["--server.base_urls", f"[{server.url}]", "--server.backoff_s", "0.01"]
    return [*line, "--server.patience_s", "0.2", *options]


def text_of(request: dict[str, Any]) -> str:
    """What a request asks about."""
    return json.loads(request["messages"][0]["content"].rpartition("\n\n")[2])


def test_a_prompt_is_written_out_and_both_are_shown(
    chat_server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    chat_server.script = lambda n, request: {"text": f'"{DENSE}"'}
    assert main(command(chat_server, "a dog")) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == [DENSE]
    assert err.splitlines() == ["given:    a dog", f"expanded: {DENSE}"]
    assert text_of(chat_server.requests[0]) == "a dog"
    asked = chat_server.requests[0]["messages"][0]["content"]
    assert "80 to 150 words" in asked


def test_a_list_of_prompts_keeps_its_order(
    chat_server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    chat_server.script = lambda n, request: (
        {"text": "no"} if text_of(request) == "bad" else {"text": f"{text_of(request)}: {DENSE}"}
    )
    given = ["a dog", DENSE, "bad", "", "a cat", "a dog"]
    assert main(command(chat_server, json.dumps(given), "--llm.answers", "1")) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == [
        f"a dog: {DENSE}",
        DENSE,
        "bad",
        "",
        *[f"a {a}: {DENSE}" for a in ("cat", "dog")],
    ]
    assert len(chat_server.requests) == 3  # neither twice nor what is long or empty
    assert err.splitlines()[6:] == [
        "expand: 1 of 6 prompts are used as given: "
        "its 90 words are as many as a caption's (80 or more)",
        "expand: 1 of 6 prompts are used as given: "
        "llm_too_short: the answer has 1 words, asked for were 80 (1 of 1 tries)",
        "expand: 1 of 6 prompts are used as given: it is empty",
    ]


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ({"text": ""}, "llm_empty"),
        ({"text": "A dog."}, "llm_too_short"),
        ({"text": " ".join(f"w{i}" for i in range(301))}, "llm_runaway"),
        ({"text": f"{DENSE} {DENSE}"}, "llm_runaway"),
        ({"text": DENSE, "finish_reason": "length"}, "llm_truncated"),
        ({"text": f"{DENSE} <|im_end|>"}, "llm_garbage"),
        ({"text": f"Here is your prompt: {DENSE}"}, "llm_garbage"),
        ({"text": f"Certainly!\n\n{DENSE}"}, "llm_garbage"),
        ({"status": 500}, "llm_server_error"),
        ({"status": 400}, "llm_refused"),
        ({"status": 401}, "refuses the API key"),
        ({"status": 429}, "server.max_concurrency"),
        ({"raw": b"<html>"}, "llm_not_an_answer"),
        ({"drop": True}, "does not answer|llm_no_answer|no model server"),
    ],
)
def test_an_answer_of_no_use_leaves_the_prompt_as_it_is(
    chat_server: Any, reply: dict[str, Any], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    chat_server.script = lambda n, request: reply
    assert main(command(chat_server, AWKWARD)) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == [AWKWARD]
    note = err.strip().splitlines()[-1]
    assert note.startswith("expand: the prompt is used as given: ")
    assert any(words in note for words in why.split("|"))


def test_without_an_endpoint_the_prompt_stays_as_it_is_with_a_note(
    chat_server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["expand", "--prompt", "a dog"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == ["a dog"] and "no endpoint is configured" in err
    assert main(command(chat_server, "a dog", "--llm.model", "other")) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == ["a dog"] and "does not serve 'other'" in err
    chat_server.close()
    assert main(command(chat_server, '["a dog", "a cat"]')) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == ["a dog", "a cat"]
    assert err.startswith("expand: 2 of 2 prompts are used as given: no model server answers at")
    assert len(err.splitlines()) == 1


def test_a_prompt_is_data(chat_server: Any) -> None:
    chat_server.script = lambda n, request: {"text": DENSE}
    stage = Expand(
        llm=TextModel(model=chat_server.model), server=Endpoint(base_urls=[chat_server.url])
    )
    (found,) = expand(stage, [PLANTED])
    assert found == Expanded(PLANTED, DENSE)
    (message,) = chat_server.requests[0]["messages"]
    question, _, data = message["content"].rpartition("\n\n")
    assert "PWNED" not in question and json.loads(data) == PLANTED
    assert not set("<>[]") & set(data)


def test_the_question_speaks_of_the_fields_asked_for_in_the_words_of_captions() -> None:
    every = Expand(fields=list(FIELDS)).question
    assert all(f"\n{name}: " in every for name in FIELDS)
    assert all(word in every for word in WORDS["camera_motion"])
    some = Expand(fields=["light", "subject"]).question
    listed = [name for name in FIELDS if f"\n{name}: " in some]
    assert listed == ["subject", "light"] and "text_on_screen" not in Expand().question
    assert Expand(llm=TextModel(prompt="Longer {please}.")).question == "Longer {please}."


@pytest.mark.parametrize("fields", [[], ["subject", "mood"]])
def test_fields_that_no_caption_has_are_a_mistake(
    fields: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["expand", "--prompt", "a dog", "--fields", json.dumps(fields)]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "expected some of subject, action" in err


@pytest.mark.parametrize(
    ("given", "prompts"),
    [
        ("a dog", ["a dog"]),
        ('["a dog", "a cat"]', ["a dog", "a cat"]),
        ('["a dog", 3]', ['["a dog", 3]']),
        ("[]", ["[]"]),
        ("[a dog", ["[a dog"]),
        ("123", ["123"]),
        ('"a dog"', ['"a dog"']),
        ("null", ["null"]),
    ],
)
def test_a_list_is_told_from_a_prompt(given: str, prompts: list[str]) -> None:
    assert parse(given) == prompts


def test_the_list_is_read_by_the_sampler_as_it_was_meant() -> None:
    texts = [AWKWARD, PLANTED, "\x00\x1b[31m\x7f\ufeff", "'", "- a", ""]
    line = as_json([Expanded(text, text) for text in texts])
    assert json.loads(line) == yaml.safe_load(line) == texts and "\n" not in line
    parser = ArgumentParser()
    parser.add_argument("--prompt", type=list[str] | str)  # as of training.sample
    assert parser.parse_args([f"--prompt={line}"]).prompt == texts


def test_what_is_shown_turns_no_terminal() -> None:
    assert report([Expanded("a\x1b[31m\ndog", "text")]) == "given:    a[31m dog\nexpanded: text"


def test_the_config_is_understood() -> None:
    parser = build_parser()
    options = parser.parse_args(["expand", "--config", str(CONFIG), "--prompt", "x"])
    knobs = vars(parser.instantiate(options)["expand"])
    made = Expand(**{k: v for k, v in knobs.items() if k not in ("config", "prompt")})
    assert made == Expand(server=Endpoint(timeout_s=60, attempts=2, patience_s=5))
    assert CONFIG.read_text().startswith(
        "# python -m captioning expand --config configs/captioning/expand.yaml"
    )


# -- make sample -----------------------------------------------------------------------------------

RECORDER = """\
import json, os, sys
if sys.argv[1:3] == ["-m", "training"]:
    with open(os.environ["RECORD"], "w") as file:
        json.dump(sys.argv[3:], file)
else:
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def make_sample(
    folder: Path,
    prompt: str,
    *,
    given: str,
    config: Path | None = None,
    has_checkpoint: bool = True,
) -> str:
    """The prompt that the sampler gets from `make sample`, its own command being only recorded.

    given: whether the prompt stands on the command line or in the environment.
    """
    (folder / "recorder.py").write_text(RECORDER)
    if has_checkpoint:
        (folder / "run" / "checkpoints").mkdir(parents=True)
        (folder / "run" / "checkpoints" / "last.ckpt").touch()
    line = ["make", "-o", ".venv/.ready", "sample"]
    line += [f"PY={sys.executable} {folder / 'recorder.py'}", f"RUN={folder / 'run'}"]
    line += [f"EXPAND_CONFIG={config}"] if config else []
    line += [f"PROMPT={prompt}"] if given == "command line" else []
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "PROMPT"))}
    environment |= {"RECORD": str(folder / "argv.json")}
    environment |= {"PROMPT": prompt} if given == "environment" else {}
    subprocess.run(line, cwd=ROOT, env=environment, check=True, capture_output=True)
    recorded = json.loads((folder / "argv.json").read_text())
    (found,) = [word for word in recorded if word.startswith("--prompt=")]
    return found.removeprefix("--prompt=")


@pytest.mark.parametrize("given", ["command line", "environment"])
def test_any_prompt_reaches_the_sampler_as_it_was_typed(tmp_path: Path, given: str) -> None:
    assert make_sample(tmp_path, AWKWARD, given=given) == AWKWARD


@pytest.mark.parametrize("answer", [DENSE, "no"])
def test_with_an_endpoint_the_sampler_gets_the_longer_prompt_or_the_one_given(
    tmp_path: Path, chat_server: Any, answer: str
) -> None:
    chat_server.script = lambda n, request: {"text": answer}
    config = tmp_path / "expand it.yaml"
    config.write_text(
        f"llm: {{model: {chat_server.model}}}\nserver: {{base_urls: [{chat_server.url}]}}\n"
    )
    found = make_sample(tmp_path, f"-{AWKWARD}", given="command line", config=config)
    assert parse(found) == [DENSE if answer == DENSE else f"-{AWKWARD}"]
    assert text_of(chat_server.requests[0]) == f"-{AWKWARD}"


def test_without_a_checkpoint_no_model_is_asked(tmp_path: Path, chat_server: Any) -> None:
    config = tmp_path / "expand.yaml"
    config.write_text(
        f"llm: {{model: {chat_server.model}}}\nserver: {{base_urls: [{chat_server.url}]}}\n"
    )
    with pytest.raises(subprocess.CalledProcessError) as caught:
        make_sample(tmp_path, "a dog", given="environment", config=config, has_checkpoint=False)
    assert b"make train" in caught.value.stderr and chat_server.requests == []


def test_a_misspelt_config_stops_make_before_anything_is_sampled(tmp_path: Path) -> None:
    config = tmp_path / "expand.yaml"
    config.write_text("llm: {modl: x}\n")
    with pytest.raises(subprocess.CalledProcessError):
        make_sample(tmp_path, "a dog", given="environment", config=config)
    assert not (tmp_path / "argv.json").exists()
