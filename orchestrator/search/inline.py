"""A sweep's trials one after the other in this thread: no Tune, no processes of their own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from orchestrator.search.searcher import OnTrial, StudySearch
from orchestrator.search.settings import SearchConfig
from orchestrator.search.study import remaining
from orchestrator.search.trial import Problem, run_trial
from orchestrator.search.tuner import TunerQueue

if TYPE_CHECKING:
    from optuna.study import Study


def run_inline(
    settings: SearchConfig,
    study: Study,
    problem: Problem,
    queue: TunerQueue,
    on_trial: OnTrial,
    should_stop: Callable[[], bool],
    *,
    may_begin: Callable[[], bool] = lambda: True,
) -> None:
    """Like ``run_tuner``, with the same meaning of every argument; ``max_concurrent`` is 1."""
    until = time.monotonic() + (settings.time_budget_s or float("inf"))
    search = StudySearch(
        study, settings, queue, on_trial, lambda: time.monotonic() < until and may_begin()
    )
    try:
        for number in range(remaining(study, settings)):
            chosen = None if should_stop() else search.suggest(str(number))
            if not isinstance(chosen, dict):  # the word that ends the search
                return
            for heard in run_trial(problem, queue, chosen["label"], chosen["params"]):
                if should_stop():
                    return  # closing the search interrupts the trial
                if search.heard(str(number), heard):
                    break
            search.on_trial_complete(str(number))
    finally:
        search.close()
