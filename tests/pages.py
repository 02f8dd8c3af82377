"""Pages as a parser and as a real browser see them."""

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")


class Outline(HTMLParser):
    """Tags, links and text of a page, as any parser sees them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def read(url: str) -> str:
    return Path(url).read_text("utf-8")


def rendered(page: Path, tmp_path: Path, *more: str) -> str:
    """The document after a real browser has run it; more: flags of Chromium."""
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    flags += "--disable-background-networking --disable-component-update --disable-sync --dump-dom"
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    assert CHROMIUM is not None
    command = [CHROMIUM, *flags.split(), *more, profile, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def without_policy(page: str) -> str:
    """The page with its content security policy taken out, so that escaping alone is what holds."""
    bare, count = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    assert count == 1
    return bare


MEASURE = """<script>
function channels(colour) { return colour.match(/[\\d.]+/g).map(Number); }
function over(front, back) {
  const alpha = front[3] ?? 1;
  return [0, 1, 2].map((i) => front[i] * alpha + back[i] * (1 - alpha));
}
function luminance(colour) {
  const linear = colour.map((value) => value / 255).map(
    (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}
for (const part of document.querySelectorAll("details")) part.open = true;
const found = {low: [], measured: 0};
for (const part of document.querySelectorAll("body *")) {
  const own = [...part.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  if (!own || !part.getClientRects().length || ["SCRIPT", "STYLE"].includes(part.tagName)) continue;
  const line = [];
  for (let at = part; at; at = at.parentElement) line.unshift(at);
  let back = [255, 255, 255], opacity = 1;
  for (const at of line) {
    back = over(channels(getComputedStyle(at).backgroundColor), back);
    opacity *= Number(getComputedStyle(at).opacity);
  }
  const style = getComputedStyle(part);
  const front = channels(style.color);
  front[3] = (front[3] ?? 1) * opacity;
  const [light, dark] = [luminance(over(front, back)), luminance(back)].sort((a, b) => b - a);
  const ratio = (light + 0.05) / (dark + 0.05);
  const size = parseFloat(style.fontSize);
  const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  const name = part.tagName.toLowerCase() + (part.className ? "." + part.className : "");
  found.measured += 1;
  if (ratio < (isLarge ? 3 : 4.5)) found.low.push(name + " " + ratio.toFixed(2));
}
found.ground = luminance(channels(getComputedStyle(document.body).backgroundColor));
found.low = [...new Set(found.low)];
document.title = JSON.stringify(found);
</script>"""
"""WCAG 2.2, 1.4.3: text has a contrast of 4.5 to what lies behind it, large text one of 3."""


def low_contrast(page: str, tmp_path: Path, *, dark: bool) -> list[str]:
    """Elements whose own text is of too low contrast, as a browser computes their colours."""
    copy = tmp_path / "contrast.html"
    copy.write_text(without_policy(page).replace("</body>", MEASURE + "</body>"), "utf-8")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    title = re.search(r"<title>(.*?)</title>", rendered(copy, tmp_path, scheme), re.DOTALL)
    assert title is not None
    found = json.loads(html.unescape(title[1]))
    assert (found["ground"] < 0.1) == dark and found["measured"] > 0
    return found["low"]
