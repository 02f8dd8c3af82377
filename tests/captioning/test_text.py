import pytest

from captioning.text import CaptionError, clean, plain, unfinished


def test_clean_is_one_line_without_control_characters() -> None:
    assert clean(" a\tb\r\n\u2028c\x00\x1b[31md\x85e ") == "a b c[31md e"
    assert clean("\u202etxet desrever\u202c") == "txet desrever"
    assert clean("日本 e\u0301 👩\u200d🚀") == "日本 e\u0301 👩\u200d🚀"


@pytest.mark.parametrize(
    ("text", "finish_reason", "code"),
    [
        ("A dog runs.", "stop", None),
        ("Un chien\ncourt. 日本", "stop", None),
        ("A dog runs and", "length", "vlm_truncated"),
        ("A dog", "content_filter", "vlm_filtered"),
        (" \n", "stop", "vlm_empty"),
        ("<|im_end|><|endoftext|>", "stop", "vlm_garbage"),
        ("A dog <|im_start|>user", "stop", "vlm_garbage"),
        ("A d\ufffdg", "stop", "vlm_garbage"),
        ("A d\x08og", "stop", "vlm_garbage"),
        ("A d\ud83dog", "stop", "vlm_garbage"),
        ("!!! 123 ...", "stop", "vlm_garbage"),
    ],
)
def test_answers_that_are_no_captions(text: str, finish_reason: str, code: str | None) -> None:
    problem = unfinished(text, finish_reason=finish_reason)
    try:
        found = plain(text) if problem is None else ""
    except CaptionError as error:
        problem = error
    assert str(problem or "").split(":")[0] == (code or "")
    assert code or found == " ".join(text.split())
