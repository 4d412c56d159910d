"""Run every stage of a prefix tree: what is sealed is skipped, the rest goes through lanes."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from had_core.errors import BadInput
from orchestrator.execution.cluster import Cluster, ClusterSettings, connect, usable_cpus
from orchestrator.execution.messages import Event, StageWork
from orchestrator.execution.provenance import commit
from orchestrator.execution.queue import LocalQueue
from orchestrator.execution.watch import Backlog, LanesFailed, OnEvent, TreeResult, Watch
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.tree import PrefixTree, StageNode
from orchestrator.tracking.events import sequence_id

if TYPE_CHECKING:
    from orchestrator.execution.runner import RunnerFactory
    from orchestrator.store import Store
    from orchestrator.tracking.journal import Journal

__all__ = [
    "Backlog",
    "LanesFailed",
    "Placement",
    "TreeResult",
    "run_on_cluster",
    "run_tree",
    "survey",
]


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


def survey(tree: PrefixTree, store: Store, run: str, label: str = "") -> Backlog:
    """What a run over the tree has to do; asks the store once a stage.

    Args:
        label: tells the tree's sequences apart from others of the same run (a sweep's trial).
    """
    works = tuple(_work_of(node, tree, run, label) for node in tree)
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
    watch = Watch(backlog, run, on_event or _ignore, journal)
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
    watch = Watch(backlog, run, on_event or _ignore, journal)
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


def _work_of(node: StageNode, tree: PrefixTree, run: str, label: str) -> StageWork:
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
        sequence=sequence_id(first.method, first.order, first.seed, label),
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
