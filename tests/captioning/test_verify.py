"""Checks of hand-made captions, through the stage, through Ray and through filter's rules."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from captioning.__main__ import build_parser, main
from captioning.describe import CAPTIONS
from captioning.verify import VERIFY, Verify, check, summary, units
from curation import clip, dataset, storage
from curation.__main__ import main as curate
from curation.stages import filter as judging
from tests.tiny_clip import cut_off, write_weights

CONFIGS = Path(__file__).parents[2] / "configs"
MODEL = "tiny-clip-v"
DENSE = (
    "The video shows a man who appears to be cooking. The camera is static. A beautiful pan stands "
    "on the stove."
)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cut_off(monkeypatch, tmp_path / "empty")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_weights(folder, MODEL, "tiny.pt", "other.pt")
    return folder


def scoring(folder: Path, **changes: Any) -> Verify:
    knobs: dict[str, Any] = {"model": MODEL, "pretrained": str(folder / "tiny.pt")}
    knobs |= {"model_config_dir": str(folder)} | changes
    return Verify(**knobs)


def jpeg(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=95)
    return out.getvalue()


# -- one caption -----------------------------------------------------------------------------------


def test_the_columns_of_one_caption() -> None:
    fields = json.dumps({"camera_motion": "static"})
    row = {"clip_id": "a", "caption": DENSE, "caption_dense": DENSE, "caption_fields": fields}
    row |= {"caption_short": "A man is perhaps cooking."}
    found = check(row, camera_motion="pan left")
    code, probability = found.pop("caption_language"), found.pop("caption_language_probability")
    assert code == "en" and 0.9 < probability <= 1
    assert found == {
        "clip_id": "a",
        "caption_words": 21,
        "caption_short_words": 5,
        # caption and caption_dense are one text
        "caption_stock_phrases": 0,
        "caption_opinions": 1,
        "caption_mentions_medium": 1,
        "caption_uncertain": 2,
        "caption_repetition": 0,
        "caption_camera_conflict": "says static, measured pan left",
        "caption_clip_similarity": None,
        "caption_clip_model": None,
        "verify_note": None,
        "error": None,
    }
    assert check(row, camera_motion="static")["caption_camera_conflict"] is None


def test_without_a_text_or_letters_columns_are_null_with_the_reason() -> None:
    for text in (None, ""):
        found = check({"clip_id": "a", "caption": text}, camera_motion="static")
        assert found.pop("clip_id") == "a" and found.pop("verify_note") == "no caption"
        assert set(found.values()) == {None}
    numbers = check({"clip_id": "a", "caption": "2026 11 21"}, camera_motion=None)
    assert numbers["caption_words"] == 3 and numbers["caption_language"] is None
    assert numbers["verify_note"] == "no letter to tell a language by"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Ein Hund rennt schnell über die nasse Wiese und bellt.", "de"),
        ("Un chien court dans le pré derrière la maison.", "fr"),
        ("一只棕色的狗在绿色的草地上奔跑。", "zh"),
    ],
)
def test_the_language_is_told(text: str, code: str) -> None:
    found = check({"clip_id": "a", "caption": text}, camera_motion=None)
    assert found["caption_language"] == code and found["caption_language_probability"] > 0.9


# -- similarity ------------------------------------------------------------------------------------


def tables(rows: dict[str, str | None], frames: list[tuple[str, bytes | None]]) -> dict[str, Any]:
    ids, texts = list(rows), list(rows.values())
    none = pa.nulls(len(ids), pa.string())
    return {
        "captions": pa.table({"clip_id": ids, "caption": pa.array(texts, pa.string())}),
        "rows": pa.table({"clip_id": ids, "camera_motion": none}),
        "keyframes": pa.table(
            {
                "clip_id": pa.array([clip_id for clip_id, _ in frames], pa.string()),
                "jpeg": pa.array([jpeg for _, jpeg in frames], pa.binary()),
            }
        ),
    }


def cosines_another_way(folder: Path, text: str, jpegs: list[bytes]) -> list[float]:
    import open_clip
    import torch

    made: Any = open_clip.create_model_and_transforms(MODEL, pretrained=str(folder / "tiny.pt"))
    net, _, preprocess = made
    net.eval()
    fit = torch.stack([preprocess(Image.open(io.BytesIO(jpeg))) for jpeg in jpegs])
    with torch.no_grad():
        images = net.encode_image(fit).double().numpy()
        words = net.encode_text(open_clip.get_tokenizer(MODEL)([text]))[0].double().numpy()
    norms = np.linalg.norm(images, axis=1) * np.linalg.norm(words)
    return list(images @ words / norms)


def test_similarity_is_the_mean_cosine_over_the_keyframes(folder: Path) -> None:
    frames: list[tuple[str, bytes | None]] = [(name, jpeg(i)) for i, name in enumerate("babxb")]
    texts = {"a": "A red boat sails.", "b": "A dog sleeps."}  # and x has no caption
    written = scoring(folder, batch_size=2).run(tables({**texts}, frames))["verify"]
    assert written.schema == VERIFY
    for row in written.to_pylist():
        shown = [jpeg for name, jpeg in frames if name == row["clip_id"] and jpeg]
        cosines = cosines_another_way(folder, texts[row["clip_id"]], shown)
        assert row["caption_clip_similarity"] == pytest.approx(np.mean(cosines), abs=1e-5)
        assert row["caption_clip_model"] == f"{MODEL}/tiny.pt" and row["verify_note"] is None
    alone, three = written["caption_clip_similarity"].to_pylist()
    assert abs(alone - three) > 1e-3  # other pictures, another text


def test_what_cannot_be_scored_is_null_with_the_reason(folder: Path) -> None:
    whole = jpeg(1)
    frames: list[tuple[str, bytes | None]]
    frames = [("a", whole), ("b", whole), ("b", whole[:200]), ("d", whole)]
    given = tables({"a": "A dog.", "b": "A dog.", "c": "A dog.", "d": None}, frames)
    written = scoring(folder).run(given)["verify"]
    scores = written["caption_clip_similarity"].to_pylist()
    assert [score is None for score in scores] == [False, True, True, True]
    assert written["verify_note"].to_pylist() == [
        *(None, "unreadable keyframe", "no keyframe", "no caption")
    ]
    del given["keyframes"]
    written = scoring(folder).run(given)["verify"]
    assert written["verify_note"].to_pylist() == [*["no keyframe"] * 3, "no caption"]


def test_without_weights_nothing_is_made_up(folder: Path, capsys: Any) -> None:
    given = tables({"a": "A dog runs over a wet meadow."}, [("a", jpeg(1))])
    unasked = Verify().run(given)["verify"].to_pylist()[0]
    assert unasked["verify_note"] == (
        "no weights are named (pretrained: null): set pretrained to openai, or to a file"
    )
    assert capsys.readouterr().out == ""
    stage = scoring(folder, pretrained=str(folder / "gone.pt"))
    missing = [stage.run(given)["verify"].to_pylist()[0] for _ in range(2)][1]
    assert missing["verify_note"].startswith("missing weights: ")
    assert capsys.readouterr().out.count("missing weights") == 1
    for row in (unasked, missing):
        assert row["caption_clip_similarity"] is None and row["caption_clip_model"] is None
        assert row["caption_words"] == 7


def test_a_mistake_is_an_error_before_any_work(folder: Path) -> None:
    with pytest.raises(ValueError, match="no architecture of open_clip; the nearest are tiny-clip"):
        scoring(folder, model="tiny-clap-v").config_hash()
    with pytest.raises(ValueError, match="batch_size = 0"):
        Verify(batch_size=0)


# -- a dataset -------------------------------------------------------------------------------------


def write_captions(data: Path, unit: str, texts: dict[str, str | None], **columns: Any) -> None:
    rows = [dict.fromkeys(CAPTIONS.names) | columns for _ in texts]
    for row, (clip_id, text) in zip(rows, texts.items(), strict=True):
        row |= {"clip_id": clip_id, "caption": text, "caption_chars": len(text or "")}
    table = pa.Table.from_pylist(rows, schema=CAPTIONS)
    storage.write_table(dataset.unit_url(str(data), "captions", unit), table)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two videos of three and one clips, of which one was not captioned; keyframes of the first."""
    data = tmp_path / "data"
    schema = clip.CLIPS.append(pa.field("camera_motion", pa.string()))
    motions = {"one": ["pan left", "static", "static"], "two": ["zoom in"]}
    for unit, measured in motions.items():
        rows = [
            dict.fromkeys(schema.names) | {"clip_id": f"{unit}-{i}", "camera_motion": motion}
            for i, motion in enumerate(measured)
        ]
        table = pa.Table.from_pylist(rows, schema=schema)
        storage.write_table(dataset.unit_url(str(data), "clips", unit), table)
    shown = [
        {"clip_id": f"one-{i}", "position": 0.5, "frame": 0, "time_s": 0.0, "jpeg": jpeg(i)}
        for i in range(3)
    ]
    frames = pa.Table.from_pylist(shown, schema=clip.KEYFRAMES)
    storage.write_table(dataset.unit_url(str(data), "keyframes", "one"), frames)
    write_captions(data, "x", {"one-0": DENSE, "one-1": "A dog runs over a meadow."})
    write_captions(data, "y", {"two-0": None})
    return data


def rows_of(data: Path) -> dict[str, dict[str, Any]]:
    return {row["clip_id"]: row for row in dataset.require(str(data), "verify").to_pylist()}


def keys(stage: Verify, data: Path) -> dict[str, str]:
    return {Path(u.files["captions"][0]).stem: u.key for u in units(stage, data=str(data))}


def test_units_are_named_by_texts_measured_motion_and_weights(data: Path, folder: Path) -> None:
    plain, scored = keys(Verify(), data), keys(scoring(folder), data)
    assert plain == keys(Verify(model="ViT-B-32", batch_size=1), data)  # nothing is scored by it
    assert scored == keys(scoring(folder, batch_size=1), data)
    others = keys(scoring(folder, pretrained=str(folder / "other.pt")), data)
    assert len({*plain.values(), *scored.values(), *others.values()}) == 6

    # what does not bear on a check leaves the name; another text, in a file of the old name, not
    write_captions(data, "y", {"two-0": None}, answer_tokens=7)
    assert keys(Verify(), data) == plain
    write_captions(data, "y", {"two-0": "A cat."})
    assert keys(Verify(), data)["x"] == plain["x"] and keys(Verify(), data)["y"] != plain["y"]

    clips = dataset.unit_url(str(data), "clips", "one")
    table = storage.read_table(clips)
    still = pa.array(["static"] * 3, pa.string())
    storage.write_table(clips, table.set_column(table.num_columns - 1, "camera_motion", still))
    assert keys(Verify(), data)["x"] != plain["x"]


def test_the_command_checks_what_is_new_and_filter_acts_on_it(data: Path, capsys: Any) -> None:
    command = ["verify", "--data", str(data), "--workers", "2"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "checks      2 captions | 1 with opinions | 1 that mention the medium" in said
    found = rows_of(data)
    assert set(found) == {"one-0", "one-1", "two-0"}
    assert found["one-0"]["caption_camera_conflict"] == "says static, measured pan left"
    assert found["one-1"]["caption_uncertain"] == 0 and found["two-0"]["verify_note"] == (
        "no caption"
    )
    record = json.loads((data / "runs" / "verify.json").read_text())
    assert record["counts"]["rows"] == 3 and record["counts"]["units"] == 2

    write_captions(data, "y", {"two-0": "Perhaps a cat. The camera zooms out."})
    assert main(command) == 0
    record = json.loads((data / "runs" / "verify.json").read_text())
    assert record["counts"]["units_done_before"] == 1
    assert rows_of(data)["two-0"]["caption_uncertain"] == 1

    rules = [
        {"name": "camera_conflict", "column": "caption_camera_conflict", "allowed": []},
        {"name": "hedging", "column": "caption_uncertain", "max": 0},
        {"name": "other_language", "column": "caption_language", "allowed": ["en"]},
    ]
    judge = ["filter", "--data", str(data), "--filter.rules", json.dumps(rules)]
    assert curate(judge) == 0
    verdicts = {row["clip_id"]: row for row in dataset.require(str(data), "filter").to_pylist()}
    assert {name: row["failed"] for name, row in verdicts.items()} == {
        "one-0": ["camera_conflict", "hedging"],
        "one-1": [],
        "one-2": [],
        "two-0": ["camera_conflict", "hedging"],
    }
    # what captioning works on never hangs on what it wrote
    assert all(row["eligible"] for row in verdicts.values())


def test_shards_without_these_checks_are_told_of(data: Path, capsys: Any) -> None:
    note = "the shards do not hold these checks yet; run make shard\n"
    storage.write_table(f"{data}/shards/index.parquet", pa.table({"key": ["two-0"]}))
    assert main(["verify", "--data", str(data), "--workers", "2"]) == 0
    assert note in capsys.readouterr().out
    write_captions(data, "x", {"one-0": "A cat.", "one-1": "A dog."})  # in no shard
    assert main(["verify", "--data", str(data), "--workers", "2"]) == 0
    assert note not in capsys.readouterr().out


def test_captions_that_were_not_checked_are_told_by_filter(data: Path, capsys: Any) -> None:
    (data / "tables" / "verify").mkdir(parents=True)
    checked = pa.table({"clip_id": ["one-0"], "caption_words": pa.array([7], pa.int32())})
    storage.write_table(dataset.unit_url(str(data), "verify", "a"), checked)
    rule = judging.Rule("too_short", "caption_words", min=3)
    judging.units(judging.Filter(rules=[rule]), data=str(data))
    # of three clips with a caption, or a reason why there is none
    assert "2 of 3 clips are not in the table verify" in capsys.readouterr().out


def test_a_dataset_without_captions_is_one_sentence_and_one_without_eligible_clips_none(
    data: Path, capsys: Any
) -> None:
    for file in (data / "tables" / "captions").iterdir():
        file.unlink()
    assert main(["verify", "--data", str(data)]) == 1
    assert "verify reads the table 'captions'" in capsys.readouterr().err
    record = {"stage": "caption", "status": "complete", "tables": ["captions"], "units": []}
    dataset.write_manifest(str(data), record)
    assert main(["verify", "--data", str(data)]) == 0


def test_rows_of_a_unit_that_failed_are_kept_with_the_reason() -> None:
    failed = Verify().failed(tables({"a": "A dog.", "b": None}, []), error="deadline: too long")
    assert failed["verify"]["clip_id"].to_pylist() == ["a", "b"]
    assert failed["verify"]["error"].to_pylist() == ["deadline: too long"] * 2
    assert failed["verify"]["caption_words"].null_count == 2
    assert summary(failed["verify"].to_pylist()) == "checks      0 captions"


def test_filter_knows_every_column_before_it_is_written() -> None:
    expected = judging.expected_columns()
    columns = set(VERIFY.names) - {"clip_id", "error"}
    assert {expected.get(column) for column in columns} == {"verify"}
    assert {expected.get(c) for c in set(CAPTIONS.names) - {"clip_id", "error"}} == {"captions"}


def test_the_config_is_understood() -> None:
    config = CONFIGS / "captioning" / "checks.yaml"
    parser = build_parser()
    options = parser.parse_args(["verify", "--config", str(config), "--data", "x"])
    knobs = vars(parser.instantiate(options)["verify"])
    stage = Verify(**{k: v for k, v in knobs.items() if k not in ("config", "data", "workers")})
    assert stage == Verify(pretrained="openai")
    assert config.read_text().startswith(
        "# python -m captioning verify --config configs/captioning/"
    )
