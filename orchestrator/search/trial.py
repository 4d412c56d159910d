"""What one trial does, wherever it runs: plan, ask for the stages, wait, score order by order.

Pure over a ``StageQueue`` and a ``Problem``: ``process`` makes a Tune trial of it, tests run it
in a thread. It trains nothing itself and holds no CPU.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from had_core.errors import HadError
from orchestrator.execution.messages import FailureKind, Outcome, StageWork, Status
from orchestrator.execution.queue import Wait
from orchestrator.search.objective import OrderScore
from orchestrator.search.settings import Params

__all__ = [
    "Cancelled",
    "Failed",
    "Heard",
    "OrderScore",
    "Problem",
    "Scored",
    "TrialPlan",
    "TrialQueue",
    "Waiting",
    "run_trial",
]

PATIENCE_S = 2.0  # a trial that is stopped from outside is heard of within this time


@dataclass(frozen=True)
class TrialPlan:
    """What one setting needs.

    Attributes:
        works: every stage, parents before children.
        sealed: keys of those that the store holds complete.
        orders: in the sequence in which they count.
        keys: for each of the orders, the stages that it is scored on (the reference's included).
        ahead: how many orders beyond the one that counts next are asked for; None for all. A trial
            that may be pruned asks for few, or the stages of its last orders would be trained
            before its first ones are whole (the longest chain goes first).
    """

    label: str
    params: Params
    works: tuple[StageWork, ...]
    sealed: frozenset[str]
    orders: tuple[tuple[str, ...], ...]
    keys: tuple[frozenset[str], ...]
    ahead: int | None = None

    def wanted(self, index: int) -> tuple[StageWork, ...]:
        """The stages to ask for while the order with this index counts next."""
        if self.ahead is None:
            return self.works
        keys = frozenset().union(*self.keys[: index + 1 + self.ahead])
        return tuple(work for work in self.works if work.key in keys)


class Problem(Protocol):
    """What is searched; travels to the trials' processes, so it has to be picklable."""

    def plan(self, label: str, params: Params) -> TrialPlan: ...

    def score(self, plan: TrialPlan, order: int) -> OrderScore | None:
        """Of the order with this index, once its stages are sealed; None where it has none."""
        ...


class TrialQueue(Protocol):
    """The part of a StageQueue that a trial needs."""

    def submit(
        self, waiter: str, works: Sequence[StageWork], sealed: Collection[str] = ()
    ) -> str: ...
    def wait(self, keys: Collection[str], wait_s: float = 0.0) -> Wait: ...


@dataclass(frozen=True)
class Waiting:
    """Nothing new; the trial goes on."""


@dataclass(frozen=True)
class Scored:
    """One more order counts: the scores of all so far, in sequence, of ``of`` orders."""

    scores: tuple[OrderScore, ...]
    of: int


@dataclass(frozen=True)
class Failed:
    """The last word: a stage or the scoring failed."""

    message: str
    traceback: str = ""


@dataclass(frozen=True)
class Cancelled:
    """The last word: nobody wants the stages any more."""


Heard = Waiting | Scored | Failed | Cancelled


def run_trial(
    problem: Problem,
    queue: TrialQueue,
    label: str,
    params: Params,
    *,
    patience_s: float = PATIENCE_S,
) -> Iterator[Heard]:
    """Until every order is scored, or the trial cannot go on; raises nothing.

    Yields something at least every ``patience_s`` seconds once the plan is made. Orders whose
    stages have all ended are said together.
    """
    try:
        yield from _run(problem, queue, label, params, patience_s)
    except HadError as error:
        yield Failed(str(error), traceback.format_exc())
    except Exception as error:
        yield Failed(f"{type(error).__name__}: {error}", traceback.format_exc())


def _run(
    problem: Problem, queue: TrialQueue, label: str, params: Params, patience_s: float
) -> Iterator[Heard]:
    plan = problem.plan(label, params)
    stages = _Stages(queue, plan)
    scores: list[OrderScore] = []
    said = 0
    for index, keys in enumerate(plan.keys):
        if said < len(scores) and (stages.asks_more(index) or not stages.ended(keys, 0.0)):
            said = len(scores)  # the pruner decides before more is asked for
            yield Scored(tuple(scores), len(plan.keys))
        stages.ask(index)
        while not stages.ended(keys, patience_s):
            yield Waiting()
        bad = stages.bad(keys)
        if bad is not None:
            yield bad
            return
        score = problem.score(plan, index)
        if score is None or not _is_finite(score):
            yield Failed(f"order {' > '.join(plan.orders[index])} has no score")
            return
        scores.append(score)
    yield Scored(tuple(scores), len(plan.keys))


class _Stages:
    """The plan's stages in the queue, and how those ended that were asked for."""

    def __init__(self, queue: TrialQueue, plan: TrialPlan) -> None:
        self._queue, self._plan = queue, plan
        self._known: dict[str, Outcome] = {}
        self._asked: tuple[StageWork, ...] = ()
        self._told = ""  # the queue's incarnation

    def asks_more(self, index: int) -> bool:
        """Whether ``ask`` would submit something."""
        return len(self._plan.wanted(index)) > len(self._asked)

    def ask(self, index: int) -> None:
        """Submit what is wanted while the order with this index counts next."""
        if self.asks_more(index):
            self._asked = self._plan.wanted(index)
            self._submit()

    def _submit(self) -> None:
        sealed = {key for key, o in self._known.items() if o.status is Status.SEALED}
        self._told = self._queue.submit(self._plan.label, self._asked, self._plan.sealed | sealed)

    def ended(self, keys: frozenset[str], wait_s: float) -> bool:
        """Whether all of them have; waits up to ``wait_s`` for the next one."""
        missing = keys - self._known.keys()
        if not missing:
            return True
        wait = self._queue.wait(missing, wait_s)
        self._known.update(wait.ended)
        strange = wait.unknown - {work.key for work in self._asked}
        if strange:
            raise HadError(f"the queue does not know stage {min(strange)[:12]}")
        if wait.incarnation == self._told:  # dropped under this trial's name
            self._known |= {key: Outcome(key, Status.CANCELLED) for key in wait.unknown}
        elif wait.unknown:  # it lost its state
            self._submit()
        return keys <= self._known.keys()

    def bad(self, keys: frozenset[str]) -> Failed | Cancelled | None:
        """Why a trial that needs them cannot go on, None where all are sealed."""
        return _bad({key: self._known[key] for key in sorted(keys)})


def _bad(ended: Mapping[str, Outcome]) -> Failed | Cancelled | None:
    """Why the trial cannot go on, None where all that ended is sealed."""
    failed = [outcome for outcome in ended.values() if outcome.status is Status.FAILED]
    if failed:
        first = next((o for o in failed if not _is_of_a_parent(o)), failed[0])
        failure = first.failure
        reason = failure.message if failure else "no reason was given"
        message = f"stage {first.key[:12]}{_where(first.work)} failed: {reason}"
        return Failed(message, failure.traceback if failure else "")
    if all(outcome.status is Status.SEALED for outcome in ended.values()):
        return None
    return Cancelled()


def _is_of_a_parent(outcome: Outcome) -> bool:
    """Whether it only repeats that an earlier stage failed."""
    return outcome.failure is not None and outcome.failure.kind is FailureKind.PARENT


def _where(work: StageWork | None) -> str:
    if work is None or not work.tasks:
        return ""
    return f" ({', '.join(work.tasks)} at position {work.position} of {' > '.join(work.order)})"


def _is_finite(score: OrderScore) -> bool:
    return math.isfinite(score.delta_m_pct) and math.isfinite(score.forgetting)
