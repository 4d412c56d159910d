"""A sweep without science: settings are numbers, stages train nothing, scores follow a formula."""

from __future__ import annotations

import itertools
import math
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from had_core.canonical import digest
from had_core.parallel import Parallel
from orchestrator.execution.messages import (
    Failure,
    FailureKind,
    Lease,
    Outcome,
    StageWork,
    Status,
)
from orchestrator.execution.runner import Tell
from orchestrator.search.objective import OrderScore, common_sequence
from orchestrator.search.trial import TrialPlan

LAMBDA = "method.lambda"
TASKS = ("semantic", "depth", "normal")


@dataclass(frozen=True)
class ToyProblem:
    """Every order of ``tasks``; stage 1 is shared by all settings, as it really is.

    Attributes:
        fail_above: settings with a larger lambda have a stage that fails.
        no_score_above: settings with a larger lambda have no score.
        kill_once: a folder: the first trial's first process kills itself and leaves a file there.
    """

    tasks: tuple[str, ...] = TASKS
    seed: int = 0
    fail_above: float = math.inf
    no_score_above: float = math.inf
    kill_once: str | None = None

    def plan(self, label: str, params: Mapping[str, object]) -> TrialPlan:
        weight = params[LAMBDA]
        assert isinstance(weight, (int, float))
        self._maybe_die()
        orders = common_sequence(tuple(itertools.permutations(self.tasks)), self.seed)
        works: dict[str, StageWork] = {}
        keys = []
        for order in orders:
            chain: list[str] = []
            for position in range(1, len(order) + 1):
                key = self._key(order[:position], weight)
                parent = chain[-1] if chain else None
                tasks = (order[position - 1],)
                works[key] = StageWork(key, parent, {}, "run", "", "had", order, position, tasks)
                chain.append(key)
            keys.append(frozenset(chain))
        return TrialPlan(label, params, tuple(works.values()), frozenset(), orders, tuple(keys))

    def score(self, plan: TrialPlan, order: int) -> OrderScore | None:
        weight = plan.params[LAMBDA]
        assert isinstance(weight, (int, float))
        if weight > self.no_score_above:
            return None
        return OrderScore(delta_of(weight, order), 1 / (1 + weight))

    def _key(self, prefix: tuple[str, ...], weight: float) -> str:
        if len(prefix) == 1:
            return digest(list(prefix))
        bad = "bad" if weight > self.fail_above and len(prefix) == 2 else ""
        return bad + digest([*prefix, weight])

    def _maybe_die(self) -> None:
        if self.kill_once is not None:
            mark = Path(self.kill_once, "killed")
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)


def delta_of(weight: float, order: int) -> float:
    """Best at lambda 3, and a little worse from order to order."""
    return -((math.log(weight) - math.log(3)) ** 2) - 0.01 * order


class ToyRunner:
    """Seals everything but keys that begin with ``bad``; give it to a lane as ``lambda _: runner``.

    Args:
        seconds: a stage takes this long.
        sealed: a folder that stands for the store, which trains a stage once; without it every
            stage that is leased is trained.
    """

    def __init__(
        self, parallel: Parallel | None = None, seconds: float = 0.0, sealed: str | None = None
    ) -> None:
        self.ran: list[str] = []
        self._seconds = seconds
        self._sealed = None if sealed is None else Path(sealed)
        self._speaks = parallel is None or parallel.rank == 0

    def run(self, lease: Lease, work: StageWork, tell: Tell) -> Outcome:
        self.ran.append(lease.key)
        time.sleep(self._seconds)
        if lease.key.startswith("bad"):
            failure = Failure(FailureKind.NON_FINITE, "loss term 'new/x' is not finite")
            return Outcome(lease.key, Status.FAILED, failure=failure)
        return Outcome(lease.key, Status.SEALED, trained=self._seal(lease.key))

    def _seal(self, key: str) -> bool:
        """Whether it is this run that sealed it."""
        if self._sealed is None or not self._speaks:
            return True
        try:
            (self._sealed / key).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True
