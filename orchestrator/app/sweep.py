"""``had sweep``: judge settings across task orders, each stage trained once.

::

    study (Optuna) ── settings ──> trials (Tune) ── stages ──> engine ──> lanes ──> store
          ▲                            │ Delta_m of every order, read from the store
          └────────────────────────────┘

The study is the only state of a sweep; everything else is found again in the store.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from had_core.errors import BadInput
from orchestrator.app.datasets import fingerprints_of
from orchestrator.app.opening import open_for
from orchestrator.app.preflight import check_before_writing, check_place, check_start
from orchestrator.app.results_table import FILE
from orchestrator.app.run import location, record, tasks_of
from orchestrator.app.scores import constant_row
from orchestrator.app.sweep_driver import ROOM, SweepDriver
from orchestrator.app.sweep_problem import SweepProblem
from orchestrator.app.sweep_result import result_of
from orchestrator.config import RunConfig
from orchestrator.display.sweep_results import SweepResult
from orchestrator.search.settings import SearchConfig
from orchestrator.store import Store
from orchestrator.tracking.locks import FileLock

if TYPE_CHECKING:
    from optuna.study import Study

    from orchestrator.display.sweep_live import SweepDisplay

TRIALS = "had.trials"  # of the study: how many it was last asked for


def sweep(config: RunConfig, display: SweepDisplay, more: int = 0) -> SweepResult:
    """Run what remains of a sweep.

    Args:
        more: trials on top of those that it was last asked for.

    Raises:
        BadInput: settings, data, study or cluster that cannot be used, or another process that
            drives this sweep.
        KeyboardInterrupt: after Ctrl-C, once the state of running stages is safe.
    """
    started = time.perf_counter()
    from orchestrator.search.study import remaining, require_storage

    if config.search is None:
        raise BadInput("search=null is not allowed for a sweep: tpe, random, grid or nsga2")
    replace(config.search, trials=config.search.trials + more)  # a space has room for no more
    check_before_writing(config)
    if config.search.storage is not None:
        require_storage(config.search.storage)
    store, dataset = open_for(config, display.note)
    problem = SweepProblem(config, fingerprints_of(dataset.manifest), tasks_of(config, dataset))
    begun = store.runs.read(config.name) is not None
    if not begun:
        check_start(config)  # before anything carries the name
    record(store, config)
    with _only_driver(store, config.name):
        study = open_sweep(config, store)
        search = _extended(study, config.search, more)
        if begun and remaining(study, search):
            check_place(config)
        study.set_user_attr(
            TRIALS, search.trials
        )  # not when refused: the next +N would count twice
        constant = partial(constant_row, dataset, store, config.slicing)
        driver = SweepDriver(problem, search, study, store, dataset, display, constant)
        driver.run()
        if driver.interrupted:
            raise KeyboardInterrupt
        return result_of(
            problem,
            search,
            study,
            store,
            study_url=study_url(config, store),
            stages_trained=driver.trained,
            results=str(sweep_folder(store, config.name) / FILE),
            tracking_uri=location(config, store).shown if config.tracking.enabled else None,
            seconds=time.perf_counter() - started,
        )


def open_sweep(config: RunConfig, store: Store) -> Study:
    """The sweep's study, what was interrupted put right; only its driver may call this."""
    from orchestrator.search.study import open_study

    assert config.search is not None
    return open_study(config.search, study_url(config, store), config.name)


def study_url(config: RunConfig, store: Store) -> str:
    """Where the study lies: the configured storage, or a sqlite file in the store.

    Raises:
        BadInput: the store is not local, and no storage is named.
    """
    assert config.search is not None
    if config.search.storage is not None:
        return config.search.storage
    return f"sqlite:///{sweep_folder(store, config.name) / 'study.db'}"


def sweep_folder(store: Store, name: str) -> Path:
    """The sweep's own folder in the store."""
    if "://" in store.uri:
        raise BadInput(f"store.root={store.uri} is not local: name search.storage, an Optuna URL")
    return Path(store.uri, ROOM, name)


@contextmanager
def _only_driver(store: Store, name: str) -> Iterator[None]:
    """A second driver would take the first one's trials for abandoned."""
    with FileLock(sweep_folder(store, name) / ".driver.lock") as lock:
        if not lock.held:
            raise BadInput(f"name={name} is a sweep that another process drives now: wait for it")
        yield


def _extended(study: Study, search: SearchConfig, more: int) -> SearchConfig:
    """With as many trials as were last asked for, and ``more``.

    Raises:
        BadInput: the space holds fewer settings.
    """
    trials = max(search.trials, int(study.user_attrs.get(TRIALS, 0))) + more
    return replace(search, trials=trials)
