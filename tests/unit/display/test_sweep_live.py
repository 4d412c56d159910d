"""A sweep while it runs: the fold of its events, the live area, the lines of a log."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from orchestrator.display.sweep_live import (
    LineSweepDisplay,
    LiveSweepDisplay,
    SilentSweepDisplay,
    make_sweep_display,
    sweep_view,
)
from orchestrator.display.sweep_progress import (
    BestTrial,
    StageCounts,
    SweepProgress,
    SweepStart,
)
from orchestrator.execution.messages import (
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
from orchestrator.search.events import TrialEnd, TrialEnded, TrialEvent, TrialScored, TrialStarted
from orchestrator.search.settings import Objective

ORDER = ("semantic", "depth")
START = SweepStart("sw", trials=4, orders=2)


def started(number: int, **params: float) -> TrialStarted:
    return TrialStarted(number, f"t{number:04d}", params or {"method.lambda": 3.0})


def scored(number: int, done: int, value: float) -> TrialScored:
    return TrialScored(f"t{number:04d}", done, value, ())


def ended(number: int, state: TrialEnd, *values: float, message: str = "") -> TrialEnded:
    return TrialEnded(f"t{number:04d}", number, state, values, message)


def after(*events: TrialEvent, start: SweepStart = START) -> SweepProgress:
    state = SweepProgress.of(start, 0.0)
    for event in events:
        state = state.heard(event)
    return state


def leased(key: str, lane: str = "lane-0") -> StageLeased:
    work = StageWork(key, None, method="had", order=ORDER, position=2, tasks=("depth",))
    return StageLeased(Lease(key, lane, 1), work)


def progress(key: str, pace: float) -> StageProgress:
    return StageProgress(
        key, "lane-0", 1, 2, ("depth",), "had", ORDER, 2, 4, 5, 10, {"new/depth": 0.5}, pace
    )


def text(state: SweepProgress, now: float, width: int = 120) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(sweep_view(state, now))
    return out.getvalue()


def test_trials_are_counted_by_how_they_end() -> None:
    state = after(
        *(started(number) for number in range(4)),
        ended(0, TrialEnd.COMPLETE, 5.0),
        ended(1, TrialEnd.PRUNED, 1.0),
        ended(2, TrialEnd.FAILED, message="gone"),
        ended(3, TrialEnd.INTERRUPTED),
    )
    assert (state.judged, dict(state.running)) == (3, {})
    assert state.ended == dict.fromkeys(TrialEnd, 1)


def test_the_best_is_a_complete_one_and_knows_its_setting() -> None:
    state = after(
        started(0, x=1.0),
        ended(0, TrialEnd.COMPLETE, 5.0),
        started(1, x=2.0),
        ended(1, TrialEnd.PRUNED, 99.0),
        started(2, x=3.0),
        ended(2, TrialEnd.COMPLETE, 7.0, 0.1),
        started(3, x=4.0),
        ended(3, TrialEnd.COMPLETE, 6.0),
    )
    assert state.best == BestTrial("t0002", {"x": 3.0}, (7.0, 0.1))
    kept = BestTrial("t0000", {}, (8.0,))
    assert (
        after(ended(1, TrialEnd.COMPLETE, 7.0), start=SweepStart("sw", 4, 2, best=kept)).best
        == kept
    )


def test_a_trial_that_was_heard_of_late_is_shown_all_the_same() -> None:
    state = after(scored(3, 1, 2.5))
    assert state.running["t0003"].value == 2.5
    assert "t0003" in text(state, 1.0)


def test_time_left_goes_by_the_orders_of_this_command() -> None:
    state = after(started(0), started(1))
    assert state.seconds_left(10.0) is None
    one = state.heard(scored(0, 1, 1.0))
    assert one.seconds_left(10.0) == pytest.approx(70.0)  # 1 of 8 orders in 10 s
    two = one.heard(scored(0, 2, 1.0)).heard(ended(0, TrialEnd.COMPLETE, 1.0))
    assert two.seconds_left(10.0) == pytest.approx(30.0)  # 2 of 8
    pruned = two.heard(ended(1, TrialEnd.PRUNED, 0.0))
    assert pruned.seconds_left(10.0) == pytest.approx(10.0)  # as good as 4 of 8
    again = after(
        started(2),
        scored(2, 1, 1.0),
        start=SweepStart("sw", 4, 2, ended={TrialEnd.COMPLETE: 2, TrialEnd.INTERRUPTED: 1}),
    )
    assert again.judged == 2
    assert again.seconds_left(10.0) == pytest.approx(30.0)  # 1 of the 4 that were left


def test_stages_that_run_do_not_wait() -> None:
    state = after(started(0)).counted(StageCounts(wanted=12, reused=4, open=8))
    assert (state.waiting, state.images_per_s) == (8, 0.0)
    state = state.after(leased("a"), 1.0).after(leased("b", "lane-1"), 1.0)
    state = state.after(progress("a", 30.0), 2.0).after(progress("b", 12.5), 2.0)
    assert (state.waiting, state.images_per_s) == (6, 42.5)
    state = state.after(Outcome("a", Status.SEALED, trained=True, seconds=3.0), 4.0)
    state = state.counted(StageCounts(12, 4, 7))
    assert (state.waiting, state.stages.trained) == (6, 1)


def test_the_live_area_says_it_all() -> None:
    state = after(
        started(0, **{"method.lambda": 3.14159, "method.loss.delta": 0.5}),
        ended(0, TrialEnd.COMPLETE, 12.345),
        started(1),
        ended(1, TrialEnd.PRUNED, 1.0),
        started(2),
        scored(2, 1, -1.5),
    )
    state = state.counted(StageCounts(20, 9, 5)).after(leased("a"), 1.0)
    state = state.after(progress("a", 30.0), 2.0)
    shown = text(state, 60.0)
    for part in (
        "sw  2 of 4 trials, 1 running, 1 pruned  1:00 min  about",
        "best so far  mean Δm +12.3 %  t0000  lambda 3.142  delta 0.5",
        "0 trained, 9 reused, 4 waiting  30.0 images/s",
        "t0002",
        "1/2 orders  mean Δm -1.5 %  lambda 3",
        "epoch 2/4",
    ):
        assert part in shown
    worst = SweepStart("sw", 4, 2, Objective.WORST, best=BestTrial("t0000", {}, (1.0,)))
    assert "worst Δm +1.0 %" in text(after(start=worst), 1.0)


def test_the_live_area_before_and_between_stages() -> None:
    state = after()
    assert "starting workers" in text(state, 1.0)
    assert "none is complete" in text(state, 1.0)
    trained = state.after(Outcome("a", Status.SEALED, trained=True, seconds=3.0), 4.0)
    assert "choosing settings" in text(trained, 5.0)


def test_many_trials_leave_room_for_the_rest() -> None:
    shown = text(after(*(started(number) for number in range(40))), 1.0)
    assert "and 34 more" in shown
    assert len(shown.splitlines()) < 14
    assert max(map(len, text(after(started(0)), 1.0, width=40).splitlines())) <= 40


def lines(display: LineSweepDisplay, out: io.StringIO) -> list[str]:
    failure = Failure(FailureKind.NON_FINITE, "loss term 'db/semantic' is not finite")
    display.event(leased("early"))  # nothing is known yet: no line, no error
    display.trial(started(9))
    display.count(StageCounts(1, 1, 1))
    with display:
        display.note("building rooms")
        display.begin_sweep(SweepStart("sw", 3, 2, ended={TrialEnd.COMPLETE: 1}))
        display.trial(started(1))
        display.event(leased("a"))
        display.event(progress("a", 30.0))
        display.event(Outcome("a", Status.SEALED, trained=True, seconds=3.0))
        display.trial(scored(1, 1, 4.0))
        display.trial(scored(1, 2, 5.0))
        display.trial(ended(1, TrialEnd.COMPLETE, 5.0))
        display.trial(started(2))
        display.trial(scored(2, 1, 3.0))
        display.event(leased("b"))
        display.event(LaneFault("lane-0", None, "killed"))
        display.event(Outcome("b", Status.FAILED, failure=failure))
        display.trial(ended(2, TrialEnd.FAILED, message="depth: not finite"))
        display.trial(ended(3, TrialEnd.PRUNED, 3.0))
        display.trial(ended(4, TrialEnd.INTERRUPTED))
    return out.getvalue().splitlines()


def test_a_log_has_a_line_a_trial_and_a_stage() -> None:
    out = io.StringIO()
    display = LineSweepDisplay(Console(file=out, width=200), clock=lambda: 0.0)
    assert lines(display, out) == [
        "building rooms",
        "sw: 3 trials of 2 orders, 1 judged before",
        "t0001: lambda 3",
        "had depth after semantic: trained in 3.0 s",
        "t0001: complete: mean Δm +5.0 %, the best so far (2 of 3)",
        "t0002: lambda 3",
        "lane lane-0 starts again: killed",
        "had depth after semantic: failed: loss term 'db/semantic' is not finite",
        "t0002: failed: depth: not finite",
        "t0003: pruned after 0 of 2 orders: mean Δm +3.0 % (4 of 3)",
        "t0004: interrupted; it comes again when the sweep goes on",
    ]


def test_the_live_display_keeps_what_ended() -> None:
    out = io.StringIO()
    console = Console(file=out, width=120, force_terminal=True)
    shown = "\n".join(lines(LiveSweepDisplay(console, clock=lambda: 0.0), out))
    for part in ("the best so far", "is not finite", "starts again", "interrupted"):
        assert part in shown


def test_only_notes_beside_json() -> None:
    out = io.StringIO()
    display = make_sweep_display(Console(file=out), silent=True)
    assert type(display) is SilentSweepDisplay
    with display:
        display.begin_sweep(START)
        display.trial(started(0))
        display.event(leased("a"))
        display.count(StageCounts())
        display.note("hello")
    assert out.getvalue() == "hello\n"
    assert type(make_sweep_display(Console(file=out), silent=False)) is LineSweepDisplay


numbers = st.integers(0, 5)
told = st.one_of(
    numbers.map(started),
    st.builds(scored, numbers, st.integers(1, 2), st.floats(-50, 50)),
    st.builds(ended, numbers, st.sampled_from(list(TrialEnd)), st.floats(-50, 50)),
)


@given(st.lists(told, max_size=30), st.integers(1, 100))
def test_any_feed_can_be_shown(events: Sequence[TrialEvent], now: int) -> None:
    """Events may be lost or come twice: a display must never break a sweep."""
    state = after(*events)
    assert state.judged + state.ended.get(TrialEnd.INTERRUPTED, 0) == sum(state.ended.values())
    left = state.seconds_left(float(now))
    assert left is None or left >= 0
    complete = [
        e.values[0] for e in events if isinstance(e, TrialEnded) and e.state is TrialEnd.COMPLETE
    ]
    assert (state.best.values[0] if state.best else None) == max(complete, default=None)
    assert text(state, float(now))
