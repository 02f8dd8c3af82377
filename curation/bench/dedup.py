"""How well copies are found, and how long a million clips take.

Planted: every file of the footage is changed in the ways of `copies.CHANGES`; originals and copies
of one kind make a dataset. A copy is found where it is in its original's group. A false pair is a
clip whose keeper shows something else: another file, or another stretch of the same one, which of a
fixed camera is the same scene. Files of the footage that show the same are listed, and pairs of
them are not counted: those that the truth names, and those whose originals are found to be alike,
which is for a person to check.

Scale: a million clips of random hashes with planted copies (`hashes.py`), in this process.
"""

import itertools
import json
import math
import multiprocessing
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from curation import storage
from curation.bench.clock import cpu_s, require_ffmpeg
from curation.bench.copies import CHANGES, Measured, clip_row, copied, measure
from curation.bench.hashes import FLIPS, planted
from curation.stages.dedup import Dedup
from curation.stages.split import Split
from curation.video.open import VideoError

MAX_CLIP_S = 5.0  # many clips of one take: what is most easily confused
MIN_CLIP_S = 1.0
RECALL_GOAL = 0.98
SCALE_GOAL_S, SCALE_GOAL_GIB = 600, 4.0
ORIGINAL = ""
SHOWN = 12  # what went wrong, at most

READ = pa.schema([Split.writes["clips"].field(name) for name in Dedup.reads["clips"]])
Clips = dict[tuple[str, str, int], dict[str, Any]]
"""(change, file, piece) -> what dedup reads of it."""


def bench_dedup(footage: str | None, *, truth: str | None, num: int, workers: int | None) -> None:
    """Print both tables; the planted one where footage is given.

    truth: a JSON of cuts by file name (default: the footage's cuts.json); files that are not in it
    are one shot. Under "alike" it may list the names of files that show the same.
    """
    if footage is not None:
        require_ffmpeg()
        path = Path(truth) if truth else Path(footage) / "cuts.json"
        cuts = json.loads(path.read_text()) if truth or path.exists() else {}
        clips, failed = planted_clips(footage, cuts=cuts, workers=workers)
        show(clips, failed, alike=cuts.get("alike", []))
    scale(num)


# -- planted copies --------------------------------------------------------------------------------


def planted_clips(
    footage: str, *, cuts: dict[str, Any], workers: int | None
) -> tuple[Clips, list[str]]:
    """The clips of the footage and of its copies, and what could not be copied."""
    uris = [source.uri for source in storage.list_sources(footage)]
    clips, failed = {}, []
    context = multiprocessing.get_context("spawn")  # decoders' threads do not outlive a fork
    with ProcessPoolExecutor(workers, mp_context=context, initializer=one_core) as pool:
        jobs = {uri: pool.submit(clips_of_file, uri, cuts.get(Path(uri).name)) for uri in uris}
        for uri, job in jobs.items():
            found, errors = job.result()
            clips |= found
            failed += errors
            print(f"{Path(uri).name}: {len(found)} clips", flush=True)
    return clips, failed


def one_core() -> None:
    cv2.setNumThreads(1)


def clips_of_file(uri: str, cuts: dict[str, Any] | None) -> tuple[Clips, list[str]]:
    name = Path(uri).name
    with storage.local_copy(uri) as path:
        try:
            original = measure(path)
        except VideoError as error:
            return {}, [f"{name}: {error}"]
        if original.is_damaged:  # what there is to see hangs on who decodes it
            return {}, [f"{name}: damaged"]
        times_s = list(pieces(original, cuts))
        clips = clips_of(original, times_s, key=(ORIGINAL, name))
        errors = []
        for change in CHANGES if times_s else ():
            try:
                copy = copied(path, change, of=original)
            except ValueError as error:
                errors.append(str(error))
                continue
            moved = copy.edges_s[0] - original.edges_s[0] - change.skip_s + change.late_s
            times = [(start + moved, end + moved) for start, end in times_s]
            clips |= clips_of(copy, times, key=(change.name, name))
    return clips, errors


def pieces(original: Measured, cuts: dict[str, Any] | None) -> Iterator[tuple[float, float]]:
    """(start_s, end_s) of the shots between cuts, divided evenly into clips of at most 5 s."""
    edges_s = original.edges_s
    between = [(c, c) for c in (cuts or {}).get("cuts", [])]
    between += [(first, last + 1) for first, last in (cuts or {}).get("gradual", [])]
    start = 0
    for first, end in sorted([*between, (original.num_frames, original.num_frames)]):
        if first > start:
            length_s = edges_s[first] - edges_s[start]
            num = math.ceil(length_s / MAX_CLIP_S)
            if length_s / num >= MIN_CLIP_S:
                yield from itertools.pairwise(np.linspace(edges_s[start], edges_s[first], num + 1))
        start = max(start, end)


def clips_of(file: Measured, times_s: list[tuple[float, float]], *, key: tuple[str, str]) -> Clips:
    rows = {(*key, i): clip_row(file, start, end) for i, (start, end) in enumerate(times_s)}
    return {name: row | {"codec": file.codec} for name, row in rows.items() if row is not None}


@dataclass
class Tally:
    """Of one kind of copies; lists name what went wrong."""

    copies: int = 0
    kept: int = 0
    """Groups with a copy whose best clip is an original."""
    groups: int = 0
    missed: list[str] = field(default_factory=list)
    false: list[str] = field(default_factory=list)


def show(clips: Clips, failed: list[str], *, alike: list[list[str]]) -> None:
    originals = {key: row for key, row in clips.items() if key[0] == ORIGINAL}
    joined = [[one[1], best[1]] for one, best in keepers(originals).items()]
    same = merged([*alike, *joined])
    print(f"\n{len(originals)} clips of {len({key[1] for key in originals})} files")
    print(f"left out: {'; '.join(failed) or 'nothing'}")
    for names in same:
        print("alike: " + ", ".join(sorted(names)))
    asked = Tally()
    print(f"{'change':<24}{'copies':>8}{'found':>8}{'false pairs':>13}{'original stays':>16}")
    tally = tally_of(originals, same)
    print(f"{'originals alone':<24}{'':>16}{len(tally.false):>13}")
    asked.false += tally.false
    for change in CHANGES:
        these = {key: row for key, row in clips.items() if key[0] in (ORIGINAL, change.name)}
        tally = tally_of(these, same)
        print_row(change.name + ("" if change.is_asked else " *"), tally)
        asked.false += tally.false
        if change.is_asked:
            asked.copies += tally.copies
            asked.kept, asked.groups = asked.kept + tally.kept, asked.groups + tally.groups
            asked.missed += [f"{change.name}: {name}" for name in tally.missed]
    print_row("all that are asked for", asked)
    print(f"{'goal':<24}{'':>8}{RECALL_GOAL:>8}{0:>13}")
    tally = tally_of(clips, same)
    print(f"{'all in one dataset':<24}{'':>16}{len(tally.false):>13}")
    for what, names in (("missed", asked.missed), ("false", asked.false + tally.false)):
        if names:
            print(f"  {what}: {'; '.join(names[:SHOWN])}{' …' if len(names) > SHOWN else ''}")
    print("* need not be found; must not be confused")


def print_row(name: str, tally: Tally) -> None:
    found = 1 - len(tally.missed) / max(1, tally.copies)
    kept = tally.kept / max(1, tally.groups)
    print(f"{name:<24}{tally.copies:>8}{found:>8.3f}{len(tally.false):>13}{kept:>16.3f}")


def tally_of(clips: Clips, same: list[set[str]]) -> Tally:
    keeper = keepers(clips)
    tally = Tally()
    groups: dict[tuple[str, str, int], bool] = {}
    for key, best in keeper.items():
        change, file, piece = key
        is_known = best[1] != file and any({best[1], file} <= names for names in same)
        if best[1:] != (file, piece) and not is_known:
            tally.false.append(f"{_named(key)} = {_named(best)}")
        if change != ORIGINAL and (original := (ORIGINAL, file, piece)) in keeper:
            tally.copies += 1
            if keeper[original] == best:
                groups[best] = best[0] == ORIGINAL
            else:
                tally.missed.append(f"{file} {piece}")
    tally.kept, tally.groups = sum(groups.values()), len(groups)
    return tally


def merged(sets: list[list[str]]) -> list[set[str]]:
    """Sets with a name in common made one; those of one name left out."""
    found: list[set[str]] = []
    for names in map(set, sets):
        apart = [other for other in found if not other & names]
        found = [*apart, names.union(*(other for other in found if other & names))]
    return [names for names in found if len(names) > 1]


def keepers(clips: Clips) -> dict[tuple[str, str, int], tuple[str, str, int]]:
    """The clip of its group that stays, itself where it has no copy."""
    names = {"\t".join(map(str, key)): key for key in clips}  # equal ones: the original first
    rows = [
        row | {"clip_id": name, "video_id": name}
        for name, row in zip(names, clips.values(), strict=True)
    ]
    table = pa.Table.from_pylist(rows, schema=READ)
    videos = pa.table({"video_id": table["video_id"], "codec": [row["codec"] for row in rows]})
    written = Dedup().run({"clips": table, "videos": videos})["dedup"]
    return {
        names[clip]: names[best or clip]
        for clip, best in zip(*(written[c].to_pylist() for c in ("clip_id", "dup_of")), strict=True)
    }


def _named(key: tuple[str, str, int]) -> str:
    change, file, piece = key
    return f"{file} {piece}" + (f" ({change})" if change else "")


# -- scale -----------------------------------------------------------------------------------------


def scale(num: int) -> None:
    made = planted(num)
    videos = pa.table({"video_id": ["video"], "codec": ["h264"]})
    tables = {"clips": made.clips, "videos": videos}
    originals, copies = made.originals, made.copies
    del made  # the stage lets go of the hashes
    begin_s, begin_cpu_s = time.perf_counter(), cpu_s()
    written = Dedup().run(tables)["dedup"]
    took_s, took_cpu_s = time.perf_counter() - begin_s, cpu_s() - begin_cpu_s
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    keeper = np.array(written["dup_of"].fill_null("").to_pylist())
    hit = (keeper[copies] == keeper[originals]) & (keeper[copies] != "")
    others = int((keeper != "").sum()) - 2 * int(hit.sum())
    print(f"\n{num} clips of random hashes, {len(hit)} of them copies")
    print(f"{'seconds':<28}{took_s:>9.1f}   goal <= {SCALE_GOAL_S}")
    print(f"{'seconds of CPU':<28}{took_cpu_s:>9.1f}")
    print(f"{'peak memory, GiB':<28}{peak_gib:>9.2f}   goal <= {SCALE_GOAL_GIB}")
    for i, flips in enumerate(FLIPS):
        print(f"{f'found, {flips:.0%} of bits flipped':<28}{hit[i :: len(FLIPS)].mean():>9.4f}")
    print(f"{'grouped, but no copies':<28}{others:>9}")
