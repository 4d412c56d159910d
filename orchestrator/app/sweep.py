"""``had sweep``: judge settings across task orders, each stage trained once.

::

    study (Optuna) ── settings ──> trials (Tune) ── stages ──> engine ──> lanes ──> store
          ▲                            │ Delta_m of every order, read from the store
          └────────────────────────────┘

The study is the only state of a sweep; everything else is found again in the store.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from had_core.errors import BadInput
from orchestrator.app.datasets import fingerprints_of, open_dataset
from orchestrator.app.preflight import check_before_writing
from orchestrator.app.run import location, placement, record, tasks_of, tracking
from orchestrator.app.scores import constant_row
from orchestrator.app.sweep_journal import SweepJournal
from orchestrator.app.sweep_problem import SweepProblem
from orchestrator.app.sweep_result import result_of, trial_results
from orchestrator.app.sweep_tally import StageTally, sweep_start
from orchestrator.config import RunConfig
from orchestrator.display.sweep_results import SweepResult
from orchestrator.execution.messages import Event, Outcome
from orchestrator.search.events import TrialEvent, TrialStarted
from orchestrator.search.settings import SearchConfig
from orchestrator.store import Store
from orchestrator.tracking.events import End
from orchestrator.tracking.journal import Journal
from orchestrator.tracking.locks import FileLock

if TYPE_CHECKING:
    from optuna.study import Study

    from had_core.data import ShardDataset
    from orchestrator.display.sweep_live import SweepDisplay
    from orchestrator.execution.session import Session

_FAREWELL_S = 60.0
TRIALS = "had.trials"  # of the study: how many it was last asked for


@dataclass
class _Counts:
    """What this command did."""

    trained: int = 0
    interrupted: bool = False


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
    if config.search is None:
        raise BadInput("search=null is not allowed for a sweep: tpe, random, grid or nsga2")
    check_before_writing(config)
    store = Store.open(config.store.root)
    dataset = open_dataset(config.dataset, display.note)
    problem = SweepProblem(
        config,
        fingerprints_of(dataset.manifest),
        tasks_of(config, dataset),
        constant_row(dataset, store, config.slicing),
    )
    record(store, config)
    with _only_driver(store, config.name):
        study = open_sweep(config, store)
        search = _extended(study, config.search, more)
        counts = _Counts()
        _search(problem, search, study, store, dataset, display, counts)
        if counts.interrupted:
            raise KeyboardInterrupt
        return result_of(
            problem,
            search,
            study,
            store,
            study_url=study_url(config, store),
            stages_trained=counts.trained,
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
    return Path(store.uri, "sweeps", name)


@contextmanager
def _only_driver(store: Store, name: str) -> Iterator[None]:
    """A second driver would take the first one's trials for abandoned."""
    with FileLock(sweep_folder(store, name) / ".driver.lock") as lock:
        if not lock.held:
            raise BadInput(f"name={name} is a sweep that another process drives now: wait for it")
        yield


def _extended(study: Study, search: SearchConfig, more: int) -> SearchConfig:
    """With as many trials as were last asked for, and ``more``; the study remembers.

    Raises:
        BadInput: the space holds fewer settings.
    """
    trials = max(search.trials, int(study.user_attrs.get(TRIALS, 0))) + more
    extended = replace(search, trials=trials)
    study.set_user_attr(TRIALS, trials)
    return extended


def _search(
    problem: SweepProblem,
    search: SearchConfig,
    study: Study,
    store: Store,
    dataset: ShardDataset,
    display: SweepDisplay,
    counts: _Counts,
) -> None:
    """Everything from the first trial to the last, journalled and tracked."""
    from orchestrator.search.study import remaining

    config = problem.config
    with tracking(config, store, display):
        events = SweepJournal(Journal(store.uri, config.name), problem, store)
        trials = trial_results(study)
        events.begin(dataset, trials)
        left = remaining(study, search)
        display.begin_sweep(sweep_start(problem, search, study, trials))
        try:
            if left:
                _drive(problem, search, study, store, dataset, display, events, counts)
            _leave_files(problem, search, study, store, events)
        except BaseException as error:
            kind = End.KILLED if isinstance(error, KeyboardInterrupt) else End.FAILED
            events.end(kind, str(error) or "interrupted")
            raise
        events.end(End.KILLED if counts.interrupted else End.FINISHED)


def _drive(
    problem: SweepProblem,
    search: SearchConfig,
    study: Study,
    store: Store,
    dataset: ShardDataset,
    display: SweepDisplay,
    events: SweepJournal,
    counts: _Counts,
) -> None:
    """Trials in a thread of their own, the engine watched from this one."""
    from orchestrator.search.inline import run_inline
    from orchestrator.search.tuner import run_tuner

    tally = StageTally(problem, store)

    def hear(event: Event) -> None:
        if isinstance(event, Outcome):
            counts.trained += event.trained
        display.event(event)
        display.count(tally.counts(session.open))

    def on_trial(event: TrialEvent) -> None:
        events.hear(event)
        if isinstance(event, TrialStarted):
            tally.begin(event.params)
        display.trial(event)

    def within_budget() -> bool:
        return search.stage_budget is None or counts.trained < search.stage_budget

    with _engine(problem.config, store, dataset) as (session, scratch):

        def run(stop: Callable[[], bool]) -> None:
            wanted = (search, study, problem, session.queue)
            if scratch is None:
                run_inline(*wanted, on_trial, stop, may_begin=within_budget)
            else:
                run_tuner(*wanted, scratch, on_trial, stop, may_begin=within_budget)

        with _Trials(session, run) as trials:
            counts.interrupted = session.watch(hear, events.journal, on_interrupt=trials.stop)


@contextmanager
def _engine(
    config: RunConfig, store: Store, dataset: ShardDataset
) -> Iterator[tuple[Session, str | None]]:
    """The engine with its lanes, and the scratch folder of its cluster; None without Ray."""
    from orchestrator.execution.session import engine_session, inline_session

    place = placement(config.cluster, dataset)
    if place.inline:
        with inline_session(store, place) as session:
            yield session, None
        return
    from orchestrator.execution.cluster import connect

    scratch = f"{store.uri}/scratch/ray"
    with (
        connect(place.cluster, scratch) as cluster,
        engine_session(store, place, cluster) as session,
    ):
        yield session, cluster.scratch


class _Trials:
    """The tuner in a thread; closes the session when no trial is left."""

    def __init__(self, session: Session, run: Callable[[Callable[[], bool]], None]) -> None:
        self._session, self._run = session, run
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="trials", daemon=True)

    def stop(self) -> None:
        """Interrupt what runs; returns at once."""
        self._stop.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self._thread.join(_FAREWELL_S)
        if error is None and self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            self._run(self._stop.is_set)
        except BaseException as error:
            self._error = error
        finally:
            self._session.close()


def _leave_files(
    problem: SweepProblem,
    search: SearchConfig,
    study: Study,
    store: Store,
    events: SweepJournal,
) -> None:
    """The table and the plots, in the sweep's folder and among the artifacts of its MLflow run."""
