"""Tune's side of the study: asks it for settings, tells it how trials end, and says so outside."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from optuna.study import Study
from optuna.trial import Trial, TrialState
from ray.tune.result import DEFAULT_METRIC
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from orchestrator.search.events import (
    TrialEnd,
    TrialEnded,
    TrialEvent,
    TrialScored,
    TrialStarted,
    label_of,
)
from orchestrator.search.objective import OrderScore, running
from orchestrator.search.process import heard_from
from orchestrator.search.settings import SearchConfig
from orchestrator.search.space import distributions
from orchestrator.search.study import MESSAGE, SCORES, interrupt
from orchestrator.search.trial import Cancelled, Failed, Heard, Scored, Waiting

OnTrial = Callable[[TrialEvent], None]

_MOST_TEXT = 2000  # characters of a message in the study


class Dropping(Protocol):
    """The part of a StageQueue that ends a trial's wants."""

    def drop(self, waiter: str) -> None: ...


@dataclass
class _Live:
    """A trial that has begun and not ended."""

    trial: Trial
    label: str
    last: Heard = field(default_factory=Waiting)
    scores: tuple[OrderScore, ...] = ()
    pruned: bool = False
    fault: str = ""


class StudySearch(OptunaSearch):
    """OptunaSearch over a study that exists, and keeps all the state there is.

    ``OptunaSearch`` by itself would create the study, suggest after a restart what it had suggested
    before, report values in the order of arrival and tell neither PRUNED nor why a trial failed.

    Args:
        queue: where a trial's wants are dropped once it has ended.
        on_trial: hears of every trial, in Tune's thread.
        may_begin: asked before a trial begins; False ends the search.
    """

    def __init__(
        self,
        study: Study,
        settings: SearchConfig,
        queue: Dropping,
        on_trial: OnTrial,
        may_begin: Callable[[], bool],
    ) -> None:
        # The metric's default name is the one that Tune does not look for in results.
        super().__init__(metric=DEFAULT_METRIC, mode="max")
        self._ot_study: Any = study
        self._study, self._space = study, distributions(settings.space)
        self._settings, self._queue = settings, queue
        self._on_trial, self._may_begin = on_trial, may_begin
        self._live: dict[str, _Live] = {}
        self.error: Exception | None = None  # Tune swallows some of what is raised here

    def __getstate__(self) -> dict[str, Any]:
        """Tune writes copies of its searcher; nothing reads them."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study is the state."""

    def suggest(self, trial_id: str) -> Any:
        """The next trial's label and parameters, or the word that ends the search."""
        with self._keeping_errors():
            if not self._may_begin():
                return Searcher.FINISHED
            params = super().suggest(trial_id) or {}
            trial: Trial = self._ot_trials.pop(trial_id)
            live = self._live[trial_id] = _Live(trial, label_of(trial.number))
            self._on_trial(TrialStarted(trial.number, live.label, params))
            return {"label": live.label, "params": params}

    def heard(self, trial_id: str, heard: Heard) -> bool:
        """Take in what a trial says; whether the pruner gives the trial up."""
        live = self._live.get(trial_id)
        if live is None:
            return False
        live.last = heard
        if isinstance(live.last, Scored):
            with self._keeping_errors():
                self._score(live, live.last)
        return live.pruned

    def _score(self, live: _Live, scored: Scored) -> None:
        """Orders that are new, one by one: a process that began again repeats what it said."""
        whole, single = len(scored.scores) == scored.of, self._settings.objective.is_single
        for done in range(len(live.scores) + 1, len(scored.scores) + 1):
            live.scores = scored.scores[:done]
            value = self._values(live)[0]
            if single:
                live.trial.report(value, step=done)
            self._on_trial(TrialScored(live.label, done, value, live.scores))
            if single and not whole and live.trial.should_prune():
                live.pruned = True
                return

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: ``heard`` has it from the scheduler, before the pruner decides."""

    def faulted(self, trial_id: str, text: str) -> None:
        """The trial's process broke; Tune starts it again, or the trial ends with an error."""
        if trial_id in self._live:
            self._live[trial_id].fault = text

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        live = self._live.get(trial_id)
        if live is None:
            return
        if result and not error and not live.pruned:
            self.heard(trial_id, heard_from(result))
        del self._live[trial_id]
        with self._keeping_errors():
            self._queue.drop(live.label)
            self._end(live, error)

    def _end(self, live: _Live, error: bool) -> None:
        match live.last:
            case _ if error:
                self._fail(live, f"the trial's process was lost: {live.fault}")
            case _ if live.pruned:
                self._tell(live, TrialEnd.PRUNED)
            case Scored(scores, of) if len(scores) == of:
                self._tell(live, TrialEnd.COMPLETE)
            case Failed(message):
                self._fail(live, message)
            case Cancelled() | Waiting() | Scored():
                self._interrupt(live)

    def close(self) -> None:
        """What still runs is interrupted; call it when Tune has ended."""
        while self._live:
            _, live = self._live.popitem()
            self._queue.drop(live.label)
            self._interrupt(live)

    @contextlib.contextmanager
    def _keeping_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.error = self.error or error
            raise

    def _values(self, live: _Live) -> tuple[float, ...]:
        if not live.scores:
            return ()
        return running(self._settings.objective, live.scores, self._settings.cvar_alpha)

    def _tell(self, live: _Live, end: TrialEnd) -> None:
        values = self._values(live)
        scores = [[score.delta_m_pct, score.forgetting] for score in live.scores]
        live.trial.set_user_attr(SCORES, scores)
        if end is TrialEnd.COMPLETE:
            self._study.tell(live.trial, list(values), state=TrialState.COMPLETE)
        else:
            self._study.tell(live.trial, state=TrialState.PRUNED)
        self._on_trial(TrialEnded(live.label, live.trial.number, end, values))

    def _fail(self, live: _Live, message: str) -> None:
        live.trial.set_user_attr(MESSAGE, message[:_MOST_TEXT])
        self._study.tell(live.trial, state=TrialState.FAIL)
        self._on_trial(TrialEnded(live.label, live.trial.number, TrialEnd.FAILED, message=message))

    def _interrupt(self, live: _Live) -> None:
        number = live.trial.number
        interrupt(self._study, self._study.get_trials(deepcopy=False)[number])
        self._on_trial(TrialEnded(live.label, number, TrialEnd.INTERRUPTED))
