"""The tables of a report hold the rules of comparisons."""

from __future__ import annotations

from dataclasses import replace

from made_up_report import ORDERS, compared, made_up, made_up_sweep, sequence, with_bound

from orchestrator.display.comparison import CompareResult
from orchestrator.report.parts import parts
from orchestrator.report.tables import Table, orders_table, paired_table, result_table, trials_table


def cell(table: Table, row: str, column: str):
    (k,) = (k for k, c in enumerate(table.columns) if column in (c.key, f"{c.group} {c.name}"))
    return next(r for r in table.rows if r.name == row).cells[k]


def test_the_best_is_bold_and_a_bound_is_in_brackets_and_never_best():
    table = result_table(with_bound(compared("lwf", "had")))
    assert [row.title for row in table.rows] == ["naive", "lwf", "had", "(joint)"]
    assert cell(table, "had", "delta_m_pct").text == "+22.5 ± 2.4"
    for column in ("delta_m_pct", "semantic miou"):
        marked = {row.name: cell(table, row.name, column).best for row in table.rows}
        assert marked == {"naive": False, "lwf": False, "had": True, "joint": False}
    joint, had = (cell(table, name, "semantic miou").spread.mean for name in ("joint", "had"))
    assert joint > had


def test_lower_is_better_where_it_is():
    table = result_table(compared("lwf", "had"))
    errors = {name: cell(table, name, "depth abs_err").spread.mean for name in ("lwf", "had")}
    assert errors["had"] < errors["lwf"]
    assert cell(table, "had", "depth abs_err").best and not cell(table, "lwf", "depth abs_err").best
    assert cell(table, "had", "forgetting").text == "9.5 ± 0.6"


def test_a_method_that_lacks_a_sequence_is_not_best():
    result = compared("lwf", "had")
    broken = [
        sequence("had", s.order, s.seed, stages=2) if s.method == "had" and s.seed else s
        for s in result.run.sequences
    ]
    table = result_table(CompareResult(replace(result.run, sequences=tuple(broken))))
    assert cell(table, "had", "delta_m_pct").spread.count == 2
    assert not any(c.best for row in table.rows if row.name == "had" for c in row.cells)
    assert cell(table, "lwf", "delta_m_pct").best


def test_nothing_scored_gives_dashes():
    run = compared("had").run
    empty = [sequence(s.method, s.order, s.seed, stages=0) for s in run.sequences]
    table = result_table(CompareResult(replace(run, sequences=tuple(empty))))
    assert {c.text for row in table.rows for c in row.cells} == {"-"}


def test_orders_with_how_far_they_lie_apart():
    table = orders_table(made_up(compared("lwf", "had")))
    assert [row.name for row in table.rows] == [
        *(" → ".join(order) for order in ORDERS),
        "deviation over orders",
        "deviation over seeds",
    ]
    assert [c.name for c in table.columns] == ["lwf", "had"]
    assert [row.cells[1].text for row in table.rows] == ["+20.5 ± 0.7", "+24.5 ± 0.7", "2.8", "0.7"]


def test_differences_are_of_pairs():
    table = paired_table(with_bound(compared("lwf", "had")))
    assert "less that of had" in table.caption
    assert {row.title: [c.text for c in row.cells] for row in table.rows} == {
        "naive": ["-22.5 ± 2.4", "0/4"],
        "lwf": ["-10.0 ± 0.0", "0/4"],
        "(joint)": ["+67.5 ± 2.4", "4/4"],
    }
    assert paired_table(compared("had")) is None  # Delta_m says it already


def test_settings_are_ranked_by_what_they_are_worth():
    report = made_up_sweep()
    table = trials_table(report.sweep.result)
    assert [row.name for row in table.rows] == ["t0004", "t0003", "t0002", "t0001", "t0000"]
    assert [c.text for c in table.rows[0].cells[:3]] == ["8", "0.4", "+4.0"]
    assert trials_table(made_up_sweep(0).sweep.result) is None


def test_wide_tables_come_in_parts_that_keep_tasks_together():
    table = result_table(compared("lwf", "had"))
    found = list(parts(table, most=7))
    assert [part.caption for part in found] == [
        "Summary",
        "After the last stage: depth, normal",
        "After the last stage: semantic",
    ]
    assert [c for part in found for c in part.columns] == list(table.columns)
