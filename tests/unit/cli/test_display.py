"""Progress, tables and displays from made-up events."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from had_core.data.rooms import TASKS
from orchestrator.display.live import LineDisplay, SilentDisplay, live_view, make_display
from orchestrator.display.numbers import duration
from orchestrator.display.progress import RunProgress
from orchestrator.display.results import RunResult, SequenceResult, StageResult, metrics_of
from orchestrator.display.summary import Spread, summarise
from orchestrator.display.tables import run_tables
from orchestrator.execution.messages import (
    Event,
    Failure,
    FailureKind,
    LaneFault,
    Lease,
    Outcome,
    StageLeased,
    StageProgress,
    StageWork,
    Status,
)

ORDER = ("semantic", "depth")
METRICS = metrics_of(TASKS[:2])


def leased(key: str = "k", attempt: int = 1) -> StageLeased:
    work = StageWork(key, None, method="had", order=ORDER, position=1, tasks=("depth",))
    return StageLeased(Lease(key, "lane-0", attempt), work)


def progress(epoch: int, step: int, key: str = "k", **terms: float) -> StageProgress:
    return StageProgress(
        key, "lane-0", 1, 1, ("depth",), "had", ORDER, epoch, 4, step, 10, terms, 32.0
    )


def after(*events: tuple[Event, float], to_train: int = 2) -> RunProgress:
    state = RunProgress("run", to_train, 1, 0.0)
    for event, now in events:
        state = state.after(event, now)
    return state


def text(renderable: object) -> str:
    out = io.StringIO()
    Console(file=out, width=120).print(renderable)
    return out.getvalue()


def test_time_left_of_a_stage_is_at_its_own_pace() -> None:
    state = after((leased(), 0.0), (progress(1, 1), 100.0), (progress(2, 1), 110.0))
    stage = state.active["k"]
    assert stage.fraction == 11 / 40
    assert stage.seconds_left(110.0) == pytest.approx(
        29.0
    )  # 29 steps of 1 s; the start is left out


def test_a_continued_stage_is_measured_from_where_it_began() -> None:
    state = after((leased(), 0.0), (progress(3, 1), 10.0), (progress(3, 6), 20.0))
    assert state.active["k"].seconds_left(20.0) == pytest.approx(2.0 * 14)


def test_time_left_is_unknown_before_there_is_a_pace() -> None:
    state = after((leased(), 0.0))
    assert state.active["k"].seconds_left(5.0) is None
    assert state.seconds_left(5.0) is None
    assert after((progress(0, 0), 1.0)).active["k"].fraction == 0.0


def test_time_left_of_the_run_counts_what_is_left() -> None:
    done = Outcome("a", Status.SEALED, trained=True, seconds=8.0)
    assert after((done, 8.0), to_train=4).seconds_left(8.0) == pytest.approx(24.0)
    assert after((done, 8.0), to_train=1).seconds_left(8.0) == 0.0


@pytest.mark.parametrize(
    ("outcome", "trained", "failed", "cached", "to_train"),
    [
        (Outcome("k", Status.SEALED, trained=True), 1, 0, 1, 2),
        (Outcome("k", Status.SEALED, trained=False), 0, 0, 2, 1),
        (Outcome("k", Status.FAILED), 0, 1, 1, 2),
        (Outcome("k", Status.CANCELLED), 0, 0, 1, 2),
        (Outcome("k", Status.PARENT_MISSING), 0, 0, 1, 2),
    ],
)
def test_how_stages_end(
    outcome: Outcome, trained: int, failed: int, cached: int, to_train: int
) -> None:
    state = after((leased(), 0.0), (outcome, 1.0))
    counts = (state.trained, state.failed, state.cached, state.to_train)
    assert counts == (trained, failed, cached, to_train)
    assert not state.active


def test_a_broken_lane_frees_its_stage() -> None:
    assert not after((leased(), 0.0), (LaneFault("lane-0", "k", "gone"), 1.0)).active
    assert after((leased(), 0.0), (LaneFault("lane-0", None, "gone"), 1.0)).active


def test_live_view() -> None:
    state = after((leased(), 0.0), (progress(1, 1), 1.0), (progress(2, 1, new=0.5), 11.0))
    shown = text(live_view(state, 11.0))
    for part in ("0 of 2 stages trained, 1 cached", "epoch 2/4", "32.0 images/s", "new 0.5"):
        assert part in shown
    assert "semantic → depth" in shown
    assert "about 29.0 s left" in shown
    assert text(live_view(after((leased(), 0.0)), 1.0)).count("starting") == 1


def test_live_view_between_stages() -> None:
    assert "starting workers" in text(live_view(after(to_train=1), 1.0))
    done = Outcome("k", Status.SEALED, trained=True, seconds=1.0)
    shown = text(live_view(after((leased(), 0.0), (done, 1.0), to_train=1), 1.0))
    assert "finishing" in shown
    assert "left" not in shown
    assert "run" not in text(live_view(RunProgress("", 0, 0, 0.0), 1.0))


def test_line_display() -> None:
    out = io.StringIO()
    clock = iter(float(i) for i in range(99))
    display = LineDisplay(Console(file=out, width=40), lambda: next(clock))
    failed = Failure(FailureKind.NON_FINITE, "loss term 'new' is not finite")
    events: list[Event] = [
        leased(attempt=2),
        progress(1, 10),
        progress(1, 10, new=0.5),
        progress(2, 1, new=0.5),
        progress(2, 2, new=0.5),
        LaneFault("lane-0", None, "a worker died"),
        Outcome("k", Status.SEALED, trained=True, seconds=90.0),
        Outcome("other", Status.FAILED, failure=failed),
    ]
    with display:
        display.begin("run", to_train=2, cached=1)
        for event in events:
            display.event(event)
    lines = out.getvalue().splitlines()
    assert lines[0] == "run: 2 stages to train, 1 cached"
    assert lines[1] == "had depth after semantic: starts, attempt 2"
    assert lines[2].startswith("had depth after semantic: epoch 1/4  new 0.5  32.0 images/s")
    assert lines[3] == "lane lane-0 starts again: a worker died"
    assert lines[4] == "had depth after semantic: trained in 1:30 min (1 of 2)"
    assert lines[5] == "other: failed: loss term 'new' is not finite"
    assert len(lines) == 6


def test_an_epoch_that_ended_between_two_reports_is_told_by_its_own_number() -> None:
    out = io.StringIO()
    display = LineDisplay(Console(file=out, width=40), lambda: 0.0)
    display.begin("run", to_train=1, cached=0)
    for event in (leased("k"), progress(1, 9), progress(1, 10, new=0.7), progress(2, 10, new=0.5)):
        display.event(event)
    lines = [line for line in out.getvalue().splitlines() if ": epoch" in line]
    shown = [line.split(": ")[1].split("  ")[:2] for line in lines]
    assert shown == [["epoch 1/4", "new 0.7"], ["epoch 2/4", "new 0.5"]]


def test_the_display_fits_where_the_output_goes() -> None:
    pipe = Console(file=io.StringIO())
    terminal = Console(file=io.StringIO(), force_terminal=True)
    assert type(make_display(pipe, silent=True)) is SilentDisplay
    assert type(make_display(pipe, silent=False)) is LineDisplay
    live = make_display(terminal, silent=False)
    with live:
        live.begin("run", to_train=1, cached=0)
        live.event(leased())
        live.note("hello")
        live.event(Outcome("k", Status.SEALED, trained=True, seconds=1.0))
    assert isinstance(terminal.file, io.StringIO)
    shown = terminal.file.getvalue()
    assert "hello" in shown
    assert "trained in 1.0 s (1 of 1)" in shown


def row(value: float, tasks: tuple[str, ...] = ORDER) -> dict[str, dict[str, float | None]]:
    return {task: {m.name: value for m in METRICS[task]} for task in tasks}


def result(*sequences: SequenceResult) -> RunResult:
    return RunResult("run", "rooms", METRICS, sequences, "/store", reference="naive")


def test_summary_over_orders_and_seeds() -> None:
    sequences = [
        SequenceResult("had", ORDER, s, (row(9.0, ("semantic",)), row(v)), (), delta_m_pct=d)
        for s, v, d in ((0, 0.25, 10.0), (1, 0.75, 20.0))
    ]
    naive = SequenceResult("naive", ORDER, 0, (row(9.0, ("semantic",)), row(0.5)))
    summaries = summarise(result(*sequences, naive))
    assert [s.method for s in summaries] == ["naive", "had"]
    had = summaries[1]
    assert had.sequences == 2
    assert had.final["depth"]["abs_err"] == Spread(0.5, pytest.approx(0.3535533905932738), 2)
    assert had.delta_m_pct == Spread(15.0, pytest.approx(7.0710678118654755), 2)
    assert had.forgetting is None
    assert summaries[0].final["semantic"]["miou"] == Spread(0.5, None, 1)


def test_single_has_each_task_in_one_row_and_joint_has_one_row() -> None:
    single = SequenceResult("single", ORDER, 0, (row(0.3, ("semantic",)), row(0.4, ("depth",))))
    joint = SequenceResult(
        "joint", ORDER, 0, ({}, row(0.6)), (StageResult("a" * 64, ("depth", "semantic"), 2, False),)
    )
    by_method = {s.method: s for s in summarise(result(single, joint))}
    assert by_method["single"].final["semantic"]["miou"] == Spread(0.3, None, 1)
    assert by_method["joint"].final["depth"]["abs_err"] == Spread(0.6, None, 1)
    shown = text(run_tables(result(joint)))
    assert "2 depth, semantic" in shown
    assert "\n  1 " not in shown


def test_what_is_not_defined_is_a_dash() -> None:
    sequence = SequenceResult("had", ("depth",), 0, ({"depth": {"abs_err": None}},))
    assert " - " in text(run_tables(result(sequence)))


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(9.44, "9.4 s"), (59.94, "59.9 s"), (127, "2:07 min"), (3723, "1:02:03 h"), (60, "1:00 min")],
)
def test_duration(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown
