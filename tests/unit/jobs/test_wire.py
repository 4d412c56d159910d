"""What a display is told in a job is what a display is told where someone follows."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

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
from orchestrator.jobs.wire import MARK, Call, Result, WireDisplay, decode_line, encode, play

KEY = "a" * 64
WORK = StageWork(KEY, None, run="try", order=("depth", "normal"), position=1, tasks=("depth",))
PROGRESS = StageProgress(
    KEY, "lane-0", 1, 1, ("depth",), "had", ("depth",), 1, 3, 0, 5, {"new/depth": 0.5}, 12.5
)
EVENTS = [
    StageLeased(Lease(KEY, "lane-0", 1), WORK),
    PROGRESS,
    LaneFault("lane-0", None, "worker 1: gone"),
    Outcome(KEY, Status.SEALED, trained=True, steps_run=4, seconds=1.5, attempts=1, work=WORK),
    Outcome(KEY, Status.FAILED, failure=Failure(FailureKind.NON_FINITE, "NaN", epoch=1, step=2)),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_events_come_back_equal(event):
    assert decode_line(encode(Call("event", (event,)))) == Call("event", (event,))


def test_any_call_of_plain_values_comes_back():
    more = [1.5, None, True, {"a": Status.SEALED, Status.FAILED: (1, float("inf"))}]
    call = Call("begin", ("try",), {"to_train": 2, "more": more})
    assert decode_line(encode(call)) == call


def test_what_a_sweep_is_told_comes_back():
    from orchestrator.display.sweep_progress import BestTrial, StageCounts, SweepStart
    from orchestrator.search.events import TrialEnd, TrialEnded, TrialScored, TrialStarted
    from orchestrator.search.objective import OrderScore

    best = BestTrial("t0001", {"method.lambda": 3.0}, (1.5,))
    calls = [
        Call("begin_sweep", (SweepStart("s", 4, 6, ended={TrialEnd.PRUNED: 1}, best=best),)),
        Call("trial", (TrialStarted(1, "t0001", {"method.lambda": 3.0, "k": 2}),)),
        Call("trial", (TrialScored("t0001", 1, 0.5, (OrderScore(0.5, 0.25),)),)),
        Call("trial", (TrialEnded("t0001", 1, TrialEnd.COMPLETE, (0.5,)),)),
        Call("count", (StageCounts(5, 2, 1),)),
    ]
    assert [decode_line(encode(call)) for call in calls] == calls


def test_text_is_text_and_a_result_is_a_result():
    assert decode_line("had: no") == "had: no"
    assert decode_line(encode(Result({"name": "try", "x": None}))) == Result(
        {"name": "try", "x": None}
    )


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "[]",
        '{"call": "_hidden"}',
        '{"call": "event", "args": [{"$type": "os:system", "value": "true"}]}',
        '{"call": "event", "args": [{"$type": "orchestrator.jobs.wire:decode_line", "value": {}}]}',
        '{"call": "event", "args": [{"$type": "orchestrator.nowhere:X", "value": {}}]}',
        '{"call": "event", "args": [{"$type": "orchestrator.execution.messages:Lease"}]}',
        '{"call": "x", "args": [{"$type": "orchestrator.execution.messages:Status", "value": 1}]}',
        '{"call": "x", "args": [{}]}',
    ],
)
def test_a_line_that_nobody_understands_is_left_out(body):
    assert decode_line(MARK + body) is None


class Recorder:
    def __init__(self) -> None:
        self.calls: list[Any] = []

    def begin(self, name: str, *, to_train: int) -> None:
        self.calls.append((name, to_train))


def test_a_method_that_a_display_lacks_is_left_out():
    display = Recorder()
    play(Call("begin", ("try",), {"to_train": 2}), display)
    play(Call("trial", (1,)), display)
    assert display.calls == [("try", 2)]


def lines(out: io.StringIO) -> list[Any]:
    return [decode_line(line) for line in out.getvalue().splitlines()]


def test_a_wire_display_writes_every_call_as_one_line():
    out = io.StringIO()
    display = WireDisplay(out)
    with display:
        display.begin("try", to_train=1, cached=0)
        display.note("first\nsecond")
        display.event(EVENTS[3])
        display.anything_else(7)
    display.result({"name": "try"})
    assert lines(out) == [
        Call("begin", ("try",), {"to_train": 1, "cached": 0}),
        "first second",
        Call("event", (EVENTS[3],)),
        Call("anything_else", (7,)),
        Result({"name": "try"}),
    ]


def test_what_no_line_can_hold_costs_nothing_but_the_line():
    out = io.StringIO()
    display = WireDisplay(out)
    display.event(object())
    display.note("still there")
    assert lines(out) == ["still there"]


def test_a_call_that_changes_nothing_is_written_once():
    out = io.StringIO()
    display = WireDisplay(out)
    for number in (1, 1, 2, 1):
        display.count(number)
        display.begin("try")
    assert [c.args[0] for c in lines(out)] == [1, "try", 2, 1]


def test_progress_is_thinned_out():
    from dataclasses import replace

    out, now = io.StringIO(), [0.0]
    display = WireDisplay(out, clock=lambda: now[0])
    for step, epoch, at in [(1, 1, 0.0), (2, 1, 0.5), (3, 1, 2.1), (1, 2, 2.2), (2, 2, 2.3)]:
        now[0] = at
        display.event(replace(PROGRESS, step=step, epoch=epoch))
    display.event(replace(PROGRESS, step=3, epoch=2, terms={"new/depth": 0.25}))
    display.event(replace(PROGRESS, lane="lane-1"))
    seen = [(c.args[0].lane[-1], c.args[0].epoch, c.args[0].step) for c in lines(out)]
    assert seen == [("0", 1, 1), ("0", 1, 3), ("0", 2, 1), ("0", 2, 3), ("1", 1, 0)]


def test_a_line_is_json_after_its_mark():
    body = encode(Call("event", (PROGRESS,))).removeprefix(MARK)
    assert json.loads(body)["args"][0]["$type"].endswith(":StageProgress")
    assert "\n" not in body
