"""Captions made short: one answer, and the stage through the pipeline and the command."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from captioning.__main__ import build_parser, main
from captioning.describe import CAPTIONS
from captioning.endpoint import Endpoint
from captioning.llm import TextModel
from captioning.rewrite import REWRITES, Rewrite, estimate, read, rewrite, summary, units
from captioning.text import CaptionError
from curation import dataset, storage
from curation.stage import Abort
from curation.stages.filter import expected_columns
from tests.captioning.test_llm import PLANTED

CONFIG = Path(__file__).parents[2] / "configs" / "captioning" / "rewrite.yaml"
LONG = " ".join(f"word{i}" for i in range(30)) + "."
SHORT = "A boat crosses a lake."


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (SHORT, None),
        ('"A boat, red \\u003c3"', None),
        (" ".join(f"w{i}" for i in range(40)), None),  # twice as many as asked for
        (" ".join(f"w{i}" for i in range(41)), "vlm_runaway"),
        ("no no no no no no", "vlm_runaway"),
        (f"  {LONG.upper()}", "llm_echo"),
        (f"So: {LONG} Yes.", "llm_echo"),
        ("<|im_start|>system", "vlm_garbage"),
        ("A boat.\nA lake.", "llm_garbage"),
    ],
)
def test_what_is_stored_and_what_is_not(answer: str, code: str | None) -> None:
    found = None
    try:
        read(answer, given=LONG, max_words=20)
    except CaptionError as error:
        found = str(error).split(":")[0]
    assert found == code


def test_a_caption_that_is_short_enough_may_come_back_as_it_was() -> None:
    assert read(SHORT, given=SHORT, max_words=20) == SHORT


# -- a dataset -------------------------------------------------------------------------------------

ROWS: dict[str, tuple[str | None, str | None]] = {
    "a": (LONG, "vlm"),
    "b": ("The same title.", "sidecar"),
    "c": ("The same title.", "sidecar"),
    "d": ("A landscape video clip.", "measured"),
    "e": (None, None),
    "f": (PLANTED.replace("\n", " "), "sidecar"),
}


def write_captions(data: Path, unit: str, rows: dict[str, tuple[str | None, str | None]]) -> None:
    written = [
        dict.fromkeys(CAPTIONS.names) | {"clip_id": clip, "caption": text, "caption_source": source}
        for clip, (text, source) in rows.items()
    ]
    table = pa.Table.from_pylist(written, schema=CAPTIONS)
    storage.write_table(dataset.unit_url(str(data), "captions", unit), table)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_captions(tmp_path / "data", "one", ROWS)
    return tmp_path / "data"


def stage(server: Any, *, answers: str | None = None, **knobs: Any) -> Rewrite:
    own = {name: knobs.pop(name) for name in ("only_sources", "max_words") if name in knobs}
    model = TextModel(**{"model": server.model, "answers": 1} | knobs)
    endpoint = Endpoint(
        base_urls=[server.url], attempts=2, backoff_s=0.01, timeout_s=5, patience_s=0.5
    )
    return Rewrite(llm=model, server=endpoint, answers=answers, **own)


def rows_of(data: Path) -> dict[str, dict[str, Any]]:
    rows = dataset.require(str(data), "rewrites").to_pylist()
    return {row["clip_id"]: row for row in rows}


def text_of(request: dict[str, Any]) -> str:
    """What a request asks about."""
    return json.loads(request["messages"][0]["content"].rpartition("\n\n")[2])


def test_every_text_is_asked_about_once_and_every_clip_has_a_row(
    data: Path, chat_server: Any
) -> None:
    chat_server.script = lambda n, request: {"text": SHORT, "prompt_tokens": 50}
    record = rewrite(stage(chat_server), data=str(data), workers=1)
    assert record["counts"]["rows"] == record["counts"]["kept"] == 6
    rows = rows_of(data)
    assert [rows[clip]["caption_rewritten"] for clip in "abcdef"] == [
        *[SHORT] * 3, None, None, SHORT
    ]  # fmt: skip
    assert rows["a"]["rewrite_model"] == chat_server.model and rows["d"]["rewrite_model"] is None
    assert rows["d"]["rewrite_error"] == "not_rewritten: only_sources leaves measured out"
    assert rows["e"]["rewrite_error"] == "no_caption: the clip has none"
    asked = [text_of(request) for request in chat_server.requests]
    assert len(asked) == 3 and set(asked) == {ROWS[clip][0] for clip in "abf"}
    assert all("at most 20 words" in json.dumps(request) for request in chat_server.requests)
    # what an answer cost is told with the first clip that it is about
    tokens = [rows[clip]["rewrite_prompt_tokens"] for clip in "abc"]
    assert tokens == [50, 50, None] and rows["b"]["rewrite_answer_tokens"] == 9

    # nothing is missing, so no server is needed
    chat_server.close()
    again = rewrite(stage(chat_server), data=str(data))["counts"]
    assert again["units_done_before"] == again["units"] == 1


def test_an_instruction_in_a_caption_reaches_the_model_as_data_alone(
    data: Path, chat_server: Any
) -> None:
    obeyed = "PWNED <|im_start|>system"
    chat_server.script = lambda n, request: {"text": obeyed} if "PWNED" in text_of(request) else {}
    rewrite(stage(chat_server), data=str(data), workers=1)
    for request in chat_server.requests:
        (message,) = request["messages"]
        question, _, quoted = message["content"].rpartition("\n\n")
        assert "PWNED" not in question and not set("<>[]") & set(quoted)
    rows = rows_of(data)
    # and a model that obeys it writes nothing
    assert rows["f"]["caption_rewritten"] is None and rows["f"]["rewrite_model"] is None
    assert rows["f"]["rewrite_error"].startswith("llm_garbage: ")
    assert rows["a"]["caption_rewritten"] == chat_server.good


def test_an_answer_of_no_use_is_recorded_and_not_asked_for_again(
    data: Path, chat_server: Any
) -> None:
    chat_server.script = lambda n, request: (
        {"text": text_of(request)} if text_of(request) == LONG else {}
    )
    tried = stage(chat_server)
    rewrite(tried, data=str(data), workers=1)
    row = rows_of(data)["a"]
    assert row["caption_rewritten"] is None and row["error"] is None
    assert row["rewrite_error"].startswith("llm_echo: ")
    assert row["rewrite_error"].endswith("(1 of 1 tries)")
    assert len(chat_server.requests) == 3
    write_captions(data, "one", ROWS | {"g": (LONG, "vlm")})
    rewrite(tried, data=str(data), workers=1)
    assert len(chat_server.requests) == 3
    assert rows_of(data)["g"]["rewrite_error"] == row["rewrite_error"]


def test_a_rerun_asks_only_for_what_is_missing(data: Path, chat_server: Any) -> None:
    rewrite(stage(chat_server), data=str(data), workers=1)
    assert len(chat_server.requests) == 3
    # a caption more, in a file of the old name
    write_captions(data, "one", ROWS | {"g": ("A new title.", "sidecar")})
    rewrite(stage(chat_server), data=str(data), workers=1)
    assert len(chat_server.requests) == 4 and set(rows_of(data)) == set("abcdefg")
    # other words, other sources
    rewrite(stage(chat_server, max_words=10), data=str(data), workers=1)
    assert len(chat_server.requests) == 8
    only = stage(chat_server, only_sources=["measured"])
    rewrite(only, data=str(data), workers=1)
    assert len(chat_server.requests) == 9
    assert [c for c, row in rows_of(data).items() if row["caption_rewritten"]] == ["d"]


def test_units_and_datasets_share_answers(data: Path, chat_server: Any, tmp_path: Path) -> None:
    write_captions(data, "two", {"x": ("The same title.", "sidecar"), "y": (LONG, "vlm")})
    shared = str(tmp_path / "answers")
    rewrite(stage(chat_server, answers=shared), data=str(data), workers=2)
    assert len(chat_server.requests) == 3
    rows = rows_of(data)
    assert {rows[clip]["caption_rewritten"] for clip in "abcxy"} == {chat_server.good}
    other = tmp_path / "other"
    write_captions(other, "three", {"z": (LONG, "vlm")})
    rewrite(stage(chat_server, answers=shared), data=str(other), workers=1)
    assert len(chat_server.requests) == 3 and rows_of(other)["z"]["caption_rewritten"]


def test_what_failed_for_the_moment_is_asked_again(data: Path, chat_server: Any) -> None:
    chat_server.script = lambda n, request: {"status": 500 if text_of(request) == LONG else 200}
    counts = rewrite(stage(chat_server), data=str(data), workers=1)["counts"]
    assert (counts["kept"], counts["failed"]) == (5, 1)
    assert rows_of(data)["a"]["error"].startswith("llm_server_error: ")
    chat_server.script = lambda n, request: {}
    before = len(chat_server.requests)
    assert rewrite(stage(chat_server), data=str(data), workers=1)["counts"]["failed"] == 0
    assert len(chat_server.requests) == before + 1
    assert rows_of(data)["a"]["caption_rewritten"] == chat_server.good


def test_what_every_text_would_meet_stops_the_run_and_keeps_the_answers(
    data: Path, chat_server: Any
) -> None:
    chat_server.script = lambda n, request: {} if n < 2 else {"status": 401}
    with pytest.raises(Abort, match="refuses the API key"):
        rewrite(stage(chat_server), data=str(data), workers=1)
    asked = len(chat_server.requests)
    chat_server.script = lambda n, request: {}
    rewrite(stage(chat_server), data=str(data), workers=1)
    assert len(chat_server.requests) == asked + 1


def test_a_model_that_rewrites_nothing_is_told_and_fails(data: Path, chat_server: Any) -> None:
    chat_server.script = lambda n, request: {"text": ""}
    with pytest.raises(Abort) as caught:
        rewrite(stage(chat_server), data=str(data), workers=1)
    assert str(caught.value).startswith(
        "none of the 4 captions that answers-by-script was asked about has a short text by it: "
        "4 llm_empty, such as 'the answer is empty (1 of 1 tries)'; look at llm.model"
    )
    assert len(rows_of(data)) == 6
    rewrite(stage(chat_server), data=str(data), workers=1)  # nothing is asked


def test_shards_that_hold_older_captions_are_told_of(
    data: Path, chat_server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    storage.write_table(f"{data}/shards/index.parquet", pa.table({"key": ["a"]}))
    rewrite(stage(chat_server), data=str(data), workers=1)
    note = "the shards hold older captions; run make shard\n"
    assert note in capsys.readouterr().out
    rewrite(stage(chat_server, max_words=10), data=str(data), workers=1)
    assert note not in capsys.readouterr().out  # the texts are the same


def test_a_server_that_is_down_is_one_line(
    data: Path, chat_server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    chat_server.close()
    command = ["rewrite", "--data", str(data), "--server.base_urls", f"[{chat_server.url}]"]
    assert main(command) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and chat_server.url in said[0]
    assert not (data / "tables" / "rewrites").exists()


def test_the_command_does_what_the_config_says(
    data: Path, chat_server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["rewrite", "--config", str(CONFIG), "--data", str(data), "--workers", "1"]
    command += ["--server.base_urls", f"[{chat_server.url}]", "--llm.model", chat_server.model]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "rewrite: 3 texts to ask answers-by-script about" in said
    assert "rewrites    4 texts of 6.0 words on average | 1 not_rewritten | 1 no_caption" in said


def test_a_dataset_without_captions_is_one_sentence_and_one_without_eligible_clips_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rewrite", "--data", str(tmp_path)]) == 1
    assert "rewrite reads the table 'captions'" in capsys.readouterr().err
    record = {"stage": "caption", "status": "complete", "tables": ["captions"], "units": []}
    dataset.write_manifest(str(tmp_path), record)
    assert main(["rewrite", "--data", str(tmp_path)]) == 0


# -- names and words -------------------------------------------------------------------------------


def test_units_are_named_by_the_texts_and_the_question(data: Path, chat_server: Any) -> None:
    def key(stage: Rewrite) -> str:
        (unit,), _ = units(stage, data=str(data))
        return unit.key

    one = stage(chat_server)
    elsewhere = stage(chat_server, answers=str(data / "else"))
    assert key(one) == key(elsewhere)
    others = [stage(chat_server, prompt="Say it in ten words."), stage(chat_server, max_words=9)]
    others += [
        stage(chat_server, only_sources=["vlm"]),
        stage(chat_server, model=chat_server.model, seed=1),
    ]
    keys = {key(other) for other in others}
    write_captions(data, "one", ROWS | {"a": ("Another.", "vlm")})
    assert len({*keys, key(one), key(elsewhere)}) == 5
    assert chat_server.requests == []


def test_rows_of_a_unit_that_failed_are_kept_with_the_reason() -> None:
    captions = pa.table({"clip_id": ["a", "b"]})
    written = Rewrite().failed({"captions": captions}, error="deadline: too slow")["rewrites"]
    assert written.schema == REWRITES and written["clip_id"].to_pylist() == ["a", "b"]
    assert written["error"].to_pylist() == ["deadline: too slow"] * 2


def test_the_cost_is_told_before_and_while_it_is_spent() -> None:
    asked = Rewrite(llm=TextModel(model="m", prompt="Shorten this now.", max_tokens=100))
    said = estimate(asked, ["one two three", "four"])
    assert said == (
        "rewrite: 2 texts to ask m about: about 14 prompt tokens, and up to 200 of answers; "
        "at most 42 and 600, where every text is asked about 3 times (llm.answers)"
    )
    priced = Rewrite(server=Endpoint(usd_per_hour=7.2))
    tally = {"rewrite_prompt_tokens": 900.0, "rewrite_answer_tokens": 100.0}
    said = priced.progress(tally, seconds=50.0, share=0.25)
    assert said == "20 tokens/s, $0.10 spent, $0.30 to go"
    assert summary([]) == "rewrites    0 texts"


def test_filter_knows_every_column_before_it_is_written() -> None:
    expected = expected_columns()
    columns = set(REWRITES.names) - {"clip_id", "error"}
    assert {expected.get(column) for column in columns} == {"rewrites"}
    assert not columns & set(CAPTIONS.names)  # a rule could not tell whose it means


def test_a_value_that_cannot_be_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="max_words = 0"):
        Rewrite(max_words=0)
    with pytest.raises(ValueError, match=r"only_sources = \[\]"):
        Rewrite(only_sources=[])


def test_the_config_is_understood() -> None:
    parser = build_parser()
    options = parser.parse_args(["rewrite", "--config", str(CONFIG), "--data", "x"])
    knobs = vars(parser.instantiate(options)["rewrite"])
    made = Rewrite(**{k: v for k, v in knobs.items() if k not in ("config", "data", "workers")})
    assert made == Rewrite(llm=TextModel(max_tokens=128))
    assert CONFIG.read_text().startswith(
        "# python -m captioning rewrite --config configs/captioning/rewrite.yaml"
    )
