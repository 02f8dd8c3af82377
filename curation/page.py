"""A page in one HTML file that opens from disk: a template, the head and the style that all pages
share, a body.

The template's own script and style are named by hash in a content security policy, so that nothing
else could run even if a name or caption got through as markup.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from importlib import resources

from curation.markup import Html, escape

HEAD = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{{policy}}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{title}}</title>
"""


def fill(template: str, *, title: str, body: Sequence[Html]) -> str:
    """The page as text: the head, and behind it the template, which begins with its <style>, with
    {{body}}, and inside the style {{style}}, filled in.
    """
    shared = resources.files("curation").joinpath("page.css").read_text("utf-8")
    styled = HEAD + template.replace("{{style}}", shared)
    parts = {"policy": policy(styled), "title": escape(title), "body": "\n".join(body)}
    # in one pass: a caption that reads {{title}} stays as it is
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], styled)


def policy(template: str) -> str:
    """A content security policy: this template's script and style, data: images, nothing else."""
    allowed = {}
    for tag in ("script", "style"):
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", template, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()) for text in inside]
        allowed[tag] = " ".join(f"'sha256-{digest.decode()}'" for digest in digests) or "'none'"
    sources = f"img-src data:; script-src {allowed['script']}; style-src {allowed['style']}"
    return f"default-src 'none'; {sources}; base-uri 'none'; form-action 'none'"
