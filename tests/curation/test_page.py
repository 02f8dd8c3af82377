"""A template filled in, and its policy."""

import base64
import hashlib
import re
from pathlib import Path

from curation import page
from curation.markup import Html, element
from tests.pages import low_contrast, needs_browser

TEMPLATE = """<style>{{style}}p { margin: 0 }</style><body>{{body}}</body>"""


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_parts_are_put_in_once_and_only_where_the_template_says() -> None:
    body = [element("p", "{{title}} & {{style}}"), element("p", "b")]
    found = page.fill(TEMPLATE, title="<b>", body=body)
    assert "<title>&lt;b&gt;</title>" in found
    assert "<body><p>{{title}} &amp; {{style}}</p>\n<p>b</p></body>" in found


def test_the_policy_names_the_style_as_it_stands_and_no_script() -> None:
    found = page.fill(TEMPLATE, title="", body=[Html("<script>alien()</script>")])
    style = re.search(r"<style>(.*?)</style>", found, re.DOTALL)
    assert style is not None and ":root" in style[1] and style[1].endswith("p { margin: 0 }")
    assert f"style-src {digest(style[1])};" in found
    assert "default-src 'none'; img-src data:; script-src 'none';" in found


def test_the_policy_names_every_script_of_the_template() -> None:
    found = page.policy("<script>a()</script><style>b</style><script>c()</script>")
    assert f"script-src {digest('a()')} {digest('c()')}; style-src {digest('b')};" in found


@needs_browser
def test_text_that_cannot_be_read_is_found(tmp_path: Path) -> None:
    """#777 on white has a contrast of 4.48, just too little; white on white has none."""
    lines = ["<p class='a' style='color: #777'>x</p>", "<p class='b' style='color: #767676'>x</p>"]
    lines.append("<h1 style='color: #777; font-size: 24px'>x</h1>")  # large text needs 3
    lines.append("<div class='c' style='background: #000'><i style='opacity: 0'>x</i></div>")
    policy = '<meta http-equiv="Content-Security-Policy" content="">'
    text = f"{policy}<body style='background: #fff'>{''.join(lines)}</body>"
    assert low_contrast(text, tmp_path, dark=False) == ["p.a 4.48", "i 1.00"]
