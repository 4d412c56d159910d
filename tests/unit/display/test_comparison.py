"""Statistics over orders and seeds, and their tables, on numbers that can be worked out by hand."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from had_core.data.rooms import TASKS
from had_core.tasks import Direction
from orchestrator.display.compare_tables import compare_tables
from orchestrator.display.comparison import CompareResult, Paired, best, between
from orchestrator.display.results import RunResult, SequenceResult, StageFailure, metrics_of
from orchestrator.display.summary import Spread, summarise

AB, BA = ("semantic", "depth"), ("depth", "semantic")
METRICS = metrics_of(TASKS[:2])


def row(value: float | None, tasks: Sequence[str]) -> dict[str, dict[str, float | None]]:
    return {task: {m.name: value for m in METRICS[task]} for task in tasks}


def lifelong(
    method: str,
    order: tuple[str, ...] = AB,
    seed: int = 0,
    value: float | None = 0.5,
    delta: float | None = None,
    **numbers: float | None,
) -> SequenceResult:
    rows = (row(0.9, order[:1]), row(value, order))
    return SequenceResult(method, order, seed, rows, delta_m_pct=delta, **numbers)


def unfinished(method: str, order: tuple[str, ...] = AB, seed: int = 0) -> SequenceResult:
    return SequenceResult(method, order, seed, (row(0.9, order[:1]), {}), forgetting=0.99)


def joint(value: float = 0.9, order: tuple[str, ...] = AB, seed: int = 0) -> SequenceResult:
    return SequenceResult("joint", order, seed, ({}, row(value, order)), delta_m_pct=99.0)


def single(order: tuple[str, ...] = AB) -> SequenceResult:
    return SequenceResult("single", order, 0, tuple(row(0.8, (task,)) for task in order))


def compared(*sequences: SequenceResult, reference: str | None = "naive") -> CompareResult:
    return CompareResult(RunResult("cmp", "rooms", METRICS, sequences, "/s", reference=reference))


def text(result: CompareResult, width: int = 200) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(compare_tables(result))
    return out.getvalue()


def bold(result: CompareResult) -> str:
    """Everything that is printed bold in the body of a table."""
    console = Console(width=200, force_terminal=True, color_system="standard", file=io.StringIO())
    segments = console.render(compare_tables(result))
    return " ".join(s.text for s in segments if s.style and s.style.bold and "±" in s.text)


def test_what_is_a_lifelong_method() -> None:
    assert lifelong("had").is_lifelong
    assert unfinished("had").is_lifelong
    assert SequenceResult("had", AB, 0, ({}, {})).is_lifelong  # nothing is known yet
    assert not joint().is_lifelong
    assert not single().is_lifelong


def test_orders_and_seeds_are_told_apart() -> None:
    """Deltas 0, 2 in one order and 10, 14 in the other: means 1 and 12."""
    deltas = {(AB, 0): 0.0, (AB, 1): 2.0, (BA, 0): 10.0, (BA, 1): 14.0}
    result = compared(*(lifelong("had", o, s, delta=d) for (o, s), d in deltas.items()))
    (had,) = result.methods
    assert had.delta_m_pct == Spread(6.5, pytest.approx(6.608075), 4)
    assert [(o.order, o.delta_m_pct) for o in had.orders] == [
        (AB, Spread(1.0, pytest.approx(2**0.5), 2)),
        (BA, Spread(12.0, pytest.approx(8**0.5), 2)),
    ]
    assert had.over_orders == pytest.approx(11 / 2**0.5)
    assert had.over_seeds == pytest.approx(5**0.5)  # root of the mean of 2 and 8


def test_a_single_order_or_seed_has_no_deviation() -> None:
    (had,) = compared(lifelong("had", delta=1.0)).methods
    assert (had.over_orders, had.over_seeds) == (None, None)
    assert had.delta_m_pct == Spread(1.0, None, 1)


def test_only_complete_sequences_count_and_nobody_hides_that() -> None:
    """The forgetting of a sequence that stopped half way is not that of its last stage."""
    result = compared(
        lifelong("naive", value=0.2, forgetting=0.5),
        lifelong("naive", seed=1, value=0.4, forgetting=0.5),
        lifelong("had", value=0.9, delta=50.0, forgetting=0.1),
        unfinished("had", seed=1),
    )
    naive, had = result.methods
    assert (had.sequences, had.complete) == (2, 1)
    assert had.forgetting == Spread(0.1, None, 1)
    assert had.final["semantic"]["miou"] == Spread(0.9, None, 1)
    miou = {s.method: s.final["semantic"]["miou"] for s in (naive, had)}
    assert best(miou, (naive, had), Direction.UP) is None, "had's mean is over other seeds"
    shown = text(result)
    assert "had: 1 of 2 sequences are complete; its means are over those alone" in shown
    assert "in which every method has finished: 0 of 2" in shown
    assert "0.900" not in bold(result)


def test_bounds_are_never_best() -> None:
    result = compared(
        *(lifelong("naive", order, value=0.2) for order in (AB, BA)),
        *(lifelong("had", order, value=0.4, delta=30.0) for order in (AB, BA)),
        *(joint(order=order) for order in (AB, BA)),
    )
    assert "0.400" in bold(result)
    assert "0.900" not in bold(result)
    shown = text(result)
    assert "(joint)" in shown
    assert "bounds" in shown


def test_lower_is_better_for_errors() -> None:
    result = compared(
        *(lifelong("naive", seed=seed, value=0.2) for seed in (0, 1)),
        *(lifelong("had", seed=seed, value=0.4, delta=1.0) for seed in (0, 1)),
    )
    names = result.methods
    errors = {s.method: s.final["depth"]["abs_err"] for s in names}
    assert best(errors, names, Direction.DOWN) == "naive"
    assert best(errors, names, Direction.UP) == "had"
    assert best({s.method: None for s in names}, names, Direction.UP) is None


def test_means_that_read_alike_are_both_bold() -> None:
    result = compared(
        *(lifelong("a", seed=s, value=0.41001 + s / 100) for s in (0, 1)),
        *(lifelong("b", seed=s, value=0.41002 + s / 100) for s in (0, 1)),
        *(lifelong("c", seed=s, value=0.1 + s / 100) for s in (0, 1)),
        reference=None,
    )
    shown = bold(result)
    assert shown.count("0.415 ± 0.007") == 4  # both metrics of semantic, a and b
    assert shown.count("0.105 ± 0.007") == 2  # depth, where less is better


def test_pairs_are_of_the_same_order_and_seed() -> None:
    result = compared(
        *(lifelong("naive", order) for order in (AB, BA)),
        lifelong("lwf", AB, delta=1.0),
        lifelong("lwf", BA, delta=20.0),
        lifelong("had", AB, delta=4.0),
        lifelong("had", BA, delta=21.0),
        lifelong("had", BA, 7, delta=1000.0),  # nobody else has this seed
    )
    pairs = result.paired
    assert between(pairs, "had", "lwf") == Paired(
        "had", "lwf", 2.0, pytest.approx(2**0.5), 2, 2, 0, 0
    )
    assert between(pairs, "lwf", "had") == Paired(
        "lwf", "had", -2.0, pytest.approx(2**0.5), 2, 0, 0, 2
    )
    against_naive = between(pairs, "had", "naive")
    assert against_naive is not None
    assert (against_naive.mean, against_naive.won, against_naive.count) == (12.5, 2, 2)
    assert between(pairs, "had", "joint") is None


def test_without_a_reference_there_is_no_delta_and_no_pair() -> None:
    result = compared(lifelong("lwf"), lifelong("had", value=0.6), reference=None)
    assert result.paired == ()
    shown = text(result)
    assert "Δm" not in shown
    assert "0.600" in shown


def test_the_best_may_be_the_reference() -> None:
    result = compared(
        *(lifelong("naive", order) for order in (AB, BA)),
        *(lifelong("had", order, delta=-3.0) for order in (AB, BA)),
    )
    shown = text(result)
    assert "naive's" in shown
    assert "-3.0" not in bold(result)


def test_an_undefined_value_is_a_dash_and_its_absence_is_counted() -> None:
    result = compared(
        lifelong("naive", AB),
        lifelong("naive", BA),
        lifelong("had", AB, value=None, delta=2.0, undefined=("depth/abs_err",)),
        lifelong("had", BA, value=0.7, delta=4.0),
    )
    shown = text(result)
    assert "0.700 (n=1)" in shown
    assert "leaves out what is not defined: had depth/abs_err" in shown
    nothing = compared(lifelong("naive", value=None), lifelong("had", value=None))
    assert nothing.methods[1].final["depth"]["abs_err"] is None
    assert " - " in text(nothing)


def test_nothing_is_cut_off_whatever_the_width() -> None:
    tasks = [task.name for task in TASKS]
    metrics = metrics_of(TASKS)
    rows = tuple(
        {t: {m.name: 123.456 for m in metrics[t]} for t in tasks[: i + 1]}
        for i in range(len(tasks))
    )
    orders = list(itertools.permutations(tasks))[:6]
    sequences = tuple(
        SequenceResult(method, order, seed, rows, delta_m_pct=11.1 * seed)
        for method in ("naive", "had")
        for order in orders
        for seed in (0, 1)
    )
    result = CompareResult(RunResult("c", "r", metrics, sequences, "/s", reference="naive"))
    for width in (60, 80, 120, 300):
        shown = text(result, width)
        assert "…" not in shown
        titles = shown.count("abs_err m ↓") + shown.count("abs_err ↓")
        assert titles == 2, "depth and reshading, once each"
        assert max(map(len, shown.splitlines())) <= width


def test_failures_are_told() -> None:
    run = RunResult(
        "c",
        "r",
        METRICS,
        (lifelong("naive"), unfinished("had")),
        "/s",
        failures=(StageFailure("b" * 64, "had", ("depth",), "not finite"),),
    )
    assert "failed  bbbbbbbbbbbb (had: depth): not finite" in text(CompareResult(run))


def test_json_is_what_the_tables_say() -> None:
    result = compared(
        lifelong("naive"), lifelong("naive", BA), *(lifelong("had", o, delta=3.0) for o in (AB, BA))
    )
    shown = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert shown["reference"] == "naive"
    assert len(shown["sequences"]) == 4
    naive, had = shown["methods"]
    assert (naive["method"], had["method"]) == ("naive", "had")
    assert had["delta_m_pct"] == {"mean": 3, "std": 0, "count": 2}
    assert had["orders"][1]["order"] == list(BA)
    assert shown["paired"] == [
        {
            "method": "had",
            "against": "naive",
            "mean": 3,
            "std": 0,
            "count": 2,
            "won": 2,
            "tied": 0,
            "lost": 0,
        }
    ]
    assert shown["results"] is None


deltas = st.none() | st.floats(-1e3, 1e3).map(lambda value: round(value, 3))


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from([AB, BA]), st.integers(0, 2)),
        deltas,
    )
)
def test_pairs_agree_with_the_sequences(
    values: dict[tuple[str, tuple[str, ...], int], float | None],
) -> None:
    sequences = [lifelong(m, o, s, delta=d) for (m, o, s), d in values.items()]
    result = compared(*sequences, reference="naive")
    found = {(pair.method, pair.against) for pair in result.paired}
    methods = [summary.method for summary in result.methods]
    for against, method in itertools.combinations(methods, 2):
        gaps = [
            values[method, o, s] - values[against, o, s]  # type: ignore[operator]
            for o in (AB, BA)
            for s in range(3)
            if values.get((method, o, s)) is not None and values.get((against, o, s)) is not None
        ]
        pair = between(result.paired, method, against)
        assert ((method, against) in found) == bool(gaps)
        if pair is not None:
            assert pair.count == len(gaps) == pair.won + pair.tied + pair.lost
            assert pair.mean == pytest.approx(sum(gaps) / len(gaps), abs=1e-6)
            assert pair.won == sum(gap > 0 for gap in gaps)


@given(st.lists(st.tuples(st.sampled_from([AB, BA]), st.integers(0, 3), deltas), unique_by=str))
def test_a_summary_loses_no_value(values: list[tuple[tuple[str, ...], int, float | None]]) -> None:
    sequences = tuple(lifelong("had", o, s, delta=d) for o, s, d in values)
    run = RunResult("c", "r", METRICS, sequences, "/s", reference="naive")
    known = [d for _, _, d in values if d is not None]
    for summary in summarise(run):
        assert summary.sequences == summary.complete == len(values)
        assert (summary.delta_m_pct is None) == (not known)
        if summary.delta_m_pct is not None:
            assert summary.delta_m_pct.count == len(known)
            by_order = [o.delta_m_pct.count for o in summary.orders if o.delta_m_pct]
            assert sum(by_order) == len(known)
