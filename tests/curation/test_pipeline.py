"""The wiring, on a real Ray: resume, isolation, conservation."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
import ray

from curation import dataset, pipeline, storage
from curation.account import verdicts
from curation.stage import Abort, Unit
from tests.curation.footage_made import assert_same
from tests.curation.killing import wait_for
from tests.curation.toy_stage import GROUP, GROUP_BYTES, Doubles, Shares, Unloadable, units

pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture
def stage(tmp_path: Path) -> Doubles:
    (tmp_path / "notes").mkdir()
    return Doubles(notes=str(tmp_path / "notes"))


def runs(stage: Doubles, name: str) -> int:
    return Path(stage.notes, name).read_text().count("run")


def numbers(data: str) -> list[dict]:
    return sorted(dataset.load(data, "numbers").to_pylist(), key=lambda row: row["id"])


def test_units_are_committed_and_not_run_again(tmp_path: Path, stage: Doubles) -> None:
    data = str(tmp_path / "data")
    first = pipeline.run(stage, units(stage, {"a": "work", "b": "work"}), data=data)
    assert first["counts"] == {
        "rows": 4, "kept": 4, "rejected": 0, "failed": 0, "units": 2, "units_done_before": 0,
    }  # fmt: skip
    assert [row["double"] for row in numbers(data)] == [0, 0, 2, 2]
    more = pipeline.run(stage, units(stage, {"a": "work", "b": "work", "c": "work"}), data=data)
    assert more["counts"]["units_done_before"] == 2
    assert (runs(stage, "a"), runs(stage, "c")) == (1, 1)
    manifest = json.loads((tmp_path / "data/runs/doubles.json").read_text())
    assert manifest["status"] == "complete" and len(manifest["units"]) == 3


def test_a_stage_knows_among_how_many_workers_it_shares_a_server(
    tmp_path: Path, stage: Doubles
) -> None:
    """As many as there are units, and as Ray has CPUs for."""
    num_cpus = int(ray.cluster_resources()["CPU"])
    shared = Shares(notes=stage.notes)
    for data, does, workers in (("one", "a", 1), ("two", "bcdef", min(5, num_cpus))):
        made = units(shared, dict.fromkeys(does, "work"))
        pipeline.run(shared, made, data=str(tmp_path / data))
        assert {row["double"] for row in numbers(str(tmp_path / data))} == {workers}
    again = pipeline.run(shared, units(shared, {"g": "crash once"}), data=str(tmp_path / "one"))
    assert [row["double"] for row in numbers(str(tmp_path / "one"))] == [1, 1]
    assert again["tally"] == {"rows": 2}  # of the second attempt


def test_units_that_nothing_names_any_more_are_removed(tmp_path: Path, stage: Doubles) -> None:
    data = str(tmp_path / "data")
    pipeline.run(stage, units(stage, {"a": "work", "b": "work"}), data=data)
    pipeline.run(stage, units(stage, {"b": "work"}), data=data)
    assert len(storage.list_files(dataset.tables_url(data, "numbers"), ".parquet")) == 1
    assert len(storage.list_files(dataset.tables_url(data, "squares"), ".parquet")) == 1


def test_a_unit_that_kills_its_worker_is_tried_twice_and_recorded(
    tmp_path: Path, stage: Doubles
) -> None:
    data = str(tmp_path / "data")
    does = {"a": "work", "bad": "crash", "worse": "crash in C", "once": "crash once"}
    record = pipeline.run(stage, units(stage, does), data=data)
    assert record["counts"]["rows"] == 8 and record["counts"]["failed"] == 4
    errors = {row["id"]: row["error"] for row in numbers(data)}
    for name in ("bad", "bad-b", "worse", "worse-b"):
        assert errors[name] == "decoder_crashed: its worker process died in each of 2 attempts"
    assert errors["a"] is None and errors["once"] is None
    assert [runs(stage, name) for name in ("bad", "worse", "once")] == [2, 2, 2]
    again = pipeline.run(stage, units(stage, does), data=data)
    assert again["counts"]["units_done_before"] == 4, "quarantined files are left alone"


def test_a_unit_that_overruns_its_deadline_is_killed_and_recorded(
    tmp_path: Path, stage: Doubles
) -> None:
    data = str(tmp_path / "data")
    slow = Doubles(notes=stage.notes, limit_s=0.5)
    spins = "spin", "spin in C", "spin in C and hold the interpreter"
    does = {"a": "work"} | {does: does for does in spins}
    record = pipeline.run(slow, units(slow, does), data=data)
    assert record["counts"]["failed"] == 2 * len(spins)
    errors = {row["id"]: row["error"] for row in numbers(data)}
    for name in spins:
        assert errors[name] == "deadline: not finished after 0.5 s in each of 2 attempts"
        assert runs(stage, name) == 2
    assert errors["a"] is None
    assert storage.list_files(storage.join(data, "runs", "overrun")) == []


def test_a_unit_that_asks_for_more_memory_than_it_may_have_fails_alone(
    tmp_path: Path, stage: Doubles
) -> None:
    data = str(tmp_path / "data")
    small = Doubles(notes=stage.notes, limit_gb=0.5)
    record = pipeline.run(small, units(small, {"a": "work", "big": "allocate"}), data=data)
    assert record["counts"] | {"kept": 2, "failed": 2} == record["counts"]
    errors = {row["id"]: row["error"] for row in numbers(data)}
    assert errors["big"].startswith("out_of_memory: ") and runs(stage, "big") == 2


def test_a_worker_that_the_kernel_kills_for_memory_is_told_from_a_crash(
    tmp_path: Path, stage: Doubles
) -> None:
    try:
        GROUP.mkdir()
        (GROUP / "memory.limit_in_bytes").write_text(str(GROUP_BYTES))
    except OSError as error:
        pytest.skip(f"needs the right to make a control group of version 1: {error}")
    data = str(tmp_path / "data")
    does = {"a": "work", "big": "allocate in a small group"}
    try:
        pipeline.run(stage, units(stage, does), data=data)
    finally:
        wait_for("the group to be empty", lambda: not (GROUP / "cgroup.procs").read_text())
        GROUP.rmdir()
    errors = {row["id"]: row["error"] for row in numbers(data)}
    assert errors["big"].startswith("out_of_memory: ") and runs(stage, "big") == 2
    assert errors["a"] is None


def test_a_failure_that_may_pass_is_tried_again_by_the_next_run(
    tmp_path: Path, stage: Doubles
) -> None:
    data, undisturbed = str(tmp_path / "data"), str(tmp_path / "undisturbed")
    planned = units(stage, {"a": "work", "gone": "vanish once"})
    record = pipeline.run(stage, planned, data=data)
    assert record["counts"]["failed"] == 2
    assert record["units"] == [planned[0].key, f"{planned[1].key}.again"]
    error = "vanished: the file was there when the run began"
    assert [row["error"] for row in numbers(data)] == [None, None, error, error]

    record = pipeline.run(stage, planned, data=data)
    assert record["counts"] | {"failed": 0, "units_done_before": 1} == record["counts"]
    assert (runs(stage, "a"), runs(stage, "gone")) == (1, 2)
    pipeline.run(stage, planned, data=undisturbed)
    assert_same(data, undisturbed)


def test_what_a_stage_did_not_foresee_is_recorded_against_its_rows(
    tmp_path: Path, stage: Doubles
) -> None:
    data = str(tmp_path / "data")
    record = pipeline.run(stage, units(stage, {"a": "work", "bug": "raise"}), data=data)
    assert record["counts"] | {"failed": 2, "kept": 2} == record["counts"]
    errors = {row["id"]: row["error"] for row in numbers(data)}
    assert errors["bug"] == "stage_failed: KeyError: 'a mistake of ours'"


def test_what_lies_outside_the_data_stops_the_run_and_keeps_what_is_done(
    tmp_path: Path, stage: Doubles
) -> None:
    data = str(tmp_path / "data")
    pipeline.run(stage, units(stage, {"a": "work"}), data=data)
    with pytest.raises(Abort, match="does not answer.*; run the same command to continue"):
        pipeline.run(stage, units(stage, {"a": "work", "x": "stop"}), data=data)
    assert dataset.load(data, "numbers").num_rows == 2
    assert json.loads((tmp_path / "data/runs/doubles.json").read_text())["status"] == "running"


def test_a_storage_that_does_not_answer_is_no_fault_of_the_rows(
    tmp_path: Path, stage: Doubles
) -> None:
    data = str(tmp_path / "data")
    with pytest.raises(Abort, match="ConnectionResetError.*; run the same command to continue"):
        pipeline.run(stage, units(stage, {"x": "lose the network"}), data=data)
    assert dataset.load(data, "numbers") is None


def test_a_stage_that_no_worker_can_load_is_no_fault_of_the_rows(tmp_path: Path) -> None:
    stage = Unloadable(notes=str(tmp_path))
    data = str(tmp_path / "data")
    with pytest.raises(Abort, match="workers cannot load it .*not on this machine"):
        pipeline.run(stage, units(stage, {"a": "work"}), data=data)
    assert dataset.load(data, "numbers") is None


def test_a_lost_row_is_not_committed(tmp_path: Path, stage: Doubles) -> None:
    data = str(tmp_path / "data")
    with pytest.raises(Abort, match="1 rows out of 2 in"):
        pipeline.run(stage, units(stage, {"a": "lose"}), data=data)
    assert dataset.load(data, "numbers") is None


def test_readers_see_only_the_units_that_count_while_a_stage_runs(
    tmp_path: Path, stage: Doubles
) -> None:
    data = str(tmp_path / "data")
    pipeline.run(stage, units(stage, {"a": "work", "b": "work"}), data=data)
    manifest = tmp_path / "data/runs/doubles.json"
    record = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(record | {"status": "running", "units": record["units"][:1]}))
    assert dataset.load(data, "numbers").num_rows == 2


def test_columns_are_checked_before_anything_starts(tmp_path: Path, stage: Doubles) -> None:
    data = str(tmp_path / "data")
    with pytest.raises(ValueError, match="doubles reads the table 'given', which .* not hold yet"):
        pipeline.check([stage], data=data)
    storage.write_table(dataset.unit_url(data, "given", "x"), pa.table({"other": [1]}))
    with pytest.raises(ValueError, match=r"reads \['id'\] of the table 'given', which has"):
        pipeline.check([stage], data=data)
    pipeline.check([stage], data=data, given=frozenset({"given"}))


def test_a_table_whose_stage_was_stopped_is_not_taken_for_whole(
    tmp_path: Path, stage: Doubles
) -> None:
    data = str(tmp_path / "data")
    storage.write_table(dataset.unit_url(data, "given", "x"), pa.table({"id": ["a"]}))
    record = {"stage": "giver", "status": "running", "tables": ["given"], "units": ["x", "y"]}
    dataset.write_manifest(data, record)
    with pytest.raises(ValueError, match="giver stopped before it was whole; run giver again"):
        pipeline.check([stage], data=data)
    dataset.write_manifest(data, record | {"status": "complete"})
    pipeline.check([stage], data=data)


def test_verdicts_add_up() -> None:
    table = pa.table(
        {"reject": [None, "dark", "dark", None], "error": [None, None, "x: y", "x: y"]}
    )
    assert verdicts(table) == {"rows": 4, "kept": 1, "rejected": 1, "failed": 2}


def test_two_units_that_read_the_same_are_our_mistake(tmp_path: Path, stage: Doubles) -> None:
    unit = units(stage, {"a": "work"})[0]
    with pytest.raises(AssertionError, match="two units read the same"):
        pipeline.run(stage, [unit, Unit(unit.key, 2, rows=unit.rows)], data=str(tmp_path))
