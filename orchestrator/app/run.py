"""``had run`` and ``had resume``: train what a configuration describes, and say what came out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from had_core.errors import BadInput
from orchestrator.app.datasets import fingerprints_of
from orchestrator.app.journalling import RunJournal
from orchestrator.app.meanwhile import meanwhile
from orchestrator.app.naming import unknown_run
from orchestrator.app.opening import open_existing, open_for
from orchestrator.app.planning import sequences_of
from orchestrator.app.preflight import (
    check_before_writing,
    check_initial,
    check_place,
    cluster_settings,
)
from orchestrator.app.results_table import FILE, write_comparison
from orchestrator.app.scores import Reference, constant_row, sequence_results
from orchestrator.config import Backend, RunConfig, differences, in_short
from orchestrator.display.results import RunResult, SequenceResult, StageFailure, metrics_of
from orchestrator.execution.driver import (
    Placement,
    TreeResult,
    run_tree,
    set_damaged_aside,
    survey,
)
from orchestrator.execution.formats import read_file
from orchestrator.execution.messages import Event
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.tree import PrefixTree
from orchestrator.store import Store
from orchestrator.tracking.background import TrackingWriter
from orchestrator.tracking.events import End
from orchestrator.tracking.journal import Journal
from orchestrator.tracking.location import TrackingLocation

if TYPE_CHECKING:
    from had_core.data import ShardDataset
    from had_core.tasks import DenseTask
    from orchestrator.display.live import Display

T = TypeVar("T")


def recorded(store_root: str, name: str) -> RunConfig:
    """The settings that a run was started with, over the store where it lies now.

    Raises:
        BadInput: no store there (none is made), or no such run; those with a near name are named.
    """
    store = open_existing(store_root)
    record = store.runs.known(name)
    if record is None:
        raise BadInput(unknown_run(name, store))
    if record.keeps:
        raise BadInput(f"'{name}' is of had rerun: the same had rerun command continues it")
    config = RunConfig.from_json(record.config)
    return config.at(replace(config.store, root=store.uri))


def run(config: RunConfig, display: Display) -> RunResult:
    """Train, score, seal and track every stage that the store does not hold.

    Raises:
        BadInput: settings, data or cluster that cannot be used; nothing was trained.
        KeyboardInterrupt: after Ctrl-C, once the state of running stages is safe.
    """
    started = time.perf_counter()
    check_before_writing(config)
    store, dataset = open_for(config, display.note)
    tree = PrefixTree.of(sequences_of(config, fingerprints_of(dataset.manifest)))
    set_damaged_aside(tree, store)
    if survey(tree, store, config.name).open:
        check_place(config)
        fits = (node.stage.fit for node in tree)
        check_initial(fit for fit in fits if not store.is_sealed(ArtifactKind.FIT, fit.key))
    record(store, config)
    tree_result, results = execute(config, store, dataset, tree, display)
    if tree_result.interrupted:
        raise KeyboardInterrupt
    return RunResult(
        name=config.name,
        recipe=config.recipe,
        metrics=metrics_of(tasks_of(config, dataset)),
        sequences=results,
        store=store.uri,
        reference=config.reference_label,
        tracking_uri=location(config, store).shown if config.tracking.enabled else None,
        stages_trained=sum(outcome.trained for outcome in tree_result.outcomes.values()),
        stages_reused=len(tree_result.found),
        failures=_failures(config, tree, tree_result),
        seconds=time.perf_counter() - started,
    )


def placement(config: RunConfig, dataset: ShardDataset) -> Placement:
    """Where the stages of a configuration execute."""
    cluster = config.cluster
    return Placement(
        dataset=Path(dataset.path),
        cluster=cluster_settings(cluster),
        inline=cluster.backend is Backend.INLINE,
        device=cluster.device.value,
        sample_every=config.tracking.system_every,
    )


def execute(
    config: RunConfig, store: Store, dataset: ShardDataset, tree: PrefixTree, display: Display
) -> tuple[TreeResult, tuple[SequenceResult, ...]]:
    """Run a tree under a configuration's name, journalled and tracked."""
    with tracking(config, store, display):
        return _execute(config, store, dataset, tree, display)


def _execute(
    config: RunConfig, store: Store, dataset: ShardDataset, tree: PrefixTree, display: Display
) -> tuple[TreeResult, tuple[SequenceResult, ...]]:
    journal = Journal(store.uri, config.name)
    events = RunJournal(journal, tree, store)
    events.begin(config, dataset)
    backlog = survey(tree, store, config.name)
    events.reused(backlog.sealed)
    display.begin(config.name, to_train=len(backlog.open), cached=len(backlog.sealed))
    reference = meanwhile(lambda: _reference(config, dataset, store))

    def hear(event: Event) -> None:
        events.hear(event)
        display.event(event)

    def results(reused: frozenset[str]) -> tuple[SequenceResult, ...]:
        by_name = {task.name: task for task in dataset.manifest.tasks}
        return sequence_results(tree.sequences, by_name, store, reused, reference.result())

    try:
        ended = run_tree(
            tree,
            store,
            config.name,
            placement(config, dataset),
            on_event=hear,
            journal=journal,
        )
        scored = results(ended.found)
    except BaseException as error:
        kind = End.KILLED if isinstance(error, KeyboardInterrupt) else End.FAILED
        events.end(results(backlog.sealed), kind, str(error) or "interrupted")
        raise
    if config.compared:
        events.files({FILE: write_comparison(config, store, scored)})
    reasons = [outcome.failure.message for outcome in ended.failed if outcome.failure]
    events.end(scored, _end_of(ended), "; ".join(reasons))
    return ended, scored


def _reference(config: RunConfig, dataset: ShardDataset, store: Store) -> Reference | None:
    if config.reference_label is None:
        return None
    return Reference(config.reference_label, constant_row(dataset, store))


def _end_of(ended: TreeResult) -> End:
    if ended.interrupted:
        return End.KILLED
    return End.FAILED if ended.failed else End.FINISHED


@contextmanager
def tracking(config: RunConfig, store: Store, display: Display) -> Iterator[None]:
    """The MLflow writer beside the run; MLflow's troubles become a note, never an error."""
    if not config.tracking.enabled:
        yield
        return
    writer = TrackingWriter(
        store.uri,
        config.name,
        location(config, store),
        pictures=lambda key, file: read_file(store, ArtifactKind.EVAL, key, file),
    )
    with writer:
        yield
    if writer.behind is not None:
        display.note(
            f"MLflow is behind ({writer.behind}); nothing is lost, the next had command that "
            "reaches it catches up"
        )


def location(config: RunConfig, store: Store) -> TrackingLocation:
    return TrackingLocation.of(store.uri, config.tracking.uri)


def record(store: Store, config: RunConfig) -> None:
    """Give the name to these settings; the same settings may come again, from anywhere."""
    known = store.runs.known(config.name)  # a dropped run's journal is of its settings, too
    changes = differences(RunConfig.from_json(known.config), config) if known else ()
    if changes:
        raise BadInput(
            f"name={config.name} stands for other settings ({in_short(changes)}): "
            "choose another name, or leave them as they were"
        )
    if known is None or config.name not in store.runs.names():
        store.runs.create(config.name, config.to_json())


def tasks_of(config: RunConfig, dataset: ShardDataset) -> tuple[DenseTask, ...]:
    return tuple(task for task in dataset.manifest.tasks if task.name in config.tasks)


def _failures(config: RunConfig, tree: PrefixTree, ended: TreeResult) -> tuple[StageFailure, ...]:
    """By the method that is trained there; in a comparison by the label that asked first."""
    failures = []
    for outcome in ended.failed:
        node, failure = tree[outcome.key], outcome.failure
        label = tree.sequences[node.sequences[0]].method
        failures.append(
            StageFailure(
                key=outcome.key,
                method=label if config.compared else node.fit.config.method.name,
                tasks=node.fit.config.new_tasks,
                message=failure.message if failure else "",
                traceback=failure.traceback if failure else "",
            )
        )
    return tuple(failures)
