import pyarrow as pa

from curation.audit.histogram import histogram
from curation.audit.ledger import Ledger, Rule, join_tables


def of_values(values: list[float | None], *rules: Rule) -> Ledger:
    ids = [str(i) for i in range(len(values))]
    return join_tables({"clips": pa.table({"clip_id": ids, "x": values})}, rules=rules)


def test_bars_hold_every_measured_clip_by_verdict(
    tables: dict[str, pa.Table | None], rules: list[Rule]
):
    ledger = join_tables(tables, rules=rules)
    drawn = histogram(ledger, "luma_mean_pct")
    # kept 50 and 60; rejected 4, 5, 70 and, failed, 55; null c5
    assert (drawn.measured, drawn.nulls, drawn.median) == (6, 1, 52.5)
    assert {verdict: sum(bars) for verdict, bars in drawn.counts.items()} == {
        "kept": 2,
        "rejected": 4,
        "undecided": 0,
    }
    kept = [edge for edge, n in zip(drawn.edges[:-1], drawn.counts["kept"], strict=True) if n]
    assert [edge <= value for edge, value in zip(kept, (50, 60), strict=True)] == [True, True]
    (limit,) = drawn.limits
    assert (limit.value, limit.is_minimum, limit.beyond) == (10.0, True, 2)


def test_edges_are_round_numbers_and_the_greatest_value_ends_the_axis():
    drawn = histogram(of_values([float(i) for i in range(101)]), "x")
    assert drawn.edges[0] == 0 and drawn.edges[-1] == 100
    assert drawn.edges[1] == 5
    assert drawn.counts["undecided"] == [5] * 19 + [6]


def test_whole_numbers_get_a_bar_each():
    drawn = histogram(of_values([1, 2, 2, 5]), "x")
    assert drawn.edges == [1, 2, 3, 4, 5, 6]
    assert drawn.counts["undecided"] == [1, 2, 0, 0, 1]


def test_axis_reaches_a_near_threshold_but_not_a_far_one():
    near, far = Rule("near", "x", None, 15.0, "keep"), Rule("far", "x", None, 1e9, "keep")
    drawn = histogram(of_values([0.0, 10.0], near, far), "x")
    assert drawn.edges[-1] == 15
    assert [limit.beyond for limit in drawn.limits] == [0, 0]


def test_rare_outliers_are_counted_in_the_last_bar():
    drawn = histogram(of_values([*(float(i % 10) for i in range(999)), 1e6]), "x")
    assert drawn.edges[-1] < 20
    assert sum(drawn.counts["undecided"]) == 1000
    assert drawn.high == 1e6


def test_columns_without_a_spread_have_no_bars():
    same = histogram(of_values([3.0, 3.0, None]), "x")
    assert (same.edges, same.low, same.measured, same.nulls) == ([], 3.0, 2, 1)
    none = histogram(of_values([float("nan"), float("inf")]), "x")
    assert (list(none.edges), none.measured, none.nulls) == ([], 0, 2)
