"""What triage saves and what it loses, on footage of which little is worth keeping.

The footage is made once: films of real shots (`corpus.py`) among black, defocused, written and
still stretches, in the codecs and groups of pictures that occur, and a film that lies there three
times. CPU seconds of the first look and of the full pass over what it leaves are compared with
decoding everything once (`clock.py`), and the clips with those of the full pass without triage.
"""

import itertools
import random
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from curation.bench.clock import bare_decode, paired
from curation.bench.corpus import ENCODERS, FPS, Edit, pictures
from curation.stage import Tables
from curation.stages import look, scan, split
from curation.stages.filter import Rule, judge
from curation.stages.inventory import Inventory
from curation.stages.inventory import units as inventory_units
from curation.stages.look import Look
from curation.stages.scan import Scan
from curation.stages.split import Split
from curation.stages.triage import Triage, Verdict

CORPUS = Path("demo/bench")
EDITION = 1  # raise it when a file would come out otherwise: the folder's name holds it
ROUNDS = 3
COST_GOAL, LOST_GOAL, SURVIVING_GOAL = 0.4, 0.02, 0.2
SIZE = 640, 360
DEFOCUS = 0.02  # of the width, standard deviation
SLIDE_S = 6.0
LENS_CAP = 20, 2.0  # luma of 255 and the sensor's noise
WORDS = "what is written here says nothing and goes on for as long as there is room on the page "


@dataclass(frozen=True)
class Film:
    """A file: stretches of (kind, seconds)."""

    name: str
    encoder: tuple[str, ...]
    stretches: tuple[tuple[str, float], ...]
    seed: int
    size: tuple[int, int] = SIZE

    @property
    def good(self) -> list[tuple[int, int]]:
        """Frames [start, end) of the stretches worth keeping."""
        ends = list(itertools.accumulate(round(s * FPS) for _, s in self.stretches))
        starts = [0, *ends[:-1]]
        return [
            (start, end)
            for start, end, (kind, _) in zip(starts, ends, self.stretches, strict=True)
            if kind == "good"
        ]


H264, HEVC, VP9 = ENCODERS["h264"], ENCODERS["hevc"], ENCODERS["vp9"]
LONG_GOP = (*H264, "-g", "600", "-sc_threshold", "0")
SHORT_GOP = (*H264, "-g", "60", "-sc_threshold", "0")
FILMS = (
    Film(
        "default.mp4",
        (*H264, "-crf", "23"),
        (("black", 14), ("good", 9), ("blurred", 22), ("written", 24), ("still", 14)),
        1,
    ),
    Film(
        "hevc.mp4",
        (*HEVC, "-crf", "26"),
        (("written", 18), ("good", 9), ("blurred", 24), ("black", 12), ("still", 14)),
        2,
    ),
    Film(
        "vp9.webm",
        (*VP9, "-crf", "33", "-b:v", "0"),
        (("blurred", 24), ("black", 12), ("good", 8), ("written", 18), ("still", 12)),
        3,
    ),
    Film(
        "short_gop.mp4",
        (*SHORT_GOP, "-crf", "23"),
        (("blurred", 31), ("good", 9), ("black", 13), ("written", 19)),
        4,
    ),
    Film(
        "long_gop.mp4",
        (*LONG_GOP, "-crf", "23"),
        (("still", 42), ("written", 37), ("good", 8), ("black", 31)),
        5,
    ),
    Film("original.mp4", (*H264, "-crf", "21"), (("good", 24),), 6),
    Film("copy.mp4", (*H264, "-crf", "27"), (("copied", 24),), 6, (480, 270)),
    Film("copy.webm", (*VP9, "-crf", "36", "-b:v", "0"), (("copied", 24),), 6, (480, 270)),
)


def bench(
    first: Look, triage: Triage, rules: list[Rule], *, folder: Path = CORPUS, rounds: int = ROUNDS
) -> None:
    """Print the costs and what was lost; rules: of filter, by which a clip counts as kept."""
    folder = make_corpus(folder)
    sources = _listing(folder)
    names = {row["uri"]: Path(row["uri"]).name for row in sources.to_pylist()}
    films = {film.name: film for film in FILMS}
    looks: dict[str, Tables] = {}
    for unit in look.units(first, sources=sources):
        assert unit.rows is not None
        looks[names[unit.rows["uri"][0].as_py()]] = first.run({"rows": unit.rows})
    merged = {t: pa.concat_tables(tables[t] for tables in looks.values()) for t in Look.writes}
    judged = {names[row["uri"]]: row for row in triage.run(merged)["triage"].to_pylist()}
    print(f"{'file':<16}{'decode s':>9}{'look':>7}{'rest':>7}{'full':>7}{'left':>7}  rejected")
    totals = np.zeros(4)
    whole, rest = [], []
    for row in sources.to_pylist():
        name = names[row["uri"]]
        mine = pa.Table.from_pylist([row], schema=sources.schema)
        verdict = Verdict(judged[name], [])
        (unit,) = look.units(first, sources=mine)
        assert unit.rows is not None
        rows = unit.rows
        measured = paired(
            lambda uri=row["uri"]: bare_decode(uri, stream=0),
            {
                "look": lambda rows=rows: first.run({"rows": rows}),
                "rest": lambda mine=mine, verdict=verdict: _pass(mine, verdict),
                "full": lambda mine=mine: _pass(mine, None),
            },
            rounds=rounds,
        )
        unit_s = measured["full"].unit_s
        ratios = [measured[case].ratio for case in ("look", "rest", "full")]
        totals += unit_s * np.array([1, *ratios])
        whole.append(_kept(_pass(mine, None), rules, films[name]))
        rest.append(_kept(_pass(mine, verdict), rules, films[name]))
        left = 1 - judged[name]["rejected_frames"] / judged[name]["num_frames"]
        reasons = sorted({s["reject"] for s in judged[name]["stretches"] if s["reject"]})
        print(
            f"{name:<16}{unit_s:>9.2f}"
            + "".join(f"{ratio:>7.2f}" for ratio in ratios)
            + f"{left:>7.2f}  {', '.join(r.removeprefix('triage_') for r in reasons)}",
            flush=True,
        )
    kept = {clip: frames for clips in whole for clip, frames in clips.items()}
    lost = set(kept) - {clip for clips in rest for clip in clips}
    num_frames = sum(row["num_frames"] for row in judged.values())
    look_share, rest_share, full_share = totals[1:] / totals[0]
    figures = [
        ("surviving frames", f"<= {SURVIVING_GOAL:.2f}", sum(kept.values()) / num_frames),
        (
            "first look + full pass on the rest / bare decode",
            f"<= {COST_GOAL:.2f}",
            look_share + rest_share,
        ),
        ("  first look alone", "", look_share),
        ("full pass without triage / bare decode", "", full_share),
        ("kept clips that triage lost", f"<= {LOST_GOAL:.2f}", len(lost) / len(kept)),
    ]
    print()
    for what, goal, value in figures:
        print(f"{what:<52}{goal:>8}{value:>8.3f}")
    print(f"clips kept without triage: {len(kept)}, of these lost: {len(lost)}")


def _pass(sources: pa.Table, verdict: Verdict | None) -> Tables:
    """Scan and split of one source, or of what triage has left of it."""
    stage = Scan()
    uri = sources["uri"][0].as_py()
    verdicts = {uri: verdict} if verdict and verdict.row["rejected_frames"] else {}
    units = scan.units(stage, sources=sources, verdicts=verdicts)
    scanned = [stage.run({"rows": unit.rows}) for unit in units if unit.rows is not None]
    tables = {name: pa.concat_tables(t[name] for t in scanned) for name in Scan.writes}
    row = {"uri": uri, "triage": verdicts[uri].row if verdicts else None}
    tables["rows"] = pa.Table.from_pylist([row], schema=split.UNIT_ROWS)
    tables["look_pictures"] = look.PICTURES.empty_table()
    return Split().run(tables)


def _kept(tables: Tables, rules: list[Rule], film: Film) -> dict[str, int]:
    """clip_id -> frames of the clips that filter keeps and that lie in a good stretch: blurred,
    written and copied ones are left to rules that the passes in hand may not have.
    """
    clips = tables["clips"]
    known = [rule for rule in rules if rule.column in clips.column_names]
    verdicts = judge(clips, known)["keep"].to_pylist()
    return {
        clip["clip_id"]: clip["num_frames"]
        for clip, keep in zip(clips.to_pylist(), verdicts, strict=True)
        if keep and any(a <= clip["start_frame"] and clip["end_frame"] <= b for a, b in film.good)
    }


def _listing(folder: Path) -> pa.Table:
    stage = Inventory()
    units = inventory_units(stage, footage=str(folder))
    return pa.concat_tables(
        stage.run({"rows": unit.rows})["sources"] for unit in units if unit.rows
    )


# -- footage ---------------------------------------------------------------------------------------


def make_corpus(folder: Path) -> Path:
    """The folder of the films; those that are there already are left alone."""
    folder = folder / f"triage-{EDITION}"
    for film in FILMS:
        path = folder / film.name
        if not path.exists():
            encode(path, film)
    return folder


def encode(path: Path, film: Film) -> None:
    """The film into a file that appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".tmp-{path.name}")
    width, height = film.size
    command = ["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p"]
    command += ["-s", f"{width}x{height}", "-r", str(FPS), "-i", "-", *film.encoder]
    with subprocess.Popen([*command, str(partial)], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        for frame in frames(film):
            process.stdin.write(frame)
    if process.returncode:
        raise ValueError(f"ffmpeg ended with {process.returncode}: {' '.join(command)}")
    partial.rename(path)


def frames(film: Film) -> Iterator[bytes]:
    """The film's frames as I420."""
    seconds = sum(s for _, s in film.stretches)
    shots = pictures(Edit("h264", *SIZE, seconds, (2, 5), 0, film.seed))
    rng = np.random.default_rng(film.seed)
    for kind, length_s in film.stretches:
        count = round(length_s * FPS)
        for picture in stretch(kind, count, shots, rng, random.Random(film.seed)):
            if film.size != SIZE:
                bgr = cv2.cvtColor(picture, cv2.COLOR_YUV2BGR_I420)
                small = cv2.resize(bgr, film.size, interpolation=cv2.INTER_AREA)
                picture = cv2.cvtColor(small, cv2.COLOR_BGR2YUV_I420)
            yield picture.tobytes()


def stretch(
    kind: str, count: int, shots: Iterator[bytes], rng: np.random.Generator, words: random.Random
) -> Iterator[np.ndarray]:
    """(3 h / 2, w) uint8 I420 pictures of one kind."""
    width, height = SIZE

    def shot() -> np.ndarray:
        return np.frombuffer(next(shots), np.uint8).reshape(height * 3 // 2, width).copy()

    if kind in ("good", "copied"):
        yield from (shot() for _ in range(count))
    elif kind == "blurred":
        for _ in range(count):
            picture = shot()
            picture[:height] = cv2.GaussianBlur(picture[:height], (0, 0), DEFOCUS * width)
            yield with_noise(picture, 1.0, rng)
    elif kind == "black":
        mean, noise = LENS_CAP
        picture = np.full((height * 3 // 2, width), 128, np.uint8)
        picture[:height] = mean
        yield from (with_noise(picture, noise, rng) for _ in range(count))
    elif kind == "still":
        picture = shot()
        yield from (picture for _ in range(count))
    else:
        for start in range(0, count, round(SLIDE_S * FPS)):
            picture = slide(words)
            yield from (picture for _ in range(min(count - start, round(SLIDE_S * FPS))))


def with_noise(picture: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    noisy = picture.copy()
    luma = noisy[: SIZE[1]]
    noise = rng.normal(0, deviation, luma.shape).round().astype(np.int16)
    luma[:] = np.clip(luma + noise, 0, 255)
    return noisy


def slide(words: random.Random) -> np.ndarray:
    """A page of writing, dark on light or light on dark."""
    light = words.random() < 0.5
    paper, ink = ((235, 240, 240), (60, 30, 20)) if light else ((40, 20, 10), (220, 230, 230))
    image = np.full((SIZE[1], SIZE[0], 3), paper, np.uint8)
    scale = words.choice((0.6, 0.8, 1.1))
    line_px = round(42 * scale)
    for i, y in enumerate(range(2 * line_px, SIZE[1] - line_px, line_px)):
        begin = words.randrange(len(WORDS)) if i else 0
        text = (WORDS * 2)[begin : begin + round(SIZE[0] / (20 * scale))]
        cv2.putText(image, text, (30, y), cv2.FONT_HERSHEY_DUPLEX, scale, ink, 1, cv2.LINE_AA)
    return cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
