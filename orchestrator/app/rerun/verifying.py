"""Without overrides: the stage is trained where its sealed result cannot be seen, and compared.

Inside one numerics class it has to come out bit for bit. Across classes (other workers, threads,
device or versions) ``agreement`` says what has to be alike.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from had_core.errors import BadInput
from orchestrator.app.datasets import fingerprints_of
from orchestrator.app.family import descendants as sealed_descendants
from orchestrator.app.preflight import check_place
from orchestrator.app.rerun.agreement import agreement, bitwise_overrides, movement
from orchestrator.app.rerun.asked import alone, apply, check_data
from orchestrator.app.rerun.training import (
    RerunFailed,
    row_of,
    split_of,
    steps_of,
    train,
    tree_of,
)
from orchestrator.app.stages import KnownStage, damaged, find_stage
from orchestrator.config import RunConfig
from orchestrator.display.results import RerunResult, metrics_of
from orchestrator.execution import formats
from orchestrator.execution.scratch import lock_of
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.numerics import NumericsClass
from orchestrator.plan.specs import FitSpec
from orchestrator.store import Store

if TYPE_CHECKING:
    from had_core.data import ShardDataset
    from orchestrator.display.live import Display
    from orchestrator.store import Sealed


def verify(
    known: KnownStage,
    overrides: Sequence[str],
    store: Store,
    dataset: ShardDataset,
    display: Display,
    *,
    descendants: bool,
) -> RerunResult:
    """The stage, and its sealed descendants if asked for, each from its own sealed parent.

    Args:
        overrides: where to run; every stage runs in the numerics class it was sealed in otherwise.

    Raises:
        BadInput: one of them is damaged, or cannot be trained here; nothing was trained.
        RerunFailed: training failed.
    """
    found = sealed_descendants(store, known.fit.key) if descendants else ()
    family = [known, *(find_stage(store, fit.key) for fit in found)]
    configs = [apply(each, store, overrides).config for each in family]
    _check_places(family, configs)
    for each in family:
        check_data(each.fit, dataset)
    first, *others = (
        _verify(each, config, store, dataset, display)
        for each, config in zip(family, configs, strict=True)
    )
    return replace(first, descendants=tuple(others))


def _check_places(family: Sequence[KnownStage], configs: Sequence[RunConfig]) -> None:
    """Raise BadInput where one cannot be executed; with its own threads each can, without Ray."""
    places = {}
    for known, config in zip(family, configs, strict=True):
        own = NumericsClass.from_json(known.manifest["numerics"]).threads
        places[config.cluster, config.cluster.threads == own] = config
    for (_, as_sealed), config in places.items():
        check_place(config, more_threads=as_sealed)


def _verify(
    known: KnownStage, config: RunConfig, store: Store, dataset: ShardDataset, display: Display
) -> RerunResult:
    fit, fingerprints = known.fit, fingerprints_of(dataset.manifest)
    sealed = store.load(ArtifactKind.FIT, fit.key)
    if sealed is None:
        raise damaged(fit.key)
    split = split_of(fit, fingerprints, store)
    with store_with_parent(fit, store, _place_of(config)) as aside:
        untracked = replace(config.tracking, enabled=False)
        config = replace(alone(config, fit.config), tracking=untracked)
        tree = tree_of([fit], fingerprints, splits=lambda _: (split,))
        ended = train(config, aside, dataset, tree, display)
        again = aside.load(ArtifactKind.FIT, fit.key)
        if again is None or fit.key in ended.found:
            raise RerunFailed(f"stage {fit.key[:12]} was not trained again")
        result = RerunResult(
            key=fit.key,
            new_key=fit.key,
            tasks=fit.config.tasks,
            metrics=metrics_of(tasks_of(fit, dataset)),
            row=row_of(fit, split, fingerprints, aside),
            split=split,
            store=store.uri,
            steps_run=steps_of(fit, aside),
            sealed_row=row_of(fit, split, fingerprints, store),
        )
        parent = aside.load(ArtifactKind.FIT, fit.parent.key) if fit.parent is not None else None
        return _compared(result, fit, again, sealed, parent, dataset)


def _compared(
    result: RerunResult,
    fit: FitSpec,
    again: Sealed,
    sealed: Sealed,
    parent: Sealed | None,
    dataset: ShardDataset,
) -> RerunResult:
    """With what there is to say about the weights."""
    from had_core.tensors import first_difference, from_bytes, relative_distance

    mine, theirs = (from_bytes(one.read(formats.NET))[0] for one in (again, sealed))
    difference = first_difference(theirs, mine)
    here, there = (NumericsClass.from_json(one.manifest["numerics"]) for one in (again, sealed))
    mixed = bool(sealed.manifest.get("mixed_numerics", False))
    result = replace(
        result,
        reproduced=difference is None,
        first_difference=difference[0] if difference else None,
        difference=difference[1] if difference else None,
        distance=relative_distance(mine, theirs),
        same_numerics=not mixed and here == there,
        mixed_numerics=mixed,
        rerun_in=here,
        sealed_in=there,
        bitwise_with=bitwise_overrides(here, there, mixed),
    )
    if result.same_numerics:
        return replace(result, tolerance=0.0)
    start = from_bytes(parent.read(formats.NET))[0] if parent is not None else None
    left, right = (json.loads(one.read(formats.HISTORY)) for one in (again, sealed))
    moved = movement(fit, start, mine, theirs, dataset)
    rows = (result.row, result.sealed_row or {})
    return replace(result, checks=agreement(fit, left, right, rows, moved))


def _place_of(config: RunConfig) -> str:
    """The part of the numerics class that settings decide."""
    cluster = config.cluster
    return f"{cluster.workers}x{cluster.threads}-{cluster.device.value}"


@contextmanager
def store_with_parent(fit: FitSpec, store: Store, place: str) -> Iterator[Store]:
    """A store that holds the parent's artefacts and nothing else; removed afterwards.

    An interrupted verification leaves it, and the same one in the same ``place`` goes on there.
    """
    scratch, name = Path(store.uri) / "scratch", f"rerun-{fit.key[:12]}-{place}"
    folder = scratch / name
    folder.mkdir(parents=True, exist_ok=True)
    lock = lock_of(folder)
    if lock is None:  # somebody verifies the same stage now
        folder = scratch / f"{name}-{uuid.uuid4().hex[:8]}"
        folder.mkdir()
    kept = False
    try:
        aside = Store.open(folder / "store")
        if aside.is_sealed(ArtifactKind.FIT, fit.key):  # interrupted at the very end: train it
            shutil.rmtree(folder / "store")
            aside = Store.open(folder / "store")
        if fit.parent is not None:
            _copy(ArtifactKind.FIT, fit.parent.key, store, aside)
        if fit.parent_memory is not None:
            _copy(ArtifactKind.MEMORY, fit.parent_memory.key, store, aside)
        yield aside
    except KeyboardInterrupt:
        kept = lock is not None
        raise
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            lock.close()


def _copy(kind: ArtifactKind, key: str, source: Store, target: Store) -> None:
    sealed = source.load(kind, key)
    if sealed is None:
        raise BadInput(f"{kind.value} {key[:12]} is not in store {source.uri}")
    files = {file.name: sealed.read(file.name) for file in sealed.files}
    target.seal(kind, key, files, sealed.manifest)


def tasks_of(fit: FitSpec, dataset: ShardDataset) -> tuple[Any, ...]:
    return tuple(task for task in dataset.manifest.tasks if task.name in fit.config.tasks)
