"""The picture of the README, drawn from a finished run: film, shots, verdicts, captions, samples.

Everything in it comes from the tables of $DATA (keyframes, frame numbers, reasons, words) and from
the frames of videos that the model sampled; nothing is drawn by hand but the lines between.
"""

import io
import json
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

from curation import storage
from curation.demo.report import Found, read_found
from curation.video import read_frames

Row = dict[str, Any]
Box = tuple[float, float, float, float]

WIDTH_PX = 1600
FINE = 2  # drawn so many times larger, then made small: smooth edges
PAPER, INK, GREY, LINE = "#fbfaf7", "#1d2126", "#6d747d", "#c9ccd1"
GREEN, RED, FILM = "#1c7c4a", "#b4362d", "#24272c"
LEFT_PX, RIGHT_PX = 190, 1560  # the strip; left of it stands what each row is
CARDS = 4
CARDS_TOP, SAMPLES_TOP = 470, 828
SPACE = 18
SAMPLE_FRAMES = 3


@dataclass(frozen=True)
class Shot:
    """One clip of the film as the picture shows it."""

    start: int
    end: int
    keep: bool
    reason: str
    frames: list[tuple[int, Image.Image]]
    """(frame number, picture) of its keyframes."""
    caption: str
    source: str
    bucket: str


class Sheet:
    """A page to draw on in final pixels."""

    def __init__(self, height: float) -> None:
        self.image = Image.new("RGB", (WIDTH_PX * FINE, round(height * FINE)), PAPER)
        self.pen = ImageDraw.Draw(self.image)

    def text(
        self,
        at: tuple[float, float],
        words: str,
        *,
        size: float,
        colour: str = INK,
        anchor: str = "la",
    ) -> None:
        font = ImageFont.load_default(size=size * FINE)
        self.pen.text(
            _fine(at), words, fill=colour, font=font, anchor=anchor, spacing=size * 0.42 * FINE
        )

    def box(
        self, box: Box, *, fill: str | None = None, line: str | None = None, round_px: float = 0
    ) -> None:
        width = round(1.5 * FINE) if line else 0
        self.pen.rounded_rectangle(
            _fine(box), round_px * FINE, fill=fill, outline=line, width=width
        )

    def photo(self, picture: Image.Image, box: Box, *, round_px: float = 0) -> None:
        """The picture, cropped to the shape of the box."""
        x0, y0, x1, y1 = (round(v) for v in _fine(box))
        fitted = ImageOps.fit(picture, (x1 - x0, y1 - y0), Image.Resampling.LANCZOS)
        mask = Image.new("L", fitted.size, 0)
        corner = round_px * FINE
        ImageDraw.Draw(mask).rounded_rectangle((0, 0, x1 - x0 - 1, y1 - y0 - 1), corner, fill=255)
        self.image.paste(fitted, (x0, y0), mask)

    def arrow(self, start: tuple[float, float], end: tuple[float, float], *, colour: str) -> None:
        """A thin curve that leaves downwards and arrives downwards."""
        (x0, y0), (x1, y1) = start, end
        bend = (y1 - y0) * 0.55
        steps = [index / 60 for index in range(61)]
        curve = [
            (
                _bezier(t, x0, x0, x1, x1) * FINE,
                _bezier(t, y0, y0 + bend, y1 - 6 - bend, y1 - 6) * FINE,
            )
            for t in steps
        ]
        self.pen.line(curve, fill=colour, width=round(1.5 * FINE), joint="curve")
        self.pen.polygon(_fine((x1 - 4.5, y1 - 8, x1 + 4.5, y1 - 8, x1, y1)), fill=colour)

    def save(self, path: Path) -> None:
        """As a PNG of 256 dithered colours: a third of the bytes of one with all of them."""
        small = self.image.resize((WIDTH_PX, self.image.height // FINE), Image.Resampling.LANCZOS)
        palette = small.quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=3)
        dithered = small.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
        out = io.BytesIO()
        dithered.save(out, "PNG", optimize=True)
        storage.commit(str(path), out.getvalue())


def _fine(values: tuple[float, ...]) -> Any:
    return tuple(value * FINE for value in values)


def _bezier(t: float, a: float, b: float, c: float, d: float) -> float:
    return (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d


def draw_story(data: str, samples: Path | None, output: Path) -> None:
    """Draw the run of $DATA; samples is the folder that `training sample` wrote, or None."""
    found = read_found(data)
    if not found.clips or not found.filter:
        raise ValueError(f"{data = } holds no clips with verdicts; run split and filter first")
    shots, last_frame = film_shots(found, _keyframes(data))
    strips = sample_strips(samples) if samples else []
    told = spread([shot for shot in shots if shot.keep and shot.caption], CARDS)
    sheet = Sheet(height=SAMPLES_TOP + _samples_height(strips) if strips else SAMPLES_TOP - 20)
    at = _places(shots, last_frame=last_frame)
    draw_film(sheet, shots, found, last_frame=last_frame)
    draw_shots(sheet, shots, at, found)
    draw_verdicts(sheet, shots, at, found)
    if told:
        draw_captions(sheet, told, [at[shots.index(shot)] for shot in told], found)
    if strips:
        draw_samples(sheet, strips)
    sheet.save(output)


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """At most count of them, from the first to the last at equal steps."""
    if len(items) <= count:
        return list(items)
    return [items[round(index * (len(items) - 1) / (count - 1))] for index in range(count)]


def _keyframes(data: str) -> dict[str, list[tuple[int, Image.Image]]]:
    table = storage.read_table(storage.join(data, "tables", "keyframes"))
    pictures: dict[str, list[tuple[int, Image.Image]]] = {}
    for row in table.select(["clip_id", "frame", "jpeg"]).to_pylist():
        picture = Image.open(io.BytesIO(row["jpeg"]), formats=["JPEG"]).convert("RGB")
        pictures.setdefault(row["clip_id"], []).append((row["frame"], picture))
    return {clip: sorted(rows, key=lambda row: row[0]) for clip, rows in pictures.items()}


def film_shots(
    found: Found, pictures: dict[str, list[tuple[int, Image.Image]]]
) -> tuple[list[Shot], int]:
    """The clips of the source that has most of them, in order, and its number of frames."""
    verdicts = {row["clip_id"]: row for row in found.filter}
    captions = {row["clip_id"]: row for row in found.captions}
    buckets = {row["key"]: row["bucket"] for row in found.index}
    uri, _ = max(
        Counter(row["uri"] for row in found.clips).items(), key=lambda item: (item[1], item[0])
    )
    rows = sorted(
        (row for row in found.clips if row["uri"] == uri), key=lambda row: row["start_frame"]
    )
    shots = []
    for row in rows:
        verdict, said = verdicts[row["clip_id"]], captions.get(row["clip_id"], {})
        shots.append(
            Shot(
                row["start_frame"],
                row["end_frame"],
                bool(verdict["keep"]),
                verdict["reject"] or "",
                pictures[row["clip_id"]],
                said.get("caption") or "",
                said.get("caption_source") or "",
                buckets.get(row["clip_id"], ""),
            )
        )
    (video,) = [row for row in found.videos if row["uri"] == uri]
    return shots, video["num_frames"]


def _places(shots: list[Shot], *, last_frame: int) -> list[tuple[float, float]]:
    """Left and right edge of each shot on the strip, in pixels, with a slit at every cut."""
    scale = (RIGHT_PX - LEFT_PX) / last_frame
    return [
        (LEFT_PX + shot.start * scale + 1.5, LEFT_PX + shot.end * scale - 1.5) for shot in shots
    ]


def _title(sheet: Sheet, top: float, number: int, title: str, *told: str) -> None:
    sheet.text((40, top), f"{number}", size=30, colour=LINE)
    sheet.text((68, top + 2), title, size=19)
    for index, words in enumerate(told):
        sheet.text((68, top + 29 + 18 * index), words, size=13, colour=GREY)


def draw_film(sheet: Sheet, shots: list[Shot], found: Found, *, last_frame: int) -> None:
    """Row 1: an undivided strip of the film, at equal steps of time."""
    seconds = sum(row["duration_s"] or 0 for row in found.videos)
    _title(sheet, 46, 1, "raw footage", f"{len(found.videos)} files", f"{seconds:.0f} seconds")
    top, bottom = 32, 130
    sheet.box((LEFT_PX, top, RIGHT_PX, bottom), fill=FILM, round_px=3)
    holes = 68
    for index in range(holes):
        x = LEFT_PX + (index + 0.5) * (RIGHT_PX - LEFT_PX) / holes
        for y in (top + 5, bottom - 12):
            sheet.box((x - 4, y, x + 4, y + 7), fill=PAPER, round_px=2)
    keyframes = [pair for shot in shots for pair in shot.frames]
    count = 11
    step = (RIGHT_PX - LEFT_PX - 6) / count
    for index in range(count):
        middle = (index + 0.5) * last_frame / count
        _, picture = min(keyframes, key=lambda pair: abs(pair[0] - middle))
        x = LEFT_PX + 3 + index * step
        sheet.photo(picture, (x + 1.5, top + 16, x + step - 1.5, bottom - 16))


def draw_shots(
    sheet: Sheet, shots: list[Shot], at: list[tuple[float, float]], found: Found
) -> None:
    """Row 2: the film divided at its cuts, each piece as wide as it is long."""
    top, bottom = 190, 262
    for left, right in at:
        sheet.arrow(((left + right) / 2, 136), ((left + right) / 2, top - 6), colour=LINE)
    decoded = sum(row["num_frames"] or 0 for row in found.videos if not row["reject"])
    _title(sheet, top + 4, 2, "shots", f"{len(found.clips)} clips from", f"{decoded:,} frames")
    for shot, (left, right) in zip(shots, at, strict=True):
        sheet.photo(_middle(shot), (left, top, right, bottom), round_px=2)
        sheet.box((left - 1, top - 1, right + 1, bottom + 1), line=LINE, round_px=3)
    for (_, end), (start, _), before, after in zip(at, at[1:], shots, shots[1:], strict=False):
        if after.start > before.end:
            middle = (start + end) / 2
            sheet.text((middle, bottom + 5), "dissolve", size=12, colour=GREY, anchor="ma")
            for index in range(3):
                x = middle + (index - 1) * 6
                sheet.pen.line(
                    _fine((x - 4, bottom - 22, x + 4, top + 22)), fill=LINE, width=2 * FINE
                )


def _middle(shot: Shot) -> Image.Image:
    return shot.frames[len(shot.frames) // 2][1]


def draw_verdicts(
    sheet: Sheet, shots: list[Shot], at: list[tuple[float, float]], found: Found
) -> None:
    """Row 3: the same pieces, kept or rejected with the name of the rule."""
    top, bottom = 314, 386
    kept = sum(bool(row["keep"]) for row in found.filter)
    _title(sheet, top + 4, 3, "verdicts", f"{kept} kept", f"{len(found.filter) - kept} rejected")
    for shot, (left, right) in zip(shots, at, strict=True):
        middle = (left + right) / 2
        sheet.arrow((middle, 281), (middle, top - 6), colour=LINE)
        if shot.keep:
            sheet.photo(_middle(shot), (left, top, right, bottom), round_px=2)
            sheet.box((left - 1, top - 1, right + 1, bottom + 1), line=GREEN, round_px=3)
            sheet.text((middle, bottom + 7), "kept", size=13, colour=GREEN, anchor="ma")
        else:
            grey = ImageEnhance.Contrast(ImageOps.grayscale(_middle(shot))).enhance(0.7)
            pale = Image.blend(grey.convert("RGB"), Image.new("RGB", grey.size, PAPER), 0.45)
            sheet.photo(pale, (left, top, right, bottom), round_px=2)
            sheet.box((left - 1, top - 1, right + 1, bottom + 1), line=LINE, round_px=3)
            cross = (left + 3, top + 3, right - 3, bottom - 3)
            sheet.pen.line(_fine(cross), fill=RED, width=round(1.2 * FINE))
            words = shot.reason.replace("_", " ")
            sheet.text((middle, bottom + 7), words, size=13, colour=RED, anchor="ma")


def draw_captions(
    sheet: Sheet, shots: list[Shot], at: list[tuple[float, float]], found: Found
) -> None:
    """Row 4: some kept clips and what is said of them."""
    top = CARDS_TOP
    sources = Counter(row["caption_source"] for row in found.captions if row["caption"])
    told = [f"{count} {source}" for source, count in sorted(sources.items())]
    _title(sheet, top + 4, 4, "captions", *told)
    buckets = Counter(row["bucket"] for row in found.index)
    _title(sheet, top + 262, 5, "shards", f"{len(found.index)} samples", f"{len(buckets)} buckets")
    width = _card_width()
    for index, (shot, (left, right)) in enumerate(zip(shots, at, strict=True)):
        x = LEFT_PX + index * (width + SPACE)
        sheet.arrow(((left + right) / 2, 412), (x + width / 2, top - 5), colour=GREEN)
        picture = _middle(shot)
        height = width * 9 / 16
        sheet.box((x, top, x + width, top + height + 128), fill="#ffffff", line=LINE, round_px=6)
        sheet.photo(picture, (x + 6, top + 6, x + width - 6, top + height), round_px=4)
        words = "\n".join(textwrap.wrap(shot.caption, 46, max_lines=4, placeholder=" …"))
        sheet.text((x + 14, top + height + 12), words, size=14)
        foot = top + height + 104
        frames = f"{shot.source}, frames {shot.start} to {shot.end}"
        sheet.text((x + 14, foot), frames, size=12, colour=GREY)
        sheet.text((x + width - 14, foot), shot.bucket, size=12, colour=GREEN, anchor="ra")


def _card_width() -> float:
    return (RIGHT_PX - LEFT_PX - SPACE * (CARDS - 1)) / CARDS


def sample_strips(folder: Path) -> list[tuple[str, list[Image.Image]]]:
    """(prompt, frames at equal steps) of the first videos that `training sample` wrote."""
    record = folder / "sample.json"
    if not record.exists():
        raise ValueError(f"samples = {folder} holds no sample.json; run make sample first")
    strips = []
    for number, prompt in enumerate(json.loads(record.read_text())["prompts"][:CARDS]):
        frames = read_frames(folder / f"sample-{number:02d}.mp4")
        steps = [round(i * (len(frames) - 1) / (SAMPLE_FRAMES - 1)) for i in range(SAMPLE_FRAMES)]
        strips.append((prompt, [Image.fromarray(frames[step]) for step in steps]))
    return strips


def _tile_size(strips: list[tuple[str, list[Image.Image]]]) -> tuple[float, float]:
    width = (_card_width() - 3 * (SAMPLE_FRAMES - 1)) / SAMPLE_FRAMES
    first = strips[0][1][0]
    return width, width * first.height / first.width


def _samples_height(strips: list[tuple[str, list[Image.Image]]]) -> float:
    return _tile_size(strips)[1] + 64


def draw_samples(sheet: Sheet, strips: list[tuple[str, list[Image.Image]]]) -> None:
    """Row 6: frames of videos that the model sampled from prompts."""
    top = SAMPLES_TOP
    _title(sheet, top - 2, 6, "samples", "by the model that", "trained on them")
    width, height = _tile_size(strips)
    for index, (prompt, frames) in enumerate(strips):
        left = LEFT_PX + index * (_card_width() + SPACE)
        middle = left + _card_width() / 2
        sheet.arrow((middle, top - 34), (middle, top - 5), colour=LINE)
        for place, frame in enumerate(frames):
            x = left + place * (width + 3)
            sheet.photo(frame, (x, top, x + width, top + height), round_px=2)
        words = "\n".join(textwrap.wrap(prompt, 56, max_lines=2, placeholder=" …"))
        sheet.text((left, top + height + 8), words, size=12, colour=GREY)
