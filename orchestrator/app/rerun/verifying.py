"""Without overrides: the stage is trained where its sealed result cannot be seen, and compared.

Inside one numerics class it has to come out bit for bit. Across classes (other workers, threads,
device or versions) rounding differs and training amplifies it, so there the two nets have to lie
within ``TOLERANCE`` of each other.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from had_core.errors import BadInput
from orchestrator.app.datasets import fingerprints_of
from orchestrator.app.family import descendants as sealed_descendants
from orchestrator.app.rerun.asked import alone, apply, check_data
from orchestrator.app.rerun.training import RerunFailed, row_of, steps_of, train, tree_of
from orchestrator.app.stages import KnownStage, damaged, find_stage
from orchestrator.config import RunConfig
from orchestrator.display.results import RerunResult, metrics_of
from orchestrator.execution import formats
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.numerics import NumericsClass
from orchestrator.plan.specs import FitSpec
from orchestrator.store import Store

if TYPE_CHECKING:
    from had_core.data import ShardDataset
    from orchestrator.display.live import Display
    from orchestrator.store import Sealed

TOLERANCE = 0.01
"""Across numerics classes: the largest |rerun - sealed| / |sealed| over all weights (2-norms).

One thread against two: 1e-7 after 4 to 80 steps, at most 3e-3 after 240; but 0.098 for a second
stage of the quickstart (140 steps of Adam), which is then told as not reproduced. A learning rate
that is 10 % off: 2e-3 after 4 steps, 0.02 after 80, 0.05 after 240; another seed: 0.7."""


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
    for each in family:
        check_data(each.fit, dataset)
    first, *others = (
        _verify(each, config, store, dataset, display)
        for each, config in zip(family, configs, strict=True)
    )
    return replace(first, descendants=tuple(others))


def _verify(
    known: KnownStage, config: RunConfig, store: Store, dataset: ShardDataset, display: Display
) -> RerunResult:
    fit, fingerprints = known.fit, fingerprints_of(dataset.manifest)
    sealed = store.load(ArtifactKind.FIT, fit.key)
    if sealed is None:
        raise damaged(fit.key)
    with store_with_parent(fit, store) as aside:
        untracked = replace(config.tracking, enabled=False)
        config = replace(alone(config, fit.config), tracking=untracked)
        ended = train(config, aside, dataset, tree_of([fit], fingerprints), display)
        again = aside.load(ArtifactKind.FIT, fit.key)
        if again is None or fit.key in ended.found:
            raise RerunFailed(f"stage {fit.key[:12]} was not trained again")
        return RerunResult(
            key=fit.key,
            new_key=fit.key,
            tasks=fit.config.tasks,
            metrics=metrics_of(tasks_of(fit, dataset)),
            row=row_of(fit, fingerprints, aside),
            store=store.uri,
            steps_run=steps_of(fit, aside),
            sealed_row=row_of(fit, fingerprints, store),
            **_compared(again, sealed),
        )


def _compared(again: Sealed, sealed: Sealed) -> dict[str, Any]:
    """What the result says about the weights."""
    from had_core.tensors import first_difference, from_bytes, relative_distance

    mine, theirs = (from_bytes(one.read(formats.NET))[0] for one in (again, sealed))
    difference = first_difference(theirs, mine)
    same = _same_class(again.manifest, sealed.manifest)
    return {
        "reproduced": difference is None,
        "first_difference": difference[0] if difference else None,
        "difference": difference[1] if difference else None,
        "distance": relative_distance(mine, theirs),
        "tolerance": 0.0 if same else TOLERANCE,
        "same_numerics": same,
    }


def _same_class(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Whether both were trained in one numerics class from the first epoch to the last."""
    if theirs.get("mixed_numerics", False):
        return False
    left, right = (NumericsClass.from_json(manifest["numerics"]) for manifest in (mine, theirs))
    return not left.differences(right)


@contextmanager
def store_with_parent(fit: FitSpec, store: Store) -> Iterator[Store]:
    """A store that holds the parent's artefacts and nothing else; removed afterwards."""
    folder = Path(store.uri) / "scratch" / f"rerun-{fit.key[:12]}-{uuid.uuid4().hex[:8]}"
    try:
        aside = Store.open(folder)
        if fit.parent is not None:
            _copy(ArtifactKind.FIT, fit.parent.key, store, aside)
        if fit.parent_memory is not None:
            _copy(ArtifactKind.MEMORY, fit.parent_memory.key, store, aside)
        yield aside
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(kind: ArtifactKind, key: str, source: Store, target: Store) -> None:
    sealed = source.load(kind, key)
    if sealed is None:
        raise BadInput(f"{kind.value} {key[:12]} is not in store {source.uri}")
    files = {file.name: sealed.read(file.name) for file in sealed.files}
    target.seal(kind, key, files, sealed.manifest)


def tasks_of(fit: FitSpec, dataset: ShardDataset) -> tuple[Any, ...]:
    return tuple(task for task in dataset.manifest.tasks if task.name in fit.config.tasks)
