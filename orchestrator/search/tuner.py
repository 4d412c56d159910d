"""A sweep's trials on Ray Tune: quiet, without a CPU of their own, stopped from outside."""

from __future__ import annotations

import contextlib
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import ray
from ray import tune
from ray.tune import Stopper, TuneError
from ray.tune.progress_reporter import TrialProgressCallback

from had_core.errors import BadInput
from orchestrator.execution.placement import require_place_for_trials
from orchestrator.search.events import TrialEnd, TrialEnded, TrialScored, TrialStarted
from orchestrator.search.process import TrialProcess
from orchestrator.search.pruning import StudyScheduler
from orchestrator.search.searcher import Dropping, OnTrial, StudySearch
from orchestrator.search.settings import SearchConfig
from orchestrator.search.study import remaining
from orchestrator.search.trial import Problem, TrialQueue

if TYPE_CHECKING:
    from optuna.study import Study
    from ray.tune.experiment import Trial

__all__ = ["OnTrial", "TrialEnd", "TrialEnded", "TrialScored", "TrialStarted", "run_tuner"]

_HEAD = "node:__internal_head__"
_SHARE = 0.001  # of a node: a thousand trials fit, and no CPU is held
_MOST_LOSSES = 3  # of one trial's process, before the trial fails
_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the new one prints a header whatever ``verbose`` is
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # results hold no metric of Tune's
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # nothing of Tune's is ever restored
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_RESULT_BUFFER_LENGTH": "1",
}


class TunerQueue(TrialQueue, Dropping, Protocol):
    """What a sweep asks of a StageQueue; travels to the trials' processes."""


def run_tuner(
    settings: SearchConfig,
    study: Study,
    problem: Problem,
    queue: TunerQueue,
    scratch: str,
    on_trial: OnTrial,
    should_stop: Callable[[], bool],
    *,
    may_begin: Callable[[], bool] = lambda: True,
) -> None:
    """Run what remains of the study, on the cluster that this process is connected to.

    At its end no trial of the study is RUNNING, however it ends but for a kill of this process.

    Args:
        study: opened with ``open_study``.
        scratch: folder or URI that every node can write; nothing in it is read again.
        on_trial: hears of every trial, in this thread. What it raises ends the sweep.
        should_stop: asked several times a second; True interrupts what runs and returns.
        may_begin: asked before every trial, as the settings' time budget is; False lets what runs
            end and returns.
    """
    left = remaining(study, settings)
    if left == 0 or should_stop() or not may_begin():
        return
    until = time.monotonic() + (settings.time_budget_s or float("inf"))
    search = StudySearch(
        study, settings, queue, on_trial, lambda: time.monotonic() < until and may_begin()
    )
    trainable = tune.with_resources(
        tune.with_parameters(TrialProcess, problem=problem, queue=queue),
        resources(),
    )
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=search,
            scheduler=StudyScheduler(search),
            num_samples=left,
            max_concurrent_trials=min(settings.max_concurrent, left),
            reuse_actors=True,
            trial_name_creator=_label,
            trial_dirname_creator=_label,
        ),
        run_config=tune.RunConfig(
            name=f"sweep-{uuid.uuid4().hex[:12]}",  # Tune restores a run whose name it knows
            storage_path=scratch,
            stop=_FromOutside(lambda: should_stop() or search.error is not None),
            failure_config=tune.FailureConfig(max_failures=_MOST_LOSSES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=[Silence()],
            verbose=0,
        ),
    )
    try:
        with quiet():
            tuner.fit()
    except TuneError:
        if search.error is None:
            raise
    finally:
        search.close()
    if search.error is not None:
        raise search.error


class Silence(TrialProgressCallback):
    """In the place of the one that Tune adds, which prints even where ``verbose`` is 0."""

    def on_trial_result(self, *args: Any, **info: Any) -> None:
        return None

    on_trial_error = on_trial_complete = on_trial_result


class _FromOutside(Stopper):
    """Stops all trials when told to."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop

    def __getstate__(self) -> dict[str, Any]:
        """Tune writes copies of it; nothing reads them."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._should_stop()


def _label(trial: Trial) -> str:
    return str(trial.config["label"])


def resources() -> tune.PlacementGroupFactory:
    """Of a trial: no CPU, and so little of a node that a thousand trials fit.

    Raises:
        BadInput: there is no such place, or somebody else holds all of it.
    """
    place = place_of_trials(ray.nodes(), ray.get_runtime_context().get_node_id())
    require_place_for_trials(place, ray.available_resources().get(place, 0.0), _SHARE)
    return tune.PlacementGroupFactory([{place: _SHARE}])


def place_of_trials(nodes: Sequence[Mapping[str, Any]], here: str) -> str:
    """The resource that stands for the head, or where none is marked for the node ``here``.

    Raises:
        BadInput: there is neither, so that a trial would wait for ever.
    """
    alive = [node for node in nodes if node["Alive"]]
    if any(_HEAD in node["Resources"] for node in alive):
        return _HEAD
    for node in alive:
        names: list[str] = [name for name in node["Resources"] if name.startswith("node:")]
        if node["NodeID"] == here and names:
            return names[0]
    raise BadInput(f"the cluster cannot place a trial: no node offers the resource {_HEAD}")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Tune says nothing: not on stdout, where results belong, and trials have their own account."""
    before = {name: os.environ.get(name) for name in _QUIET}
    logger = logging.getLogger("ray.tune")
    level = logger.level
    os.environ.update(_QUIET)
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
