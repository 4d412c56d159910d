"""A trial over the local queue, with an inline lane or by hand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
from toy_sweep import LAMBDA, ToyProblem, ToyRunner, delta_of

from orchestrator.execution.inline import InlineLane
from orchestrator.execution.messages import (
    Failure,
    FailureKind,
    Grant,
    Idle,
    Outcome,
    StageWork,
    Status,
)
from orchestrator.execution.queue import LocalQueue, Wait
from orchestrator.search.settings import Params
from orchestrator.search.trial import (
    Cancelled,
    Failed,
    Heard,
    OrderScore,
    Problem,
    Scored,
    TrialPlan,
    Waiting,
    run_trial,
)

PARAMS = {LAMBDA: 3.0}


@pytest.fixture
def queue() -> LocalQueue:
    return LocalQueue(patience_s=0.05)


@pytest.fixture
def served(queue: LocalQueue) -> Iterator[LocalQueue]:
    lane = InlineLane("lane", queue, ToyRunner)
    lane.start()
    yield queue
    queue.close()
    queue.cancel()
    lane.join(20)
    assert not lane.alive and lane.error is None


def said(problem: Problem, queue: LocalQueue, **params: float) -> list[Heard]:
    """Everything a trial says, but that it waits."""
    told = run_trial(problem, queue, "t0000", {**PARAMS, **params}, patience_s=0.05)
    return [heard for heard in told if not isinstance(heard, Waiting)]


def by_hand(queue: LocalQueue, count: int) -> list[str]:
    """Seal this many stages."""
    keys = []
    for _ in range(count):
        lease = queue.next("hand").lease  # type: ignore[union-attr]
        queue.finish(lease, Outcome(lease.key, Status.SEALED, trained=True))
        keys.append(lease.key)
    return keys


def test_orders_are_scored_in_sequence(served: LocalQueue) -> None:
    last = said(ToyProblem(), served)[-1]
    assert isinstance(last, Scored)
    assert [score.delta_m_pct for score in last.scores] == [delta_of(3.0, k) for k in range(6)]
    assert len(last.scores) == last.of == 6


def test_a_trial_says_what_it_has_before_it_waits(queue: LocalQueue) -> None:
    problem = ToyProblem(tasks=("a", "b"))
    trial = run_trial(problem, queue, "t0000", PARAMS, patience_s=0.01)
    assert next(trial) == Waiting()
    first = problem.plan("t0000", PARAMS).keys[0]
    done: set[str] = set()
    while not first <= done:
        done |= set(by_hand(queue, 1))
    heard = next(h for h in trial if not isinstance(h, Waiting))
    assert isinstance(heard, Scored)
    assert len(heard.scores) == 1
    assert next(trial) == Waiting()
    by_hand(queue, 4 - len(done))
    whole = next(h for h in trial if not isinstance(h, Waiting))
    assert isinstance(whole, Scored)
    assert len(whole.scores) == 2
    assert next(trial, None) is None


def test_an_order_counts_only_when_those_before_it_do(queue: LocalQueue) -> None:
    """Everything but the first order's last stage is there: nothing is said."""
    problem = ToyProblem()
    plan = problem.plan("t0000", PARAMS)
    (held,) = (work.key for work in plan.works if work.key in plan.keys[0] and work.position == 3)
    trial = run_trial(problem, queue, "t0000", PARAMS, patience_s=0.01)
    next(trial)
    lease = None
    for number in range(len(plan.works)):
        grant = queue.next(f"lane-{number}")
        assert isinstance(grant, Grant)
        if grant.lease.key == held:
            lease = grant.lease
        else:
            queue.finish(grant.lease, Outcome(grant.lease.key, Status.SEALED))
    assert lease is not None
    # What ended is heard of piece by piece, and none of it is a score.
    assert set(itertools.islice(trial, 5)) == {Waiting()}
    queue.finish(lease, Outcome(held, Status.SEALED))
    heard = next(h for h in trial if not isinstance(h, Waiting))
    assert isinstance(heard, Scored)
    assert len(heard.scores) == 6, "the rest was there already, and is said together"


def test_a_failed_stage_ends_the_trial_with_its_message(served: LocalQueue) -> None:
    (heard,) = said(ToyProblem(fail_above=2.0), served)
    assert isinstance(heard, Failed)
    assert "failed: loss term 'new/x' is not finite" in heard.message
    assert "at position 2 of" in heard.message


class Chain(ToyProblem):
    """Two stages, the second of which has the smaller key."""

    def plan(self, label: str, params: Params) -> TrialPlan:
        works = (StageWork("z", None), StageWork("a", "z"))
        return TrialPlan(label, params, works, frozenset(), (("x",),), (frozenset("az"),))


def test_the_stage_that_failed_is_named_and_not_those_that_needed_it(queue: LocalQueue) -> None:
    trial = run_trial(Chain(), queue, "t0000", PARAMS, patience_s=0.01)
    next(trial)
    grant = queue.next("hand")
    assert isinstance(grant, Grant)
    failure = Failure(FailureKind.BAD_INPUT, "no such file", "Traceback ...")
    queue.finish(grant.lease, Outcome("z", Status.FAILED, failure=failure))
    heard = next(h for h in trial if not isinstance(h, Waiting))
    assert heard == Failed("stage z failed: no such file", "Traceback ...")


def test_a_setting_without_a_score_fails(served: LocalQueue) -> None:
    (heard,) = said(ToyProblem(no_score_above=2.0), served)
    assert isinstance(heard, Failed)
    assert heard.message.endswith("has no score")


def test_a_score_that_is_no_number_fails(served: LocalQueue) -> None:
    class Nan(ToyProblem):
        def score(self, plan: TrialPlan, order: int) -> OrderScore:
            return OrderScore(math.nan, 0.0)

    (heard,) = said(Nan(), served)
    assert isinstance(heard, Failed)


def test_what_a_problem_raises_ends_the_trial_with_its_traceback(queue: LocalQueue) -> None:
    class Broken(ToyProblem):
        def plan(self, label: str, params: Params) -> TrialPlan:
            raise ValueError("no such order")

    (heard,) = said(Broken(), queue)
    assert isinstance(heard, Failed)
    assert heard.message == "ValueError: no such order"
    assert "Traceback" in heard.traceback


def test_a_trial_whose_stages_are_cancelled_is_cancelled(queue: LocalQueue) -> None:
    trial = run_trial(ToyProblem(), queue, "t0000", PARAMS, patience_s=0.01)
    next(trial)
    queue.drop("t0000")
    assert next(h for h in trial if not isinstance(h, Waiting)) == Cancelled()


class Forgetful:
    """A queue that loses its state once, as the actor does when it is killed."""

    def __init__(self) -> None:
        self.queues = [LocalQueue(patience_s=0.05)]
        self.submitted: list[set[str]] = []

    def lose(self) -> None:
        self.queues.append(LocalQueue(patience_s=0.05))

    def submit(self, waiter, works, sealed=()):  # type: ignore[no-untyped-def]
        self.submitted.append(set(sealed))
        return self.queues[-1].submit(waiter, works, sealed)

    def wait(self, keys, wait_s=0.0) -> Wait:  # type: ignore[no-untyped-def]
        return self.queues[-1].wait(keys, wait_s)


def test_a_queue_that_lost_its_state_is_told_again() -> None:
    queue = Forgetful()
    trial = run_trial(ToyProblem(), queue, "t0000", PARAMS, patience_s=0.01)
    next(trial)
    sealed = by_hand(queue.queues[0], 5)
    queue.lose()
    list(itertools.islice(trial, 3))
    assert len(queue.submitted) == 2
    by_hand(queue.queues[1], 15 - len(queue.submitted[1]))
    last = list(trial)[-1]
    assert isinstance(last, Scored)
    assert len(last.scores) == 6
    assert queue.submitted[1] <= set(sealed)


def test_stages_that_no_queue_knows_are_an_error_and_no_hang() -> None:
    class Elsewhere(ToyProblem):
        def plan(self, label: str, params: Params) -> TrialPlan:
            return replace(super().plan(label, params), keys=(frozenset({"elsewhere"}),))

    *_, last = run_trial(Elsewhere(), LocalQueue(patience_s=0.01), "t0000", PARAMS, patience_s=0.01)
    assert isinstance(last, Failed)
    assert "does not know stage elsewhere" in last.message


def test_sealed_stages_are_handed_on(queue: LocalQueue) -> None:
    class Cached(ToyProblem):
        def plan(self, label: str, params: Params) -> TrialPlan:
            plan = super().plan(label, params)
            return replace(plan, sealed=frozenset(work.key for work in plan.works))

    (last,) = said(Cached(), queue)
    assert isinstance(last, Scored)
    assert len(last.scores) == 6


def test_a_trial_that_may_be_pruned_asks_for_few_orders_ahead(queue: LocalQueue) -> None:
    class Careful(ToyProblem):
        def plan(self, label: str, params: Params) -> TrialPlan:
            return replace(super().plan(label, params), ahead=1)

    plan = Careful().plan("t0000", PARAMS)
    for index in range(len(plan.keys)):
        keys = {work.key for work in plan.wanted(index)}
        assert keys == frozenset().union(*plan.keys[: index + 2])
    assert replace(plan, ahead=None).wanted(0) == plan.works

    trial = run_trial(Careful(), queue, "t0000", PARAMS, patience_s=0.01)
    next(trial)
    by_hand(queue, len(plan.wanted(0)))
    assert isinstance(queue.next("hand"), Idle)
    first = next(h for h in trial if not isinstance(h, Waiting))
    assert isinstance(first, Scored)
    assert len(first.scores) == 1
    assert isinstance(queue.next("hand"), Idle), "the pruner decides before more is asked for"
    second = next(h for h in trial if not isinstance(h, Waiting))
    assert isinstance(second, Scored)
    assert len(second.scores) == 2
    next(trial)
    by_hand(queue, len(plan.wanted(2)) - len(plan.wanted(1)))
