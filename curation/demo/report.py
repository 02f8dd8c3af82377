"""The known truth of the demo's footage beside what curation found in it.

`compare` is the whole judgement, on plain rows; `report` reads the tables of $DATA and prints it.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation import storage

Row = dict[str, Any]
TOLERANCE_FRAMES = 1


@dataclass(frozen=True)
class Check:
    """One expectation: what is known, what was found, whether they agree."""

    group: str
    """files | cuts | transitions | fate | caption"""
    subject: str
    expected: str
    found: str
    ok: bool


@dataclass(frozen=True)
class Found:
    """The rows of a finished run."""

    videos: list[Row]
    clips: list[Row]
    filter: list[Row]
    captions: list[Row]
    shard: list[Row]
    index: list[Row]


def report(data: str, truth: Path) -> bool:
    """Print truth and finding side by side; True when every expectation is met."""
    if not truth.exists():
        raise ValueError(f"{truth = } does not exist; expected the file that demo-footage wrote")
    known = json.loads(truth.read_text())
    found = read_found(data)
    checks = compare(known, found)
    print("\n".join(lines(checks, found)))
    return all(check.ok for check in checks)


def read_found(data: str) -> Found:
    names = ("videos", "clips", "filter", "captions", "shard")
    tables = {name: _rows(storage.join(data, "tables", name)) for name in names}
    return Found(**tables, index=_rows(storage.join(data, "shards", "index.parquet")))


def _rows(url: str) -> list[Row]:
    """A table as rows; none where the stage has not run."""
    there = storage.exists(url) if url.endswith(".parquet") else storage.list_files(url, ".parquet")
    return storage.read_table(url).to_pylist() if there else []


def compare(known: Row, found: Found) -> list[Check]:
    """Every expectation of the truth against the rows."""
    clips = clips_by_file(found.clips)
    checks = [check_files(known["files"], found.videos)]
    for file, cuts in known["cuts"].items():
        blurred = [d["frame_range"] for d in known["dissolves"] if d["file"] == file]
        rows = clips.get(file, [])
        checks += check_cuts(file, cuts=cuts, rows=rows)
        checks += [check_dissolve(file, true=tuple(span), rows=rows) for span in blurred]
        checks.append(check_no_others(file, cuts=cuts, dissolves=blurred, rows=rows))
    for wanted in known["expected"]:
        if wanted["frame_range"] is None:
            checks.append(check_file_fate(wanted, found.videos))
            continue
        there = overlapping(clips.get(wanted["file"], []), tuple(wanted["frame_range"]))
        checks.append(check_clip_fate(wanted, there, found))
        if wanted["expected"] == "kept" and wanted.get("caption"):
            checks.append(check_caption(wanted, there, found.captions))
    return checks


def file_name(uri: str) -> str:
    return uri.rsplit("/", 1)[-1]


def clips_by_file(clips: Iterable[Row]) -> dict[str, list[Row]]:
    grouped: dict[str, list[Row]] = {}
    for row in sorted(clips, key=lambda row: (row["uri"], row["start_frame"])):
        grouped.setdefault(file_name(row["uri"]), []).append(row)
    return grouped


def check_files(files: list[str], videos: list[Row]) -> Check:
    """Every file has exactly one row, and every row is usable, rejected or failed."""
    names = sorted(file_name(row["uri"]) for row in videos)
    failed = sum(row["error"] is not None for row in videos)
    rejected = sum(row["error"] is None and row["reject"] is not None for row in videos)
    usable = len(videos) - failed - rejected
    found = f"{len(videos)} rows: {usable} usable, {rejected} rejected, {failed} failed"
    share = 100 * sum(names.count(file) == 1 for file in files) / len(files)
    found = f"{found} ({share:.0f} % of the files accounted for)"
    if extra := sorted(set(names) - set(files)):
        found += f"; not in the footage: {', '.join(extra)}"
    return Check("files", "files", f"{len(files)}", found, names == sorted(files))


def hard_cuts(rows: list[Row]) -> list[int]:
    """First frames of the shots that the clips say begin at a hard cut."""
    starts = {row["start_frame"] for row in rows if row["transition_in"] == "cut"}
    return sorted(starts | {row["end_frame"] for row in rows if row["transition_out"] == "cut"})


def gradual_gaps(rows: list[Row]) -> list[tuple[int, int]]:
    """[start, end) of the frames between clips that the clips say lie in a gradual transition."""
    out = [row["end_frame"] for row in rows if row["transition_out"] == "gradual"]
    into = [row["start_frame"] for row in rows if row["transition_in"] == "gradual"]
    gaps = [(end, min((start for start in into if start >= end), default=end)) for end in out]
    closed = {end for _, end in gaps}
    return gaps + [(0, start) for start in into if start not in closed]


def check_cuts(file: str, *, cuts: list[int], rows: list[Row]) -> list[Check]:
    there = hard_cuts(rows)
    checks = []
    for cut in cuts:
        nearest = min(there, key=lambda frame: abs(frame - cut), default=None)
        ok = nearest is not None and abs(nearest - cut) <= TOLERANCE_FRAMES
        checks.append(Check("cuts", file, str(cut), str(nearest) if ok else "not found", ok))
    return checks


def check_dissolve(file: str, *, true: tuple[int, int], rows: list[Row]) -> Check:
    """Most of the mixed frames must belong to no clip."""
    gaps = [gap for gap in gradual_gaps(rows) if gap[0] < true[1] and true[0] < gap[1]]
    inside = [frame for frame in hard_cuts(rows) if true[0] <= frame <= true[1]]
    held = 0
    if gaps:
        held = sum(min(b, true[1]) - max(a, true[0]) for a, b in gaps)
        spans = ", ".join(f"{a}-{b}" for a, b in gaps)
        found = f"gradual {spans}: {held} of its {true[1] - true[0]} frames belong to no clip"
    elif inside:
        found = f"taken for a hard cut at {', '.join(map(str, inside))}"
    else:
        found = "not found: its frames lie inside a clip"
    return Check(
        "transitions", file, f"dissolve {true[0]}-{true[1]}", found, 2 * held >= true[1] - true[0]
    )


def check_no_others(
    file: str, *, cuts: list[int], dissolves: list[list[int]], rows: list[Row]
) -> Check:
    """No cut and no gradual transition is claimed where there is none."""
    near = TOLERANCE_FRAMES
    false = [
        f"cut {frame}"
        for frame in hard_cuts(rows)
        if not any(abs(frame - cut) <= near for cut in cuts)
        and not any(a - near <= frame <= b + near for a, b in dissolves)
    ]
    false += [
        f"gradual {start}-{end}"
        for start, end in gradual_gaps(rows)
        if not any(start < b and a < end for a, b in dissolves)
    ]
    return Check("transitions", file, "no others", ", ".join(false) or "none", not false)


def overlapping(rows: list[Row], span: tuple[int, int]) -> list[Row]:
    """The clips that share at least half of the shorter of clip and span."""

    def shares_half(row: Row) -> bool:
        shared = min(row["end_frame"], span[1]) - max(row["start_frame"], span[0])
        shorter = min(row["end_frame"] - row["start_frame"], span[1] - span[0])
        return 2 * shared >= shorter

    return [row for row in rows if shares_half(row)]


def check_clip_fate(wanted: Row, rows: list[Row], found: Found) -> Check:
    """The fate of a shot's clips; where a clip fails several rules, any may be the planted one."""
    verdicts = _by_clip(found.filter)
    shipped = {row["key"] for row in found.index}
    cut = _by_clip(found.shard)
    results = [
        clip_fate(row, verdicts.get(row["clip_id"]), cut.get(row["clip_id"]), shipped)
        for row in rows
    ]
    rule = wanted["expected"].removeprefix("reject:")
    if wanted["expected"] == "kept":
        ok = bool(results) and all(result == "kept" for result in results)
    else:
        ok = bool(results) and all(
            result != "kept" and rule in _failed_rules(row, verdicts.get(row["clip_id"]))
            for row, result in zip(rows, results, strict=True)
        )
    start, end = wanted["frame_range"]
    told = ", ".join(
        result + _also(rule, result, row, verdicts)
        for row, result in zip(rows, results, strict=True)
    )
    return Check(
        "fate", f"{wanted['file']} {start}-{end}", wanted["expected"], told or "no clip", ok
    )


def clip_fate(clip: Row, verdict: Row | None, cut: Row | None, shipped: set[str]) -> str:
    """kept (and in a shard), reject:<rule>, error:<code>, or what is missing."""
    if clip["error"]:
        return f"error:{_code(clip['error'])}"
    if verdict is None:
        return f"reject:{clip['reject']}" if clip["reject"] else "no verdict"
    if not verdict["keep"]:
        return f"reject:{verdict['reject']}"
    if clip["clip_id"] in shipped:
        return "kept"
    if cut and cut["error"]:
        return f"kept, but shard error:{_code(cut['error'])}"
    return f"kept, but shard reject:{cut['reject']}" if cut else "kept, but in no shard"


def _failed_rules(clip: Row, verdict: Row | None) -> set[str]:
    verdict = verdict or {}
    return {clip["reject"], verdict.get("reject"), *(verdict.get("failed") or [])} - {None}


def _also(rule: str, result: str, row: Row, verdicts: dict[str, Row]) -> str:
    """ " (also <rule>)" where the planted rule is not the first that the clip fails."""
    rules = _failed_rules(row, verdicts.get(row["clip_id"]))
    return f" (also {rule})" if result != f"reject:{rule}" and rule in rules else ""


def check_file_fate(wanted: Row, videos: list[Row]) -> Check:
    told = [file_fate(row) for row in videos if file_name(row["uri"]) == wanted["file"]]
    # "error" alone accepts every reason code
    ok = len(told) == 1 and f"{told[0]}:".startswith(wanted["expected"] + ":")
    return Check("fate", wanted["file"], wanted["expected"], ", ".join(told) or "no row", ok)


def file_fate(video: Row) -> str:
    if video["error"]:
        return f"error:{video['error']}"
    return f"reject:{video['reject']}" if video["reject"] else "usable"


def check_caption(wanted: Row, rows: list[Row], captions: list[Row]) -> Check:
    """A kept shot has a caption; one that came from the sidecar is that shot's own."""
    texts = _by_clip(captions)
    there = [texts[row["clip_id"]] for row in rows if row["clip_id"] in texts]
    ok = len(there) == len(rows) > 0 and all(
        row["caption"]
        and (row["caption_source"] != "sidecar" or wanted["caption"] in row["caption"])
        for row in there
    )
    told = ", ".join(row["caption_source"] or f"none ({row['caption_error']})" for row in there)
    start, end = wanted["frame_range"]
    return Check("caption", f"{wanted['file']} {start}-{end}", "a caption", told or "none", ok)


def _by_clip(rows: Iterable[Row]) -> dict[str, Row]:
    return {row["clip_id"]: row for row in rows}


def _code(error: str) -> str:
    return error.split(":", 1)[0]


def lines(checks: list[Check], found: Found) -> list[str]:
    """The report as text: short enough to read after every run."""
    out = ["", "What is in the footage (known), and what was found"]
    for check in checks:
        if check.group == "files":
            out.append(f"  {check.expected} files -> {check.found}  {_mark(check)}")
    out += ["", "Cuts (first frame of the new shot)"]
    for file in dict.fromkeys(c.subject for c in checks if c.group in ("cuts", "transitions")):
        here = [c for c in checks if c.subject == file]
        cuts = [c for c in here if c.group == "cuts"]
        if cuts:
            good = sum(c.ok for c in cuts)
            out += [
                f"  {file:<24} known " + " ".join(f"{c.expected:>5}" for c in cuts),
                f"  {'':<24} found "
                + " ".join(f"{c.found if c.ok else '-':>5}" for c in cuts)
                + f"   {good} of {len(cuts)} within {TOLERANCE_FRAMES} frame  "
                + ("ok" if good == len(cuts) else "MISSED"),
            ]
        out += [
            f"  {file if not cuts else '':<24} {c.expected}: {c.found}  {_mark(c)}"
            for c in here
            if c.group == "transitions"
        ]
    out += ["", f"  {'Clip or file':<42} {'expected':<22} found"]
    out += [
        f"  {c.subject:<42} {c.expected:<22} {c.found}  {_mark(c)}"
        for c in checks
        if c.group == "fate"
    ]
    out += ["", "Kept clips and their captions", *caption_lines(found)]
    missed = [c for c in checks if c.group == "caption" and not c.ok]
    out += [f"  {c.subject}: expected {c.expected}, found {c.found}  MISSED" for c in missed]
    met = sum(check.ok for check in checks)
    return [*out, "", f"demo: {met} of {len(checks)} expectations met"]


def caption_lines(found: Found) -> list[str]:
    captions = _by_clip(found.captions)
    kept = {row["clip_id"] for row in found.filter if row["keep"]}
    out = []
    for file, rows in clips_by_file(found.clips).items():
        for row in rows:
            if row["clip_id"] in kept:
                said = captions.get(row["clip_id"], {})
                text, source = said.get("caption") or "-", said.get("caption_source") or "none"
                short = text if len(text) <= 96 else text[:95] + "…"
                where = f"{file} {row['start_frame']}-{row['end_frame']}"
                out.append(f"  {where:<32} {source:<9} {short}")
    return out


def _mark(check: Check) -> str:
    return "ok" if check.ok else "MISSED"
