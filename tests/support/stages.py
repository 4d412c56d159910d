"""Small trees of real stages, executed in this process: for tests of workers and faults."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from micro import MICRO_NET, MICRO_SLICING, MICRO_TRAIN, ORDER

from had_core.data import ShardDataset
from had_core.methods import HadConfig, MethodConfig, NaiveConfig
from had_core.parallel import Solo
from had_core.stage import Runtime
from orchestrator.execution import formats
from orchestrator.execution.driver import Backlog, survey
from orchestrator.execution.messages import Event, Outcome
from orchestrator.execution.queue import LocalQueue
from orchestrator.execution.runner import serve
from orchestrator.execution.worker import StageWorker, WorkerSettings
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.expand import PlanRequest, expand
from orchestrator.plan.tree import PrefixTree
from orchestrator.store import Store

RUN = "test-run"


def tree_of(
    dataset: ShardDataset,
    *,
    methods: Sequence[MethodConfig] = (NaiveConfig(), HadConfig()),
    order: Sequence[str] = ORDER,
    workers: int = 1,
    **train: Any,
) -> PrefixTree:
    """Sequences of every method over one order; ``train`` replaces fields of the settings."""
    fingerprints = {name: dataset.split(name).fingerprint for name in ("train", "test")}
    requests = [
        PlanRequest(
            method=method,
            orders=(tuple(order),),
            seeds=(0,),
            net=MICRO_NET,
            train=replace(MICRO_TRAIN, **train),
            slicing=MICRO_SLICING,
            fingerprints=fingerprints,
            workers=workers,
        )
        for method in methods
    ]
    return PrefixTree.of([sequence for request in requests for sequence in expand(request)])


def worker_on(dataset: ShardDataset, store: Store, **runtime: Any) -> StageWorker:
    settings = WorkerSettings(store=store.uri, dataset=str(dataset.path), commit="abc")
    context = Runtime(**runtime)
    return StageWorker(settings, dataset, store if context.parallel.rank == 0 else None, context)


def execute(tree: PrefixTree, dataset: ShardDataset, store: Store, run: str = RUN) -> list[Event]:
    """Everything that is open, in this thread; an exception of a worker comes through."""
    backlog: Backlog = survey(tree, store, run)
    queue = LocalQueue()
    queue.submit(run, backlog.works, backlog.sealed)
    queue.close()
    serve("lane", queue, worker_on(dataset, store), Solo())
    return list(queue.poll(0).events)


def outcomes(events: Sequence[Event]) -> dict[str, Outcome]:
    return {event.key: event for event in events if isinstance(event, Outcome)}


def weights(tree: PrefixTree, store: Store) -> dict[str, bytes]:
    """The sealed nets' bytes by key; every stage has to be sealed."""
    found = {}
    for node in tree:
        sealed = store.load(ArtifactKind.FIT, node.key)
        assert sealed is not None, f"{node.fit.config.tasks} is not sealed"
        found[node.key] = sealed.read(formats.NET)
    return found


def rows(tree: PrefixTree, store: Store) -> dict[str, Any]:
    return {spec.key: formats.read_row(store, spec.key) for node in tree for spec in node.evals}


def attempts(tree: PrefixTree, store: Store) -> dict[str, list[dict[str, int]]]:
    """What the manifests say about the executions of every fit."""
    manifests = {node.key: store.manifest(ArtifactKind.FIT, node.key) for node in tree}
    return {key: list(manifest["attempts"]) for key, manifest in manifests.items() if manifest}


def count_steps(ledger: Path) -> None:
    """From now on every optimiser step of this process leaves a line in ``ledger``."""
    from had_core.step import StageTrainer

    original = StageTrainer.step

    def step(self: Any, batch: Any, epoch: int, index: int) -> Any:
        terms = original(self, batch, epoch, index)
        with ledger.open("a") as file:
            tasks = [task.name for task in (*self.stage.old_tasks, *self.stage.new_tasks)]
            method = type(self._method).__name__
            file.write(json.dumps([method, tasks, epoch, index]) + "\n")
        return terms

    StageTrainer.step = step  # type: ignore[method-assign]


def steps_in(ledger: Path) -> list[tuple[Any, ...]]:
    if not ledger.exists():
        return []
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    return [(method, tuple(tasks), epoch, index) for method, tasks, epoch, index in lines]
