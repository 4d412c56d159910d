"""With overrides: a new stage beside the old one, and beside everything that starts from that."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from had_core.errors import BadInput
from orchestrator.app.datasets import fingerprints_of
from orchestrator.app.family import descendants as sealed_descendants
from orchestrator.app.preflight import check_before_writing, check_place
from orchestrator.app.rerun.asked import alone, moved
from orchestrator.app.rerun.training import named, row_of, split_of, steps_of, train, tree_of
from orchestrator.app.rerun.verifying import tasks_of
from orchestrator.display.results import RerunResult, metrics_of
from orchestrator.plan.artifacts import ArtifactKind

if TYPE_CHECKING:
    from had_core.data import ShardDataset
    from orchestrator.app.stages import KnownStage
    from orchestrator.config import RunConfig
    from orchestrator.display.live import Display
    from orchestrator.plan.specs import FitSpec
    from orchestrator.store import Store


def branch(
    known: KnownStage,
    fit: FitSpec,
    config: RunConfig,
    missing: Sequence[FitSpec],
    store: Store,
    dataset: ShardDataset,
    display: Display,
    *,
    descendants: bool,
) -> RerunResult:
    """Train and seal ``fit`` beside the known stage, whose parent it has.

    Args:
        missing: ancestors to train first.
        descendants: the sealed stages that start from the known one are made again as children of
            the new one, with their own settings otherwise.

    Raises:
        BadInput: everything is in the store already, or settings that no stage can be trained with;
            nothing was written.
        RerunFailed: training failed.
    """
    old = sealed_descendants(store, known.fit.key) if descendants else ()
    new = _moved(known.fit, fit, old, config.cluster.workers)
    pairs = list(zip([known.fit, *old], [fit, *new], strict=True))
    made = {e.key for e in (fit, *new) if not store.is_sealed(ArtifactKind.FIT, e.key)}
    _require_open(fit, new, made, display)
    config = alone(config, fit.config)
    check_before_writing(config)
    check_place(config)
    fits = [*missing, fit, *new]
    keeps = dict.fromkeys(each.key for leaf in (fit, *new) for each in leaf.lineage())
    fingerprints = fingerprints_of(dataset.manifest)
    splits = {now.key: split_of(was, fingerprints, store) for was, now in pairs}
    tree = tree_of(fits, fingerprints, splits=lambda each: (splits.get(each.key, "test"),))
    train(named(config, fit, list(keeps), store), store, dataset, tree, display)
    first, *others = (
        RerunResult(
            key=was.key,
            new_key=now.key,
            tasks=now.config.tasks,
            metrics=metrics_of(tasks_of(now, dataset)),
            split=splits[now.key],
            row=row_of(now, splits[now.key], fingerprints, store),
            store=store.uri,
            steps_run=steps_of(now, store) if now.key in made else 0,
            sealed_row=row_of(was, splits[now.key], fingerprints, store),
        )
        for was, now in pairs
    )
    return replace(first, descendants=tuple(others))


def _moved(
    old: FitSpec, new: FitSpec, family: Sequence[FitSpec], workers: int
) -> tuple[FitSpec, ...]:
    """The family of the old stage, each with its own settings, below the new one."""
    made = {old.key: new}
    for fit in family:  # parents first
        assert fit.parent is not None
        made[fit.key] = moved(fit, made[fit.parent.key], fit.config, workers)
    return tuple(made[fit.key] for fit in family)


def _require_open(
    fit: FitSpec, new: Sequence[FitSpec], made: Collection[str], display: Display
) -> None:
    """Raise BadInput where nothing is left to train; say what is not trained."""
    if not made:
        also = f" and {len(new)} that start from it are" if new else " is"
        raise BadInput(
            f"stage {fit.key[:12]} with these settings{also} in the store already: had rerun "
            f"{fit.key[:12]} trains it again"
        )
    if fit.key not in made:
        display.note(
            f"stage {fit.key[:12]} with these settings is in the store already and is not trained "
            f"again: {len(made)} of the {len(new)} that start from it are"
        )
