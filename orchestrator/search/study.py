"""The Optuna study: the only state of a sweep.

A trial of the study is one setting. RUNNING exists only while a driver lives: the next one that
opens the study tells such trials FAIL, marks them interrupted and enqueues their parameters again,
so that in the end there are N different settings and none that runs. All of it is plain Optuna
storage: ``optuna-dashboard`` opens it, nothing is pickled.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url

from had_core.canonical import to_plain
from had_core.errors import BadInput
from orchestrator.search.events import label_of
from orchestrator.search.objective import directions
from orchestrator.search.settings import Params, Pruner, Sampler, SearchConfig
from orchestrator.search.space import DistinctSampler, identity, params_of, points
from orchestrator.tracking.location import require_sqlite

INTERRUPTED = "had.interrupted"  # user attribute: of a trial that comes again under another number
MESSAGE = "had.message"  # why a trial failed
SCORES = "had.scores"  # of a trial: [Delta_m, forgetting] of every order, in sequence
_SETTINGS = "had.search"  # of the study: what it was begun with
_POPULATION = 10  # of NSGA-II: sweeps are tens of trials
_REDUCTION = 2  # of HALVING: twice the orders, half the settings
_LOCKED_S = 60.0  # sqlite: how long to wait for another writer
_SQLITE = re.compile(r"sqlite(\+\w+)?:///(?P<path>[^?]+)")
_PASSWORD = re.compile(r"(://[^:/@]*:)[^/]*@")


@dataclass(frozen=True)
class Best:
    """A setting that no other beats.

    Attributes:
        values: of the objective, or of both.
    """

    number: int
    label: str
    params: Params
    values: tuple[float, ...]


def open_study(settings: SearchConfig, url: str, name: str) -> Study:
    """Create the study, or open it to go on; whatever was interrupted is put right.

    Args:
        url: of an Optuna storage; a sqlite file's folder is made.

    Raises:
        BadInput: the storage cannot be opened, or holds a study of that name with other settings.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = _load(settings, url, name)
    _check_settings(study, settings)
    reconcile(study)
    if settings.sampler is Sampler.GRID:
        _enqueue_grid(study, settings)
    study.sampler = sampler(settings, study)
    return study


def require_storage(url: str) -> None:
    """Raise BadInput where a study can never be kept at the URL; makes nothing, asks no server."""
    try:
        make_url(url).get_dialect().import_dbapi()
    except Exception as error:  # whatever a dialect or its driver may raise
        raise BadInput(_cannot_open(url, error)) from error
    file = _SQLITE.match(url)
    if file:
        require_sqlite("search.storage", url, Path(file["path"]))


def _load(settings: SearchConfig, url: str, name: str) -> Study:
    options: dict[str, Any] = {}
    file = _SQLITE.match(url)
    try:
        if file:
            options["connect_args"] = {"timeout": _LOCKED_S, "factory": _Connection}
            Path(file["path"]).parent.mkdir(parents=True, exist_ok=True)
        return optuna.create_study(
            storage=RDBStorage(url, engine_kwargs=options),
            study_name=name,
            directions=list(directions(settings.objective)),
            pruner=pruner(settings),
            load_if_exists=True,
        )
    except Exception as error:  # whatever a database or its driver may raise
        raise BadInput(_cannot_open(url, error)) from error


def look(url: str, name: str) -> Study | None:
    """The study as it is, for reading beside its driver; None where there is none.

    Raises BadInput where its storage cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file = _SQLITE.match(url)
    if file and not Path(file["path"]).is_file():
        return None
    options = {"connect_args": {"timeout": _LOCKED_S}} if file else {}
    try:
        return optuna.load_study(study_name=name, storage=RDBStorage(url, engine_kwargs=options))
    except KeyError:
        return None
    except Exception as error:  # whatever a database or its driver may raise
        raise BadInput(_cannot_open(url, error)) from error


def _cannot_open(url: str, error: Exception) -> str:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    shown = _PASSWORD.sub(r"\1***@", url)
    return f"search.storage={shown} cannot be opened: {reason}"


class _Connection(sqlite3.Connection):
    """Readers and the writer do not lock each other out, and a commit does not wait for the disk.

    After a kill nothing is missing. After a power failure the file is whole, and the last trials
    may be missing: they are asked again, their stages are sealed.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute("PRAGMA journal_mode=WAL")
        self.execute("PRAGMA synchronous=NORMAL")


def _check_settings(study: Study, settings: SearchConfig) -> None:
    wanted = to_plain(settings, for_key=True)
    known = study.user_attrs.get(_SETTINGS)
    if known is None:
        study.set_user_attr(_SETTINGS, wanted)
        return
    known = json.loads(json.dumps(known))
    changed = sorted(key for key in {*known, *wanted} if known.get(key) != wanted.get(key))
    if changed:
        raise BadInput(
            f"search.{changed[0]} differs from what sweep '{study.study_name}' was begun with: "
            "the same settings continue it, another name begins another"
        )


def sampler(settings: SearchConfig, study: Study) -> BaseSampler:
    """Seeded by the settings and the number of trials, so that a continued sweep asks anew."""
    seed = settings.seed + len(study.get_trials(deepcopy=False))
    inner: BaseSampler
    match settings.sampler:
        case Sampler.TPE:
            inner = TPESampler(seed=seed)
        case Sampler.NSGA2:
            inner = NSGAIISampler(population_size=_POPULATION, seed=seed)
        case Sampler.RANDOM | Sampler.GRID:  # a grid's points are enqueued
            inner = RandomSampler(seed=seed)
    return DistinctSampler(inner, settings.space)


def pruner(settings: SearchConfig) -> optuna.pruners.BasePruner:
    startup, warmup = settings.pruner_startup_trials, settings.pruner_warmup_orders
    match settings.pruner:
        case Pruner.NONE:
            return optuna.pruners.NopPruner()
        case Pruner.MEDIAN:
            return optuna.pruners.MedianPruner(startup, warmup)
        case Pruner.PERCENTILE:
            return optuna.pruners.PercentilePruner(settings.pruner_percentile, startup, warmup)
        case Pruner.HALVING:
            return optuna.pruners.SuccessiveHalvingPruner(warmup, _REDUCTION)


def reconcile(study: Study) -> int:
    """Trials that nobody runs any more are told FAIL and come again; how many there were.

    Call it only while no other driver works on the study. Killed in between, it is simply repeated.
    """
    zombies = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for zombie in zombies:
        interrupt(study, zombie)
    return len(zombies)


def interrupt(study: Study, trial: FrozenTrial) -> None:
    """Tell a running trial FAIL and enqueue its parameters."""
    params = params_of(trial)
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    if params and all(identity(params_of(other)) != identity(params) for other in waiting):
        study.enqueue_trial(params)
    # Optuna sets attributes only through the Trial that ``ask`` gave to a process that is gone.
    study._storage.set_trial_user_attr(trial._trial_id, INTERRUPTED, True)
    study.tell(trial.number, state=TrialState.FAIL)


def _enqueue_grid(study: Study, settings: SearchConfig) -> None:
    """Every point that the study does not have yet."""
    known = {identity(params_of(trial)) for trial in counting(study, waiting=True)}
    for point in points(settings.space):
        if identity(point) not in known:
            study.enqueue_trial(point)


def remaining(study: Study, settings: SearchConfig) -> int:
    """Trials that are still to begin or to be repeated.

    A trial that failed by itself is done, one that was interrupted is not.
    """
    done = sum(trial.state.is_finished() for trial in counting(study))
    return max(0, settings.trials - done)


def best(study: Study) -> tuple[Best, ...]:
    """The best setting, or with two objectives those that no other beats in both; () for none."""
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        return ()
    found: Iterable[FrozenTrial] = study.best_trials
    if len(study.directions) == 1:
        found = [study.best_trial]
    return tuple(
        Best(trial.number, label_of(trial.number), dict(trial.params), tuple(trial.values))
        for trial in found
    )


def distinct_parameters(study: Study) -> frozenset[str]:
    """The settings that were tried, as canonical JSON; interrupted attempts aside."""
    return frozenset(identity(trial.params) for trial in counting(study))


def counting(study: Study, *, waiting: bool = False) -> list[FrozenTrial]:
    """Trials but for interrupted ones, and those that still wait unless asked for."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if not trial.user_attrs.get(INTERRUPTED)
        and (waiting or trial.state is not TrialState.WAITING)
    ]
