"""One process that drives a sweep: trials in a thread, the engine watched from the main one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self

from orchestrator.app.meanwhile import meanwhile
from orchestrator.app.results_table import FILE, TrialRows, results_table, write_results
from orchestrator.app.run import placement, tracking
from orchestrator.app.sweep_journal import ENDED, SweepJournal, objectives
from orchestrator.app.sweep_problem import SPLIT, SweepProblem
from orchestrator.app.sweep_result import trial_results
from orchestrator.app.sweep_tally import StageTally, sweep_start
from orchestrator.execution.messages import Event, Outcome
from orchestrator.search.events import TrialEnded, TrialEvent, TrialStarted
from orchestrator.search.settings import SearchConfig
from orchestrator.tracking.events import End
from orchestrator.tracking.journal import Journal

if TYPE_CHECKING:
    from optuna.study import Study

    from had_core.data import ShardDataset
    from orchestrator.config import RunConfig
    from orchestrator.display.results import Row
    from orchestrator.display.sweep_live import SweepDisplay
    from orchestrator.execution.session import Session
    from orchestrator.store import Store

_FAREWELL_S = 60.0
ROOM = "sweeps"  # folder of the store


@dataclass
class SweepDriver:
    """Runs what remains of a study.

    Attributes:
        search: with as many trials as are wanted now.
        score_constant: scores the best constant prediction and stores what it found; seconds of
            work, for which Ray's start leaves time.
        trained: stages that were trained so far.
        interrupted: whether someone pressed Ctrl-C.
    """

    problem: SweepProblem
    search: SearchConfig
    study: Study
    store: Store
    dataset: ShardDataset
    display: SweepDisplay
    score_constant: Callable[[], Row]
    trained: int = 0
    interrupted: bool = False
    _constant: Future[Row] = field(init=False, repr=False)

    def run(self) -> None:
        """Everything from the first trial to the last, journalled and tracked."""
        from orchestrator.search.study import remaining

        config = self.problem.config
        with tracking(config, self.store, self.display):
            journal = Journal(self.store.uri, config.name)
            events = SweepJournal(journal, self.problem, self.store)
            trials = trial_results(self.study)
            events.begin(self.dataset, trials)
            self._constant = meanwhile(self.score_constant)
            start = sweep_start(self.problem, self.search, self.study, trials)
            self.display.begin_sweep(start)
            try:
                if remaining(self.study, self.search):
                    self._drive(events).result()
                else:
                    self._leave(events)
            except BaseException as error:
                kind = End.KILLED if isinstance(error, KeyboardInterrupt) else End.FAILED
                events.end(kind, str(error) or "interrupted")
                raise
            events.end(End.KILLED if self.interrupted else End.FINISHED)

    def _drive(self, events: SweepJournal) -> Future[None]:
        """The trials that remain; what tells of them reaches the store, and MLflow, while Ray
        ends."""
        from orchestrator.search import plots
        from orchestrator.search.inline import run_inline
        from orchestrator.search.tuner import run_tuner

        tally = StageTally(self.problem, self.store)
        # The plots' libraries, at the end of the first trial; one trial alone has no plots.
        loading: list[Future[None]] = []

        def on_trial(event: TrialEvent) -> None:
            if isinstance(event, TrialStarted):
                tally.begin(event.params)
            elif isinstance(event, TrialEnded) and not loading and self.search.trials > 1:
                loading.append(meanwhile(plots.load))
            events.hear(event)
            self.display.trial(event)

        def hear(event: Event) -> None:
            if isinstance(event, Outcome):
                self.trained += event.trained
            self.display.event(event)
            self.display.count(tally.counts(session.open))

        with _engine(self.problem.config, self.store, self.dataset) as (session, scratch):

            def run(stop: Callable[[], bool]) -> None:
                self._constant.result()  # every trial reads it
                wanted = (self.search, self.study, self.problem, session.queue)
                if scratch is None:
                    run_inline(*wanted, on_trial, stop, may_begin=self._within_budget)
                else:
                    run_tuner(*wanted, scratch, on_trial, stop, may_begin=self._within_budget)

            with _Trials(session, run) as trials:
                self.interrupted = session.watch(hear, events.journal, on_interrupt=trials.stop)
            return meanwhile(lambda: self._leave(events))

    def _within_budget(self) -> bool:
        budget = self.search.stage_budget
        return budget is None or self.trained < budget

    def _leave(self, events: SweepJournal) -> None:
        """The table and the plots, in the sweep's folder and among its MLflow run's artifacts."""
        from orchestrator.search import plots

        config = self.problem.config
        self._constant.result()  # the table refers to it
        rows = [
            TrialRows(self.problem.results(trial.params), trial.label, trial.state, trial.params)
            for trial in trial_results(self.study)
            if trial.state in ENDED
        ]
        methods = {label: method.name for label, method in config.methods}
        table = results_table(config.name, rows, methods, SPLIT)
        folder = f"{ROOM}/{config.name}"
        files = {FILE: write_results(self.store, folder, table)}
        names = list(objectives(self.search.objective))
        page = plots.plots_page(self.study, names, config.name)
        if page is not None:
            files[plots.FILE] = f"{folder}/{plots.FILE}"
            self.store.fs.write(files[plots.FILE], page.encode())
        events.files(files)


@contextmanager
def _engine(
    config: RunConfig, store: Store, dataset: ShardDataset
) -> Iterator[tuple[Session, str | None]]:
    """The engine with its lanes, and the scratch folder of its cluster; None without Ray."""
    from orchestrator.execution.session import engine_session, inline_session

    place = placement(config, dataset)
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
