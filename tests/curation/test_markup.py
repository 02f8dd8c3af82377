"""HTML out of hostile text, and numbers as they are read."""

from curation.markup import clock, duration, element, number


def test_element_escapes_text_and_attributes() -> None:
    assert (
        element("a", "<b>&\0", title='"><i>')
        == '<a title="&quot;&gt;&lt;i&gt;">&lt;b&gt;&amp;\ufffd</a>'
    )
    assert (
        element("p", [element("b", "x"), None, 3], hidden=True, id=None)
        == "<p hidden><b>x</b>3</p>"
    )


def test_numbers_are_legible() -> None:
    assert [duration(h) for h in (1.5, 0.5, 0.005, None)] == [
        "1.50 h",
        "30.0 min",
        "18.0 s",
        "0.0 s",
    ]
    assert [clock(s) for s in (0, 65.25, 3725.999)] == ["0:00.00", "1:05.25", "1:02:06.00"]
    assert [number(x) for x in (0.123456, 12345.6, 3.0, None, float("nan"))] == [
        "0.1235",
        "12,346",
        "3",
        "null",
        "null",
    ]
