"""Run every stage of a prefix tree: what is sealed is skipped, the rest goes through lanes."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from had_core.errors import BadInput, HadError
from orchestrator.execution.cluster import Cluster, ClusterSettings, connect, usable_cpus
from orchestrator.execution.messages import (
    Event,
    LaneFault,
    Outcome,
    StageLeased,
    StageProgress,
    StageWork,
    Status,
)
from orchestrator.execution.provenance import commit
from orchestrator.execution.queue import LocalQueue, StageQueue
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.tree import PrefixTree, StageNode
from orchestrator.tracking.events import StageFailed, StageRef, sequence_id

if TYPE_CHECKING:
    from orchestrator.execution.runner import RunnerFactory
    from orchestrator.store import Store
    from orchestrator.tracking.journal import Journal

_log = logging.getLogger(__name__)
_POLL_S = 0.5
_FAREWELL_S = 60.0  # lanes leave within seconds once the queue is closed and empty


class LanesFailed(HadError):
    """No lane is left to execute what is still open."""


class Lane(Protocol):
    """Something that serves a queue until it is closed and empty."""

    name: str

    def start(self) -> None: ...
    @property
    def alive(self) -> bool: ...
    @property
    def error(self) -> BaseException | None: ...
    def join(self, timeout_s: float | None = None) -> None: ...


@dataclass(frozen=True)
class Backlog:
    """A tree against a store.

    Attributes:
        works: every stage of the tree, parents before children.
        sealed: keys of those that are complete in the store.
    """

    works: tuple[StageWork, ...]
    sealed: frozenset[str]

    @property
    def open(self) -> tuple[StageWork, ...]:
        return tuple(work for work in self.works if work.key not in self.sealed)


@dataclass(frozen=True)
class Placement:
    """Where a run's stages execute.

    Attributes:
        dataset: folder of the data set, on every node.
        cluster: lanes, workers, threads.
        inline: in this process instead of on Ray; one lane, one worker.
        device: ``cpu`` or ``cuda``.
    """

    dataset: Path
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    inline: bool = False
    device: str = "cpu"

    def __post_init__(self) -> None:
        ranks = self.cluster.lanes * self.cluster.workers
        if self.inline and ranks > 1:
            raise BadInput(
                f"cluster.lanes={self.cluster.lanes} x cluster.workers={self.cluster.workers} is "
                "not allowed inline: 1 x 1"
            )


@dataclass(frozen=True)
class TreeResult:
    """How a run over a tree ended.

    Attributes:
        outcomes: of every stage that was open when it began, by key.
        reused: keys that the store held complete from the start.
        interrupted: whether someone pressed Ctrl-C; what was not sealed is CANCELLED or missing.
    """

    outcomes: Mapping[str, Outcome]
    reused: frozenset[str]
    interrupted: bool = False

    @property
    def failed(self) -> tuple[Outcome, ...]:
        return tuple(o for o in self.outcomes.values() if o.status is Status.FAILED)


OnEvent = Callable[[Event], None]


def survey(tree: PrefixTree, store: Store, run: str) -> Backlog:
    """What a run over the tree has to do; asks the store once a stage."""
    works = tuple(_work_of(node, tree, run) for node in tree)
    sealed = frozenset(node.key for node in tree if _is_complete(node, store))
    return Backlog(works, sealed)


def run_tree(
    tree: PrefixTree,
    store: Store,
    run: str,
    placement: Placement,
    *,
    on_event: OnEvent | None = None,
    journal: Journal | None = None,
) -> TreeResult:
    """Train, score and seal every stage of the tree that the store does not hold.

    Call it from the main thread: Ctrl-C then stops running stages between two epochs (their state
    is kept), a second Ctrl-C stops at once.

    Args:
        on_event: hears every event, from this thread; progress several times a second.
        journal: hears of failed attempts; everything else is journalled by the workers.

    Raises:
        BadInput: the placement cannot be had.
        LanesFailed: the lanes died and could not be started again.
    """
    backlog = survey(tree, store, run)
    if not backlog.open:
        return TreeResult({}, backlog.sealed)
    if not placement.inline:
        with connect(placement.cluster, f"{store.uri}/scratch/ray") as cluster:
            return run_on_cluster(
                tree, store, run, placement, cluster, on_event=on_event, journal=journal
            )
    from orchestrator.execution.inline import InlineLane

    queue = LocalQueue()
    make = _runner_factory(store, placement, placement.cluster.threads or usable_cpus())
    watch = _Watch(backlog, run, on_event or _ignore, journal)
    return watch.drive(queue, [InlineLane("inline", queue, make)])


def run_on_cluster(
    tree: PrefixTree,
    store: Store,
    run: str,
    placement: Placement,
    cluster: Cluster,
    *,
    on_event: OnEvent | None = None,
    journal: Journal | None = None,
    make_runner: RunnerFactory | None = None,
) -> TreeResult:
    """``run_tree`` on a cluster that is connected already and stays so.

    Args:
        make_runner: what executes stages in the lanes' workers, instead of the real worker.
    """
    from orchestrator.execution.lane import RayLane
    from orchestrator.execution.ray_queue import RayQueue

    backlog = survey(tree, store, run)
    watch = _Watch(backlog, run, on_event or _ignore, journal)
    make = make_runner or _runner_factory(store, placement, cluster.settings.threads or 1)
    queue = RayQueue.start()
    names = [f"lane-{number}" for number in range(cluster.settings.lanes)]
    try:
        return watch.drive(queue, [RayLane(name, queue, make, cluster) for name in names])
    finally:
        queue.kill()


def _ignore(event: Event) -> None:
    return None


def _runner_factory(store: Store, placement: Placement, threads: int) -> RunnerFactory:
    from orchestrator.execution.worker import WorkerSettings, open_worker

    settings = WorkerSettings(
        store=store.uri,
        dataset=str(placement.dataset.resolve()),
        threads=threads,
        device=placement.device,
        commit=commit(),
    )
    return functools.partial(open_worker, settings)


def _work_of(node: StageNode, tree: PrefixTree, run: str) -> StageWork:
    if len(node.memories) > 1:
        raise BadInput(
            f"stage {node.key[:12]} is shared by methods that keep different memories after it, "
            "which one run cannot execute: one run for each of them"
        )
    first = tree.sequences[node.sequences[0]]
    return StageWork(
        key=node.key,
        parent=node.fit.parent.key if node.fit.parent else None,
        spec=node.stage.to_json(),
        run=run,
        sequence=sequence_id(first.method, first.order, first.seed),
        method=first.method,
        order=first.order,
        position=node.stage.position,
        tasks=node.fit.config.new_tasks,
    )


def _is_complete(node: StageNode, store: Store) -> bool:
    """Sealed with all that belongs to it, and its end journalled: nothing partial is left."""
    artefacts = [(ArtifactKind.FIT, node.key)]
    artefacts += [(ArtifactKind.MEMORY, memory.key) for memory in node.memories]
    artefacts += [(ArtifactKind.EVAL, spec.key) for spec in node.evals]
    sealed = all(store.is_sealed(kind, key) for kind, key in artefacts)
    return sealed and store.partial(node.key).read() is None


@dataclass
class _Watch:
    """Follows one run from the driver's side."""

    backlog: Backlog
    run: str
    on_event: OnEvent
    journal: Journal | None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    progress: dict[str, StageProgress] = field(default_factory=dict)
    fault: LaneFault | None = None
    dead: set[str] = field(default_factory=set)
    incarnation: str | None = None
    cursor: int = 0

    def drive(self, queue: StageQueue, lanes: Sequence[Lane]) -> TreeResult:
        """Until nothing is open."""
        self._submit(queue)
        for lane in lanes:
            lane.start()
        interrupted = False
        while True:
            try:
                if self._poll(queue) == 0:
                    break
                self._check(queue, lanes)
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                _log.warning("stopping after this epoch; Ctrl-C again stops at once")
                queue.cancel()
        for lane in lanes:
            lane.join(_FAREWELL_S)
        return TreeResult(dict(self.outcomes), self.backlog.sealed, interrupted)

    def _submit(self, queue: StageQueue) -> None:
        sealed = set(self.backlog.sealed)
        sealed |= {key for key, o in self.outcomes.items() if o.status is Status.SEALED}
        queue.submit(self.run, self.backlog.works, sealed)
        queue.close()

    def _poll(self, queue: StageQueue) -> int:
        """Hear what is new; how many stages are open."""
        poll = queue.poll(self.cursor, _POLL_S)
        if self.incarnation not in (None, poll.incarnation):
            _log.warning("the queue was restarted: everything that is open is submitted again")
            self._submit(queue)
            poll = queue.poll(0)
        self.incarnation, self.cursor = poll.incarnation, poll.cursor
        for event in poll.events:
            self._hear(event)
        for progress in poll.progress:
            if self.progress.get(progress.lane) != progress:
                self.progress[progress.lane] = progress
                self.on_event(progress)
        return poll.open

    def _hear(self, event: Event) -> None:
        match event:
            case StageLeased():
                self.attempts[event.lease.key] = event.lease.attempt
            case LaneFault():
                self.fault = event
                if event.key is not None:
                    self._journal_failure(event.key, event.message, final=False)
            case Outcome():
                self.outcomes[event.key] = event
                if event.failure is not None:
                    self._journal_failure(event.key, event.failure.message, final=True)
        self.on_event(event)

    def _check(self, queue: StageQueue, lanes: Sequence[Lane]) -> None:
        """A lane that died takes no stage with it; without any lane there is no going on."""
        for lane in lanes:
            if lane.error is not None and not lane.alive and lane.name not in self.dead:
                self.dead.add(lane.name)
                queue.lost(lane.name, str(lane.error))
        if any(lane.alive for lane in lanes) or self._poll(queue) == 0:
            return
        for lane in lanes:
            if isinstance(lane.error, BadInput):
                raise lane.error
        why = ""
        if self.fault is not None:
            why = "\n".join(filter(None, [self.fault.message, self.fault.traceback]))
        raise LanesFailed(f"no lane is left to execute the open stages: {why}")

    def _journal_failure(self, key: str, message: str, *, final: bool) -> None:
        if self.journal is None:
            return
        work = next(work for work in self.backlog.works if work.key == key)
        self.journal.append(
            StageFailed(
                time=time.time(),
                run=self.run,
                stage=StageRef(
                    sequence=work.sequence,
                    key=key,
                    parent=work.parent,
                    position=work.position,
                    tasks=work.tasks,
                ),
                attempt=self.attempts.get(key, 0),
                message=message,
                final=final,
            )
        )
