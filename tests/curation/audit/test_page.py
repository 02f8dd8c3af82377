import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from curation import storage
from curation.audit.gallery import headline
from curation.audit.ledger import Rule, join_tables
from curation.audit.page import write_page
from tests.pages import Outline, low_contrast, needs_browser, read, rendered, without_policy

HOSTILE_TEXT = """SALE</p><script>own('text')</script>\nEXIT"""

Tables = dict[str, pa.Table | None]
Write = Callable[[str, Tables, pa.Table], None]


def test_hostile_names_and_captions_stay_text(dataset: str, tables: Tables):
    page = Outline(read(write_page(dataset)))
    assert page.tags.count("script") == 1
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert tables["videos"] is not None and tables["captions"] is not None
    name, caption = tables["videos"]["uri"][2].as_py(), tables["captions"]["caption"][0].as_py()
    assert name.startswith("b/<script>") and name in page.text
    assert caption.startswith("</p></article><script>") and caption in page.text


def test_page_asks_nothing_of_anyone(dataset: str):
    page = Outline(read(write_page(dataset)))
    links = [
        value for name, value in page.attributes if name in ("src", "href", "action", "srcset")
    ]
    assert links
    assert all(link.startswith(("#", "data:image/jpeg;base64,")) for link in links)
    assert not {"link", "iframe", "object", "form", "base"} & set(page.tags)


def test_page_tells_the_numbers(dataset: str):
    text = Outline(read(write_page(dataset))).text
    for told in (
        "5 = 2 kept + 1 rejected + 2 failed",
        "Every file, clip and sample is accounted for.",
        "256p_16x9_033f",
        "too_dark keeps 10 or more, nulls rejected",
        "≥ 10 (2 beyond)",
        "6 measured, 1 null",
        "7 of 7 clips",
        "same bytes as a/film.mp4",
        "1.100",  # decoded / source frames
    ):
        assert told in text, told


def test_same_tables_give_the_same_bytes(dataset: str):
    first = read(write_page(dataset))
    assert read(write_page(dataset)) == first


def test_three_of_five_keyframes_are_shown(dataset: str):
    page = Outline(read(write_page(dataset)))
    assert [value for name, value in page.attributes if name == "alt"] == [
        "Frame 0 at 0:00.00",
        "Frame 20 at 0:02.00",
        "Frame 40 at 0:04.00",
    ] * 2


def test_page_tells_what_later_stages_found(
    tmp_path: Path, rich: Tables, keyframes: pa.Table, write_dataset: Write
):
    write_dataset(str(tmp_path), rich, keyframes)
    page = Outline(read(write_page(str(tmp_path))))
    for told in (
        "triage_black",
        "model1 of 29.0 s64x32_081f 1",  # of the two kept clips
        "too_short19.0 s60 frames at 16 fps, needs 81",
        "Freezefrozen_pct",  # the meter over its histograms
        "camera_motionpan3static2",
        "is_softfalse6true1",
        "Same pictures as film.mp4 0:00.00 to 0:09.00",
        "Same meaning as film.mp4 0:27.00 to 0:36.00",
        "copied19.0 s900",
    ):
        assert told in page.text, told
    assert HOSTILE_TEXT in page.text and page.tags.count("script") == 1
    # three of c1, three of c5, and the middle one of c1 beside its copy
    assert page.tags.count("img") == 7


@pytest.mark.parametrize("last", ["videos", "clips", "filter", "captions"])
def test_page_can_be_had_at_any_moment(
    tmp_path: Path, tables: Tables, keyframes: pa.Table, write_dataset: Write, last: str
):
    names = list(tables)
    there = names[: names.index(last) + 1]
    present = {name: table if name in there else None for name, table in tables.items()}
    write_dataset(str(tmp_path), present, keyframes)
    text = Outline(read(write_page(str(tmp_path)))).text
    assert ("There are no clips yet" in text) == (last == "videos")
    assert ("There are no captions yet" in text) == (last != "captions")
    assert "There are no shards yet" in text


def test_no_dataset_is_the_users_mistake(tmp_path: Path):
    with pytest.raises(ValueError, match="holds no tables"):
        write_page(str(tmp_path / "nothing"))


@needs_browser
def test_a_browser_runs_the_page_and_nothing_that_the_data_brought(dataset: str, tmp_path: Path):
    page = read(write_page(dataset))
    # without the policy, so that escaping alone is what holds; then the last reason's button
    bare = without_policy(page)
    own = "<script>function own(what) { document.body.dataset.owned = what; }</script>"
    press = """<script>
        const button = [...document.querySelectorAll('.reasons button')].at(-1);
        button.click();
        const shown = cards.filter((card) => !card.hidden).map((card) => card.dataset.status);
        cards[0].querySelector('button.strip').click();
        const state = {reason: button.firstChild.data.trim(), shown, open: viewer.open};
        document.title = JSON.stringify(state);
        </script>"""
    copy = tmp_path / "copy.html"
    copy.write_text(
        bare.replace("<body>", "<body>" + own).replace("</body>", press + "</body>"), "utf-8"
    )
    found = rendered(copy, tmp_path)
    assert "data-owned" not in found.replace(press, "").replace(own, "")
    title = re.search(r"<title>(.*?)</title>", found)
    assert title is not None
    assert json.loads(title[1]) == {"reason": "too_dark", "shown": ["rejected"] * 3, "open": True}


@needs_browser
def test_the_policy_lets_the_pages_own_script_run_and_no_other(dataset: str, tmp_path: Path):
    page = read(write_page(dataset))
    copy = tmp_path / "copy.html"
    alien = "<script>document.body.dataset.owned = 'yes';</script>"
    copy.write_text(page.replace("</body>", alien + "</body>"), "utf-8")
    found = rendered(copy, tmp_path)
    assert "7 of 7 clips in this gallery" in found
    assert "<body data-owned" not in found


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_everything_can_be_read(dataset: str, tmp_path: Path, dark: bool):
    assert low_contrast(read(write_page(dataset)), tmp_path, dark=dark) == []


def test_page_of_a_dataset_on_object_storage(
    tables: Tables, keyframes: pa.Table, write_dataset: Write, s3: str
):
    write_dataset(f"{s3}/set", tables, keyframes)
    url = write_page(f"{s3}/set")
    assert url == f"{s3}/set/audit/index.html"
    text = Outline(storage.read_bytes(url).decode()).text
    assert "5 = 2 kept + 1 rejected + 2 failed" in text


def test_a_card_shows_what_turned_a_clip_away_before_all_else(rich: Tables):
    measured = [f"m{i}" for i in range(12)]
    clips = rich["clips"]
    assert clips is not None and rich["filter"] is not None
    for name in measured:
        clips = clips.append_column(name, pa.array([1.0] * 7))
    rules = [Rule(name, name, 0, None, "keep") for name in measured]
    rules.append(Rule("camera", "camera_motion", None, None, "keep", denied=["handheld"]))
    failed = [["m11", "camera"] if c == "c5" else [] for c in clips["clip_id"].to_pylist()]
    verdicts = rich["filter"].set_column(3, "failed", pa.array(failed))
    ledger = join_tables(rich | {"clips": clips, "filter": verdicts}, rules=rules)
    by_id = {row["clip_id"]: row for row in ledger.clips.to_pylist()}
    assert headline(ledger, by_id["c5"]) == [*measured[:6], "m11", "camera_motion"]
    assert headline(ledger, by_id["c1"]) == measured[:8]
