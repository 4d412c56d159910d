"""How a sweep stands does not depend on when one looked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.tracking.events import (
    Direction,
    End,
    Event,
    TrialFinished,
    TrialStarted,
    TrialState,
)
from orchestrator.tracking.standing import Standing, Standings
from orchestrator.tracking.trial_view import TrialView

ONE = {"mean": Direction.MAXIMIZE}
TWO = {"final": Direction.MAXIMIZE, "forgetting": Direction.MINIMIZE}
STATES = st.sampled_from([*TrialState, None])
VALUES = st.tuples(st.integers(0, 4), st.integers(0, 4))


def _trial(number: int, state: TrialState | None, values: tuple[float, float]) -> TrialView:
    at, label = 10.0 * number, f"t{number:04d}"
    started = TrialStarted(time=at, run="r", trial=label, number=number, params={"x": 1.0})
    events: list[Event] = [started]
    if state is not None:
        known = {"mean": values[0], "final": values[0], "forgetting": values[1]}
        events.append(
            TrialFinished(
                time=at + 25, run="r", trial=label, end=End.FINISHED, state=state, values=known
            )
        )
    return TrialView.of(label, events, at, ())


def _at_once(trials: list[TrialView], objectives: dict[str, Direction]) -> Standing:
    standings = Standings()
    for trial in trials:
        standings.put(trial)
    return standings.look(objectives)


@given(
    st.lists(st.tuples(STATES, VALUES), max_size=8),
    st.sampled_from([ONE, TWO]),
    st.data(),
)
def test_looking_on_the_way_changes_nothing(
    outcomes: list[tuple[TrialState | None, tuple[int, int]]],
    objectives: dict[str, Direction],
    data: st.DataObject,
) -> None:
    final = [_trial(n, state, values) for n, (state, values) in enumerate(outcomes)]
    begun = [_trial(n, None, (0, 0)) for n in range(len(outcomes))]
    order = data.draw(st.permutations(range(len(outcomes))))
    standings = Standings()
    for number in order:
        standings.put(begun[number])
        standings.look(objectives)
    for number in reversed(order):
        standings.put(final[number])
        if number % 2:
            standings.look(objectives)
    assert standings.look(objectives) == _at_once(final, objectives)


@given(st.lists(VALUES, min_size=1, max_size=8))
def test_the_front_is_what_no_other_trial_reaches(values: list[tuple[int, int]]) -> None:
    trials = [_trial(n, TrialState.COMPLETE, each) for n, each in enumerate(values)]

    def beaten(n: int) -> bool:
        mine = values[n]
        return any(
            a >= mine[0] and b <= mine[1] and ((a, b) != mine or m < n)
            for m, (a, b) in enumerate(values)
            if m != n
        )

    wanted = [trial for n, trial in enumerate(trials) if not beaten(n)]
    assert list(_at_once(trials, TWO).best) == wanted
    best = max(values, key=lambda each: each[0])
    first = next(n for n, each in enumerate(values) if each[0] == best[0])
    assert _at_once(trials, ONE).best == (trials[first],)


def test_the_best_so_far_waits_for_all_before() -> None:
    done = [_trial(n, TrialState.COMPLETE, (n, 0)) for n in range(3)]
    begun = _trial(1, None, (0, 0))
    curve = [p.step for p in _at_once([done[0], begun, done[2]], ONE).points if "best" in p.key]
    assert curve == [0]
    points = [p for p in _at_once(done, ONE).points if "best" in p.key]
    assert [(p.step, p.value, p.time_ms) for p in points] == [
        (0, 0, 25_000),
        (1, 1, 35_000),
        (2, 2, 45_000),
    ]


def test_a_look_costs_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """No timing: trials that are over are taken in once."""
    taken: list[int] = []
    add = Standing.add

    def counted(self: Standing, trial: TrialView, *, all_over: bool) -> None:
        taken.append(trial.number)
        add(self, trial, all_over=all_over)

    monkeypatch.setattr(Standing, "add", counted)
    standings = Standings()
    for number in range(50):
        standings.put(_trial(number, None, (0, 0)))
        standings.put(_trial(number, TrialState.COMPLETE, (number, 0)))
        standings.look(ONE)
    assert taken == list(range(50))
