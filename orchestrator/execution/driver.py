"""Run every stage of a prefix tree: what is sealed is skipped, the rest goes through lanes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from had_core.errors import BadInput
from orchestrator.execution.cluster import Cluster, connect
from orchestrator.execution.messages import Outcome, StageWork, Status
from orchestrator.execution.placement import Placement
from orchestrator.execution.session import Session, engine_session, inline_session
from orchestrator.execution.watch import LanesFailed, OnEvent
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
    "follow",
    "run_on_cluster",
    "run_tree",
    "set_damaged_aside",
    "survey",
]


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

    @property
    def width(self) -> int:
        """Open stages from which no open one starts: more never run at the same time."""
        parents = {work.parent for work in self.open}
        return sum(work.key not in parents for work in self.open)


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
    def found(self) -> frozenset[str]:
        """Keys of stages that are sealed and were not trained by this run."""
        sealed = {key: o for key, o in self.outcomes.items() if o.status is Status.SEALED}
        trained = {key for key, outcome in sealed.items() if outcome.trained}
        return (self.reused | sealed.keys()) - trained

    @property
    def failed(self) -> tuple[Outcome, ...]:
        return tuple(o for o in self.outcomes.values() if o.status is Status.FAILED)


def survey(tree: PrefixTree, store: Store, run: str, label: str = "") -> Backlog:
    """What a run over the tree has to do; asks the store once a stage.

    Args:
        label: tells the tree's sequences apart from others of the same run (a sweep's trial).
    """
    works = tuple(_work_of(node, tree, run, label) for node in tree)
    sealed = frozenset(node.key for node in tree if _is_complete(node, store))
    return Backlog(works, sealed)


def set_damaged_aside(tree: PrefixTree, store: Store) -> None:
    """Verify every byte of the tree's sealed artefacts; the store names what is damaged.

    ``survey`` looks at names and sizes alone, and nobody reads a stage that no open one needs.
    """
    for node in tree:
        for kind, key in _artefacts(node):
            store.load(kind, key)


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
    with _session_at(placement, store, backlog.width) as session:
        return follow(session, backlog, run, on_event=on_event, journal=journal)


@contextlib.contextmanager
def _session_at(placement: Placement, store: Store, most_lanes: int) -> Iterator[Session]:
    if placement.inline:
        with inline_session(store, placement) as session:
            yield session
        return
    with (
        connect(placement.cluster, f"{store.uri}/scratch/ray", most_lanes=most_lanes) as cluster,
        engine_session(store, placement, cluster) as session,
    ):
        yield session


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
    backlog = survey(tree, store, run)
    with engine_session(store, placement, cluster, make_runner=make_runner) as session:
        return follow(session, backlog, run, on_event=on_event, journal=journal)


def follow(
    session: Session,
    backlog: Backlog,
    run: str,
    *,
    on_event: OnEvent | None = None,
    journal: Journal | None = None,
) -> TreeResult:
    """Have a backlog executed by a session that has nothing else to do."""
    wants = session.submit(run, backlog.works, backlog.sealed)
    session.close()
    interrupted = session.watch(on_event, journal)
    return TreeResult(dict(wants.ended), backlog.sealed, interrupted)


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


def _artefacts(node: StageNode) -> list[tuple[ArtifactKind, str]]:
    """Kind and key of everything that belongs to the stage."""
    return [
        (ArtifactKind.FIT, node.key),
        *((ArtifactKind.MEMORY, memory.key) for memory in node.memories),
        *((ArtifactKind.EVAL, spec.key) for spec in node.evals),
    ]


def _is_complete(node: StageNode, store: Store) -> bool:
    """Sealed with all that belongs to it, and its end journalled: nothing partial is left."""
    sealed = all(store.is_sealed(kind, key) for kind, key in _artefacts(node))
    return sealed and store.partial(node.key).read() is None
