"""Tune's side of the study, called as Tune calls it; no cluster."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import optuna
import pytest
from optuna.study import Study

from orchestrator.search.events import (
    TrialEnd,
    TrialEnded,
    TrialEvent,
    TrialScored,
    TrialStarted,
    label_of,
)
from orchestrator.search.objective import OrderScore, directions
from orchestrator.search.settings import (
    FloatRange,
    Objective,
    Pruner,
    Sampler,
    SearchConfig,
)
from orchestrator.search.study import INTERRUPTED, MESSAGE, SCORES, pruner
from orchestrator.search.trial import Cancelled, Failed, Heard, Scored, Waiting

OF = 3
SETTINGS = SearchConfig(
    trials=9,
    space={"method.lambda": FloatRange(0.1, 30.0, log=True)},
    sampler=Sampler.RANDOM,
    pruner=Pruner.MEDIAN,
    pruner_startup_trials=1,
)


class Sweep:
    """A search, and what it said."""

    def __init__(self, settings: SearchConfig = SETTINGS) -> None:
        self.study: Study = optuna.create_study(
            directions=list(directions(settings.objective)),
            sampler=optuna.samplers.RandomSampler(settings.seed),
            pruner=pruner(settings),
        )
        self.said: list[TrialEvent] = []
        self.dropped: list[str] = []
        self.may_begin = True
        from orchestrator.search.searcher import StudySearch  # and with it Tune, which takes long

        self.search = StudySearch(
            self.study, settings, self, self.said.append, lambda: self.may_begin
        )

    def drop(self, waiter: str) -> None:
        self.dropped.append(waiter)

    def state(self, number: int) -> str:
        return self.study.trials[number].state.name

    def whole(self, trial: str, *deltas: float) -> None:
        """A trial from its beginning to its end, order by order."""
        self.search.suggest(trial)
        for k in range(1, len(deltas)):
            assert not self.search.heard(trial, scored(*deltas[:k]))
        self.search.on_trial_complete(trial, result(scored(*deltas)))

    def last(self) -> TrialEnded:
        assert isinstance(self.said[-1], TrialEnded)
        return self.said[-1]


def scored(*deltas: float) -> Scored:
    return Scored(tuple(OrderScore(delta, 0.1) for delta in deltas), OF)


def result(heard: Heard) -> dict[str, Any]:
    from orchestrator.search.process import to_text

    return {"had": to_text(heard), "training_iteration": 1}


@pytest.fixture
def sweep() -> Sweep:
    return Sweep()


@pytest.mark.parametrize(
    "heard", [Waiting(), scored(1.0, -0.1234567890123), Failed("m", "t"), Cancelled()]
)
def test_what_a_trial_says_survives_the_way(heard: Heard) -> None:
    from orchestrator.search.process import heard_from

    assert heard_from(result(heard)) == heard
    assert heard_from({}) == Waiting()


def test_a_trial_from_beginning_to_end(sweep: Sweep) -> None:
    asked = sweep.search.suggest("tune-id")
    assert asked["label"] == "t0000" == label_of(0)
    assert asked["params"] == sweep.study.trials[0].params
    assert not sweep.search.heard("tune-id", Waiting())
    assert not sweep.search.heard("tune-id", scored(1.0))
    assert not sweep.search.heard("tune-id", scored(1.0, 3.0))
    sweep.search.on_trial_complete("tune-id", result(scored(1.0, 3.0, 5.0)))
    (trial,) = sweep.study.trials
    assert (trial.state.name, trial.value) == ("COMPLETE", 3.0)
    assert trial.intermediate_values == {1: 1.0, 2: 2.0, 3: 3.0}
    assert trial.user_attrs[SCORES] == [[1.0, 0.1], [3.0, 0.1], [5.0, 0.1]]
    assert sweep.dropped == ["t0000"]
    assert sweep.said == [
        TrialStarted(0, "t0000", asked["params"]),
        TrialScored("t0000", 1, 1.0, scored(1.0).scores),
        TrialScored("t0000", 2, 2.0, scored(1.0, 3.0).scores),
        TrialScored("t0000", 3, 3.0, scored(1.0, 3.0, 5.0).scores),
        TrialEnded("t0000", 0, TrialEnd.COMPLETE, (3.0,)),
    ]


def test_orders_that_are_said_together_count_one_by_one(sweep: Sweep) -> None:
    sweep.whole("good", 5.0, 5.0, 5.0)
    sweep.search.suggest("bad")
    assert sweep.search.heard("bad", scored(1.0, 9.0))
    assert sweep.study.trials[1].intermediate_values == {1: 1.0}


def test_a_pruned_trial_is_told_pruned_and_its_wants_are_dropped(sweep: Sweep) -> None:
    sweep.whole("good", 5.0, 5.0, 5.0)
    sweep.search.suggest("bad")
    assert sweep.search.heard("bad", scored(1.0))
    sweep.search.on_trial_complete("bad", result(scored(1.0)))
    assert sweep.state(1) == "PRUNED"
    assert sweep.dropped == ["t0000", "t0001"]
    assert sweep.last() == TrialEnded("t0001", 1, TrialEnd.PRUNED, (1.0,))


def test_pruning_compares_the_same_number_of_orders(sweep: Sweep) -> None:
    """A trial that is better over the same orders stays, whatever the final value of others is."""
    sweep.whole("other", 1.0, 8.0, 9.0)
    sweep.search.suggest("same")
    assert not sweep.search.heard("same", scored(2.0))
    assert sweep.search.heard("same", scored(2.0, 2.0))


def test_a_whole_trial_is_not_pruned(sweep: Sweep) -> None:
    """Everything was in the store: there is nothing left to save."""
    sweep.whole("good", 5.0, 5.0, 5.0)
    sweep.search.suggest("bad")
    sweep.search.on_trial_complete("bad", result(scored(1.0, 1.0, 1.0)))
    assert sweep.state(1) == "COMPLETE"


def test_a_failed_trial_says_why(sweep: Sweep) -> None:
    sweep.search.suggest("a")
    sweep.search.on_trial_complete("a", result(Failed("stage abc failed: loss is NaN", "Trace")))
    assert sweep.state(0) == "FAIL"
    assert sweep.study.trials[0].user_attrs == {MESSAGE: "stage abc failed: loss is NaN"}
    assert sweep.last().state is TrialEnd.FAILED
    assert sweep.last().message == "stage abc failed: loss is NaN"


def test_a_lost_process_says_why(sweep: Sweep) -> None:
    sweep.search.suggest("a")
    sweep.search.faulted("a", "The actor died unexpectedly")
    sweep.search.on_trial_complete("a", None, error=True)
    assert sweep.state(0) == "FAIL"
    assert "lost: The actor died unexpectedly" in sweep.last().message


def test_a_process_that_began_again_is_not_counted_twice(sweep: Sweep) -> None:
    sweep.search.suggest("a")
    sweep.search.heard("a", scored(1.0, 2.0))
    before = len(sweep.said)
    for k in (0, 1, 2):
        sweep.search.heard("a", scored(*(1.0, 2.0)[:k]))
    assert len(sweep.said) == before
    sweep.search.on_trial_complete("a", result(scored(1.0, 2.0, 3.0)))
    assert sweep.study.trials[0].intermediate_values == {1: 1.0, 2: 1.5, 3: 2.0}


@pytest.mark.parametrize("heard", [Cancelled(), Waiting()])
def test_a_trial_that_nobody_let_end_comes_again(sweep: Sweep, heard: Heard) -> None:
    params = sweep.search.suggest("a")["params"]
    sweep.search.on_trial_complete("a", result(heard))
    assert [trial.state.name for trial in sweep.study.trials] == ["FAIL", "WAITING"]
    assert sweep.study.trials[0].user_attrs == {INTERRUPTED: True}
    assert sweep.last().state is TrialEnd.INTERRUPTED
    assert sweep.search.suggest("b")["params"] == params


def test_close_interrupts_what_runs(sweep: Sweep) -> None:
    for name in "ab":
        sweep.search.suggest(name)
    sweep.search.heard("a", scored(1.0))
    sweep.search.close()
    states = sorted(trial.state.name for trial in sweep.study.trials)
    assert states == ["FAIL", "FAIL", "WAITING", "WAITING"]
    assert sorted(sweep.dropped) == ["t0000", "t0001"]
    sweep.search.on_trial_complete("a", result(scored(1.0)))  # Tune may still say so
    assert len(sweep.study.trials) == 4


def test_no_trial_begins_once_it_may_not(sweep: Sweep) -> None:
    sweep.search.suggest("a")
    sweep.may_begin = False
    assert sweep.search.suggest("b") == sweep.search.FINISHED
    assert len(sweep.study.trials) == 1


def test_two_objectives_are_told_both() -> None:
    settings = replace(
        SETTINGS, objective=Objective.FINAL_AND_FORGETTING, pruner=Pruner.NONE, seed=1
    )
    sweep = Sweep(settings)
    sweep.whole("a", 1.0, 2.0, 3.0)
    (trial,) = sweep.study.trials
    assert trial.values == [2.0, pytest.approx(0.1)]
    assert sweep.last().values == tuple(trial.values)


def test_what_a_listener_raises_is_kept_because_tune_swallows_it(sweep: Sweep) -> None:
    def broken(event: TrialEvent) -> None:
        if isinstance(event, TrialEnded):
            raise OSError("no space left")

    sweep.search._on_trial = broken
    sweep.search.suggest("a")
    with pytest.raises(OSError, match="no space"):
        sweep.search.on_trial_complete("a", result(Failed("x")))
    assert isinstance(sweep.search.error, OSError)
    assert sweep.state(0) == "FAIL"


def test_tune_s_copies_hold_nothing(sweep: Sweep) -> None:
    assert len(pickle.dumps(sweep.search)) < 200


def test_the_objective_of_the_settings_decides(sweep: Sweep) -> None:
    other = Sweep(replace(SETTINGS, objective=Objective.WORST))
    other.whole("a", 3.0, 1.0, 2.0)
    assert other.study.trials[0].intermediate_values == {1: 3.0, 2: 1.0, 3: 1.0}
