"""An engine with its lanes, for as long as a driver needs it: the one way to get stages executed.

::

    with engine_session(store, placement, cluster) as session:
        session.submit("run", works)      # the driver's own wants, or
        start_trials(session.queue)       # others submit: the queue may be sent to their processes
        session.close()                   # from any thread: nothing more will be submitted
        session.watch(on_event, journal)  # until it is closed and everything has ended

The queue may lose its state (its process was killed) and come back empty. Every waiter submits
again what it still wants (``wants.Wants`` does), lanes go on asking, and the driver tells again
what it had told.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from orchestrator.execution.cluster import Cluster, usable_cpus
from orchestrator.execution.messages import Event, StageWork
from orchestrator.execution.nodes import prove_shared
from orchestrator.execution.placement import Placement
from orchestrator.execution.provenance import commit
from orchestrator.execution.queue import LocalQueue, StageQueue
from orchestrator.execution.wants import Wants
from orchestrator.execution.watch import Lane, OnEvent, Watch

if TYPE_CHECKING:
    from orchestrator.execution.runner import RunnerFactory
    from orchestrator.store import Store
    from orchestrator.tracking.journal import Journal

_log = logging.getLogger(__name__)
_FAREWELL_S = 60.0  # lanes leave within seconds once the queue is closed and empty


class Session:
    """A queue that lanes serve.

    Attributes:
        queue: for whoever wants stages; a Ray session's may be pickled into other processes.
        open: submitted stages that have not ended, as of the last news that ``watch`` heard.
    """

    def __init__(self, queue: StageQueue, lanes: Sequence[Lane]) -> None:
        self.queue = queue
        self.open = 0
        self._lanes = tuple(lanes)
        self._own: list[Wants] = []
        self._closed, self._cancelled = threading.Event(), threading.Event()

    def submit(
        self, waiter: str, works: Sequence[StageWork], sealed: Collection[str] = ()
    ) -> Wants:
        """The driver itself wants these stages, also after the queue was restarted."""
        wants = Wants(self.queue, waiter, works, sealed)
        self._own.append(wants)
        return wants

    def close(self) -> None:
        """Nothing will be submitted any more: lanes leave once everything has ended."""
        self._closed.set()
        self.queue.close()

    def cancel(self) -> None:
        """Nobody wants anything any more: running stages stop between two epochs, their state is
        kept; every waiter hears CANCELLED."""
        self._cancelled.set()
        self.queue.cancel()

    def watch(
        self,
        on_event: OnEvent | None = None,
        journal: Journal | None = None,
        *,
        on_interrupt: Callable[[], None] | None = None,
    ) -> bool:
        """Follow what happens until the session is closed (or cancelled) and everything has ended.

        Call it from the main thread: Ctrl-C then cancels, a second Ctrl-C is raised.

        Args:
            on_event: hears every event, in this thread; progress several times a second.
            journal: hears of failed attempts; everything else is journalled by the workers.
            on_interrupt: called once, after the first Ctrl-C has cancelled.

        Returns:
            Whether someone pressed Ctrl-C.

        Raises:
            BadInput, LanesFailed: the lanes died and could not be started again.
        """
        hear = on_event or _ignore
        watch = Watch(self.queue, self._lanes, self._remembering(hear), journal, self._tell_again)
        interrupted = False
        while True:
            try:
                self.open = watch.turn()
                if self.open == 0 and self._is_over():
                    return interrupted
                watch.check_lanes(self._is_over)
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                _log.warning("stopping after this epoch; Ctrl-C again stops at once")
                self.cancel()
                if on_interrupt is not None:
                    on_interrupt()

    def _is_over(self) -> bool:
        return self._closed.is_set() or self._cancelled.is_set()

    def _remembering(self, on_event: OnEvent) -> OnEvent:
        def hear(event: Event) -> None:
            for wants in self._own:
                wants.hear(event)
            on_event(event)

        return hear

    def _tell_again(self) -> None:
        _log.warning("the queue was restarted: everything that is open is submitted again")
        for wants in self._own:
            wants.submit()
        if self._closed.is_set():
            self.queue.close()
        if self._cancelled.is_set():
            self.queue.cancel()

    def start(self) -> None:
        for lane in self._lanes:
            lane.start()

    def farewell(self) -> None:
        """Let the lanes go: what is still open is cancelled."""
        self.close()
        self.cancel()
        for lane in self._lanes:
            lane.join(_FAREWELL_S)


@contextlib.contextmanager
def engine_session(
    store: Store,
    placement: Placement,
    cluster: Cluster,
    *,
    make_runner: RunnerFactory | None = None,
) -> Iterator[Session]:
    """The queue's actor and the lanes on a cluster that is connected and stays so.

    At the end what is open is cancelled and the lanes leave; after an exception nobody waits for
    them.

    Args:
        make_runner: what executes stages in the lanes' workers, instead of the real worker.

    Raises:
        BadInput: a node of a cluster that was joined does not work on this store and data set.
    """
    from orchestrator.execution.lane import RayLane
    from orchestrator.execution.ray_queue import RayQueue

    if not cluster.private:
        prove_shared(store.uri, placement.dataset)
    store.claims.sweep()
    make = make_runner or _runner_factory(store, placement, cluster.settings.threads or 1)
    queue = RayQueue.start()
    names = [f"lane-{number}" for number in range(cluster.settings.lanes or 1)]
    try:
        with _serving(queue, [RayLane(name, queue, make, cluster) for name in names]) as session:
            yield session
    finally:
        queue.kill()


@contextlib.contextmanager
def inline_session(store: Store, placement: Placement) -> Iterator[Session]:
    """The same without Ray: one lane, a thread of this process."""
    from orchestrator.execution.inline import InlineLane

    store.claims.sweep()
    queue = LocalQueue()
    make = _runner_factory(store, placement, placement.cluster.threads or usable_cpus())
    try:
        with _serving(queue, [InlineLane("inline", queue, make)]) as session:
            yield session
    finally:
        queue.cancel()  # after an exception the lane ends with its epoch


@contextlib.contextmanager
def _serving(queue: StageQueue, lanes: Sequence[Lane]) -> Iterator[Session]:
    session = Session(queue, lanes)
    session.start()
    yield session
    session.farewell()


def _runner_factory(store: Store, placement: Placement, threads: int) -> RunnerFactory:
    from orchestrator.execution.worker import WorkerSettings, open_worker

    settings = WorkerSettings(
        store=store.uri,
        dataset=str(placement.dataset.resolve()),
        threads=threads,
        device=placement.device,
        commit=commit(),
        sample_every=placement.sample_every,
    )
    return functools.partial(open_worker, settings)


def _ignore(event: Event) -> None:
    return None
