"""Text beside a source file: <stem>.vtt (timed, WebVTT) or <stem>.txt (about the whole file).

Whoever made the footage often described it. The text is hostile until proved otherwise: it is
bounded, cleaned of control characters and never interpreted; an instruction inside it ends as the
words of a caption. WebVTT: https://www.w3.org/TR/webvtt1/
"""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from captioning.text import UNDECODABLE, clean
from curation import storage

TIMED, WHOLE = ".vtt", ".txt"
MAX_BYTES = {TIMED: 1 << 20, WHOLE: 1 << 16}  # subtitles of a feature film take about 100 kB
MAX_CHARS = 4000  # a page; what is longer is a script or a licence, and no text encoder reads it
MIN_COVERED = 0.5  # of the clip's length: with less, the words are about something else
MAX_REPLACED = 0.1  # of the characters undecodable: not UTF-8 text


class Unusable(Exception):
    """A sidecar that is there and gives no caption: "reason_code: why"."""


@dataclass(frozen=True)
class Cue:
    """A stretch of time and what is said about it."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True)
class Sidecar:
    """What lies beside one source file, read once for all its clips."""

    cues: tuple[Cue, ...] = ()
    whole: str | None = None
    problems: tuple[str, ...] = ()

    def caption(self, *, start_s: float, end_s: float) -> str | None:
        """Text for the clip: the timed one where cues cover it, else that about the whole file."""
        return caption_from_cues(self.cues, start_s=start_s, end_s=end_s) or self.whole


def paths(uri: str) -> dict[str, str]:
    """Where the sidecars of a source would lie, by suffix."""
    folder, slash, name = uri.rpartition("/")
    return {suffix: folder + slash + PurePosixPath(name).stem + suffix for suffix in MAX_BYTES}


def versions(uri: str) -> list[str]:
    """Name, size and modification of the sidecars that exist: changes when their text may have."""
    found = []
    for suffix, url in paths(uri).items():
        if info := _info(url):
            stamp = next((str(info[k]) for k in ("ETag", "etag", "mtime") if info.get(k)), "")
            found.append(f"{suffix} {info['size']} {stamp}")
    return found


def read(uri: str) -> Sidecar:
    """The sidecars of a source. What cannot be used is named in `problems`."""
    cues: tuple[Cue, ...] = ()
    whole = None
    problems = []
    for suffix, url in paths(uri).items():
        try:
            text = _read_text(url, max_bytes=MAX_BYTES[suffix])
            if text is None:
                continue
            if suffix == TIMED:
                cues = parse_cues(text)
            else:
                whole = _bounded(clean(text)) or None
        except Unusable as problem:
            problems.append(str(problem))
    return Sidecar(cues, whole, tuple(problems))


def caption_from_cues(cues: tuple[Cue, ...], *, start_s: float, end_s: float) -> str | None:
    """The words of the cues that belong to [start_s, end_s); None where too few cover it.

    A cue belongs to the clip when half of the cue or half of the clip is common to both: one that
    merely reaches over a cut speaks of the neighbour.
    """
    length_s = end_s - start_s
    if length_s <= 0:
        return None
    texts: list[str] = []
    covered_s, covered_to = 0.0, start_s
    for cue in sorted(cues, key=lambda c: (c.start_s, c.end_s)):
        common_s = min(cue.end_s, end_s) - max(cue.start_s, start_s)
        shorter_s = min(length_s, cue.end_s - cue.start_s)
        if common_s <= 0 or common_s < MIN_COVERED * shorter_s:
            continue
        to = min(cue.end_s, end_s)
        covered_s += max(0.0, to - max(cue.start_s, covered_to))
        covered_to = max(covered_to, to)
        if cue.text and cue.text not in texts:
            texts.append(cue.text)
    if covered_s < MIN_COVERED * length_s or not texts:
        return None
    return _bounded(" ".join(texts))


def parse_cues(text: str) -> tuple[Cue, ...]:
    """The cues of a WebVTT file, tags removed. Raises Unusable where it is none."""
    from webvtt import WebVTT
    from webvtt.errors import MalformedCaptionError, MalformedFileError

    try:
        captions = WebVTT.from_string(text).captions
    except (MalformedFileError, MalformedCaptionError) as error:
        raise Unusable(f"sidecar_malformed: {TIMED}: {error}") from error
    # in milliseconds, since the parser's seconds are whole ones
    return tuple(
        Cue(
            c.start_time.in_milliseconds() / 1000,
            c.end_time.in_milliseconds() / 1000,
            clean(c.text),
        )
        for c in captions
    )


def _bounded(text: str) -> str:
    if len(text) > MAX_CHARS:
        raise Unusable(f"sidecar_too_long: {len(text)} characters, expected {MAX_CHARS} at most")
    return text


def _read_text(url: str, *, max_bytes: int) -> str | None:
    info = _info(url)
    if info is None or info["size"] == 0:
        return None
    if info["size"] > max_bytes:
        suffix = PurePosixPath(url).suffix
        raise Unusable(
            f"sidecar_too_long: {suffix} of {info['size']} bytes, at most {max_bytes} are read"
        )
    text = storage.read_bytes(url).decode("utf-8-sig", errors="replace")
    if "\0" in text or text.count(UNDECODABLE) > MAX_REPLACED * len(text):
        raise Unusable(f"sidecar_not_text: {PurePosixPath(url).suffix} is not UTF-8 text")
    return text


def _info(url: str) -> dict[str, Any] | None:
    """Size and stamp of a regular file; None where there is none (a pipe or a folder is none)."""
    fs, path = storage.filesystem(url)
    try:
        info = fs.info(path)
    except FileNotFoundError:
        return None
    return info if info["type"] == "file" else None
