"""Answers are kept by what was asked."""

from pathlib import Path
from typing import Any

from captioning.answers import FLUSH_ROWS, Journal, compact, load
from captioning.vlm import Model
from curation import storage


def row(key: str, text: str | None = "A boat.") -> dict[str, Any]:
    fields = {"key": key, "clip_id": "c", "model": "m", "text": text, "error": None}
    return fields | {"attempts": 1, "prompt_tokens": 7, "answer_tokens": 3}


def names(folder: Path) -> list[str]:
    return [Path(file).name for file in storage.list_files(str(folder), ".parquet")]


def test_answers_are_written_in_small_files_and_found_by_key(tmp_path: Path) -> None:
    with Journal(str(tmp_path)) as journal:
        for i in range(FLUSH_ROWS + 3):
            journal.add(row(f"k{i}"))
        assert len(names(tmp_path)) == 1  # the rest is written at the end
    assert len(names(tmp_path)) == 2
    found = load(str(tmp_path), ["k0", f"k{FLUSH_ROWS + 2}", "missing"])
    assert set(found) == {"k0", f"k{FLUSH_ROWS + 2}"} and found["k0"] == row("k0")
    assert load(str(tmp_path / "nothing"), ["k0"]) == {} == load(str(tmp_path), [])


def test_what_was_answered_before_a_stop_is_kept(tmp_path: Path) -> None:
    try:
        with Journal(str(tmp_path)) as journal:
            journal.add(row("k"))
            raise RuntimeError
    except RuntimeError:
        pass
    assert load(str(tmp_path), ["k"])["k"]["text"] == "A boat."


def test_small_files_become_one_without_doubles(tmp_path: Path) -> None:
    for keys in (["a", "b"], ["b", "c"], ["d"]):
        with Journal(str(tmp_path)) as journal:
            for key in keys:
                journal.add(row(key))
    compact(str(tmp_path))
    assert len(names(tmp_path)) == 1
    table = storage.read_table(storage.list_files(str(tmp_path), ".parquet")[0])
    assert table["key"].to_pylist() == ["a", "b", "c", "d"]
    before = names(tmp_path)
    compact(str(tmp_path))
    assert names(tmp_path) == before


def test_a_key_names_the_question_the_frames_and_what_was_told() -> None:
    model = Model()
    key = model.key("clip", camera="pan left")
    assert key == Model().key("clip", camera="pan left")
    others = [
        model.key("other", camera="pan left"),
        model.key("clip", camera=None),
        Model(prompt="What is it?").key("clip", camera="pan left"),
        Model(temperature=0.3).key("clip", camera="pan left"),
        Model(frames=type(model.frames)(max_frames=9)).key("clip", camera="pan left"),
    ]
    assert len({key, *others}) == 6
    untold = Model(told_camera=False)
    assert untold.key("clip", camera="roll") == untold.key("clip", camera=None)
