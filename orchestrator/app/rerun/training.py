"""Training the stages of a rerun through the engine that trains everything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from had_core.canonical import digest
from had_core.errors import HadError
from orchestrator.app.run import execute
from orchestrator.config import RunConfig, differences
from orchestrator.execution import formats
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.specs import EvalSpec, FitSpec, SequenceSpec, StageSpec
from orchestrator.plan.tree import PrefixTree

if TYPE_CHECKING:
    from had_core.data import ShardDataset
    from orchestrator.display.live import Display
    from orchestrator.display.results import Row
    from orchestrator.execution.driver import TreeResult
    from orchestrator.store import Store


class RerunFailed(HadError):
    """The stage could not be trained again."""


def tree_of(
    fits: Sequence[FitSpec],
    fingerprints: Mapping[str, str],
    *readers: FitSpec,
    splits: Callable[[FitSpec], Sequence[str]] = lambda fit: ("test",),
) -> PrefixTree:
    """These stages; one sequence for each that no other starts from.

    Memories are kept where another of the stages, or one of ``readers``, reads them.

    Args:
        splits: what a stage is scored on.
    """
    memories = {
        fit.parent.key: fit.parent_memory for fit in (*fits, *readers) if fit.parent is not None
    }
    stages = {
        fit.key: StageSpec(
            fit,
            tuple(eval_of(fit, split, fingerprints) for split in splits(fit)),
            memories.get(fit.key),
        )
        for fit in fits
    }
    parents = {fit.parent.key for fit in fits if fit.parent is not None}
    leaves = [fit for fit in fits if fit.key not in parents]
    return PrefixTree.of(
        [
            SequenceSpec(
                _title(leaf, leaves),
                leaf.config.tasks,
                leaf.config.seed,
                tuple(stages[fit.key] for fit in leaf.lineage() if fit.key in stages),
            )
            for leaf in leaves
        ]
    )


def _title(leaf: FitSpec, leaves: Sequence[FitSpec]) -> str:
    """The method's name; with the key where another sequence would be called the same."""

    def place(fit: FitSpec) -> tuple[object, ...]:
        return fit.config.method.name, fit.config.tasks, fit.config.seed

    name: str = leaf.config.method.name
    alike = [other for other in leaves if place(other) == place(leaf)]
    return name if len(alike) == 1 else f"{name}-{leaf.key[:8]}"


def named(config: RunConfig, fit: FitSpec, keeps: Sequence[str], store: Store) -> RunConfig:
    """The settings under the name of the rerun, recorded with the stages that the name keeps.

    The same rerun has the same name, so that it goes on where it was interrupted.
    """
    plain = f"rerun-{fit.key[:12]}"
    only = {each.key for each in fit.lineage()} == set(keeps)
    name = plain if only else f"{plain}-{digest(sorted(keeps))[:8]}"
    config = replace(config, name=name)
    known = store.runs.read(name)
    if known is None or differences(RunConfig.from_json(known.config), config):
        store.runs.create(name, config.to_json(), keeps)
    return config


def train(
    config: RunConfig, store: Store, dataset: ShardDataset, tree: PrefixTree, display: Display
) -> TreeResult:
    """Train what the store lacks of the tree.

    Raises:
        RerunFailed: a stage failed.
        KeyboardInterrupt: someone pressed Ctrl-C.
    """
    ended, _ = execute(config, store, dataset, tree, display)
    if ended.interrupted:
        raise KeyboardInterrupt
    for outcome in ended.failed:
        reason = outcome.failure.message if outcome.failure else "no reason given"
        raise RerunFailed(f"stage {outcome.key[:12]} could not be trained again: {reason}")
    return ended


def eval_of(fit: FitSpec, split: str, fingerprints: Mapping[str, str]) -> EvalSpec:
    """The stage's row on ``test``, or on ``val``, which is a part of the training images."""
    return EvalSpec(fit, split, fingerprints["test" if split == "test" else "train"])


def split_of(fit: FitSpec, fingerprints: Mapping[str, str], store: Store) -> str:
    """What the sealed stage was scored on: ``test``, or ``val`` where a sweep alone wanted it."""
    return next(
        (split for split in ("test", "val") if row_of(fit, split, fingerprints, store)), "test"
    )


def row_of(fit: FitSpec, split: str, fingerprints: Mapping[str, str], store: Store) -> Row:
    """Its row of R; empty where the store has none."""
    return formats.read_row(store, eval_of(fit, split, fingerprints).key) or {}


def steps_of(fit: FitSpec, store: Store) -> int:
    """Optimiser steps that its sealed training took."""
    manifest = store.manifest(ArtifactKind.FIT, fit.key)
    return int(manifest["steps"]) if manifest else 0
