"""``had rerun``: one stage again, from its parent's stored checkpoint.

Without overrides the stage is trained in a store of its own that holds nothing but the parent, so
the sealed result cannot be found, reused or replaced; then the two are compared. With overrides it
is trained in the store itself, as a new stage beside the old one.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from had_core.canonical import to_plain
from had_core.configs import TrainConfig
from had_core.decode import decode
from had_core.errors import BadInput, HadError
from had_core.fit_config import FitConfig
from had_core.methods.base import MethodConfig
from orchestrator.app.datasets import fingerprints_of, open_dataset
from orchestrator.app.preflight import check_before_writing, check_place
from orchestrator.app.run import execute
from orchestrator.app.stages import KnownStage, find_stage, tree_of
from orchestrator.config import (
    ClusterConfig,
    DatasetConfig,
    RunConfig,
    TrackingConfig,
    apply_overrides,
)
from orchestrator.display.results import RerunResult, metrics_of
from orchestrator.execution import formats
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.expand import worker_batch
from orchestrator.plan.numerics import NumericsClass
from orchestrator.plan.specs import FitSpec
from orchestrator.store import Store

if TYPE_CHECKING:
    from had_core.data import ShardDataset
    from orchestrator.config import StoreConfig
    from orchestrator.display.live import Display
    from orchestrator.display.results import Row
    from orchestrator.plan.tree import PrefixTree

_PLACES = {"cluster": "cluster", "dataset": "dataset", "tracking": "tracking"}
_OF_THE_STAGE = {"method": "method", "train": "train", "seed": "seed"}
_OF_THE_PARENT = ("net", "data", "tasks", "order", "orders", "dataset.build", "dataset.tasks")


class RerunFailed(HadError):
    """The stage could not be trained again."""


@dataclass(frozen=True)
class _Wanted:
    """What the overrides ask for: the stage's settings and where it runs."""

    fit: FitConfig
    config: RunConfig


def rerun(name: str, where: StoreConfig, overrides: Sequence[str], display: Display) -> RerunResult:
    """Train the stage again; see the module.

    Raises:
        BadInput: an unknown stage, a parent that the store lacks, overrides that would change the
            parent or nothing at all, or a stage that exists already.
        RerunFailed: training failed.
    """
    started = time.perf_counter()
    store = Store.open(where.root)
    known = find_stage(store, name)
    wanted = _apply(known, store, overrides)
    dataset = open_dataset(wanted.config.dataset, display.note)
    _check_data(known.fit, dataset)
    _check_parent(known.fit, store)
    fit = _new_fit(known.fit, wanted)
    if fit.key == known.fit.key:
        changed = [text for text in overrides if _first(text) not in _PLACES]
        if changed:
            raise BadInput(
                f"{' '.join(changed)} changes nothing in stage {fit.key[:12]}: leave it out to "
                "verify the stage"
            )
        result = _verify(known, wanted.config, store, dataset, display)
    else:
        result = _branch(known, fit, wanted.config, store, dataset, display)
    return replace(result, seconds=time.perf_counter() - started)


# What is asked for ------------------------------------------------------------------------------


def _apply(known: KnownStage, store: Store, overrides: Sequence[str]) -> _Wanted:
    for text in overrides:
        key = text.partition("=")[0].lstrip("+~")
        if any(key == name or key.startswith(f"{name}.") for name in _OF_THE_PARENT):
            if known.fit.parent is not None:
                raise BadInput(
                    f"{key} cannot be changed here: it would change the parent of stage "
                    f"{known.fit.key[:12]} too; allowed are {', '.join(_OF_THE_STAGE)}"
                )
            raise BadInput(
                f"{key} cannot be changed here: start another sequence with had run; allowed are "
                f"{', '.join(_OF_THE_STAGE)}"
            )
    fit, config = known.fit.config, _placed_as_sealed(known, store)
    raw: dict[str, Any] = {
        "method": {"name": fit.method.name, **to_plain(fit.method)},
        "train": to_plain(fit.train),
        "seed": fit.seed,
        "cluster": to_plain(config.cluster),
        "dataset": to_plain(config.dataset),
        "tracking": to_plain(config.tracking),
    }
    raw = apply_overrides(raw, overrides, allowed={**_OF_THE_STAGE, **_PLACES})
    method = decode(MethodConfig, raw["method"], at="method")  # type: ignore[type-abstract]
    train = decode(TrainConfig, raw["train"], at="train")
    moved = replace(
        config,
        cluster=decode(ClusterConfig, raw["cluster"], at="cluster"),
        dataset=decode(DatasetConfig, raw["dataset"], at="dataset"),
        tracking=decode(TrackingConfig, raw["tracking"], at="tracking"),
    )
    changed = replace(
        fit,
        method=method.effective(fit.old_tasks),
        train=train,
        seed=decode(int, raw["seed"], at="seed"),
    )
    return _Wanted(changed, moved)


def _placed_as_sealed(known: KnownStage, store: Store) -> RunConfig:
    """The sealing run's settings over this store, in the numerics class of the manifest."""
    numerics = NumericsClass.from_json(known.manifest["numerics"])
    config = known.config.at(replace(known.config.store, root=store.uri))
    cluster = replace(config.cluster, lanes=1, workers=numerics.workers, threads=numerics.threads)
    return replace(config, cluster=cluster)


def _first(text: str) -> str:
    return text.partition("=")[0].lstrip("+~").split(".")[0]


def _new_fit(fit: FitSpec, wanted: _Wanted) -> FitSpec:
    batch = worker_batch(
        wanted.fit.net, wanted.fit.train, wanted.fit.method, wanted.config.cluster.workers
    )
    return FitSpec(fit.parent, wanted.fit, fit.data_fingerprint, batch, fit.parent_memory)


def _check_data(fit: FitSpec, dataset: ShardDataset) -> None:
    found = dataset.split("train").fingerprint
    if found != fit.data_fingerprint:
        raise BadInput(
            f"dataset.path={dataset.path} has the fingerprint {found[:12]}, stage {fit.key[:12]} "
            f"was trained on {fit.data_fingerprint[:12]}: name the folder of that data set"
        )


def _check_parent(fit: FitSpec, store: Store) -> None:
    if fit.parent is not None and store.load(ArtifactKind.FIT, fit.parent.key) is None:
        missing = [
            spec.key[:12]
            for spec in fit.lineage()[:-1]
            if not store.is_sealed(ArtifactKind.FIT, spec.key)
        ]
        raise BadInput(
            f"the parent of stage {fit.key[:12]} is not in the store: had run has to train "
            f"{', '.join(missing)} first"
        )


# Without overrides ------------------------------------------------------------------------------


def _verify(
    known: KnownStage, config: RunConfig, store: Store, dataset: ShardDataset, display: Display
) -> RerunResult:
    from had_core.tensors import first_difference, from_bytes

    fit = known.fit
    tree = tree_of(fit, fit.config.method.name, fingerprints_of(dataset.manifest))
    sealed = store.load(ArtifactKind.FIT, fit.key)
    if sealed is None:
        raise BadInput(f"stage {fit.key[:12]} is damaged: had run trains it again")
    with _store_with_parent(fit, store) as aside:
        untracked = replace(config.tracking, enabled=False)
        alone = replace(_alone(config, fit.config), tracking=untracked)
        _train(alone, aside, dataset, tree, display)
        again = aside.load(ArtifactKind.FIT, fit.key)
        if again is None:
            raise RerunFailed(f"stage {fit.key[:12]} could not be trained again")
        left, right = (from_bytes(one.read(formats.NET))[0] for one in (sealed, again))
        difference = first_difference(left, right)
        return RerunResult(
            key=fit.key,
            new_key=fit.key,
            tasks=fit.config.tasks,
            metrics=metrics_of(_tasks(dataset, fit)),
            row=_row(tree, aside),
            store=store.uri,
            reproduced=difference is None,
            first_difference=difference[0] if difference else None,
            difference=difference[1] if difference else None,
            same_numerics=_same_class(again.manifest, sealed.manifest),
            steps_run=int(again.manifest["steps"]),
            sealed_row=_row(tree, store),
        )


def _same_class(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Whether both were trained in one numerics class from the first epoch to the last."""
    if theirs.get("mixed_numerics", False):
        return False
    left, right = (NumericsClass.from_json(manifest["numerics"]) for manifest in (mine, theirs))
    return not left.differences(right)


@contextmanager
def _store_with_parent(fit: FitSpec, store: Store) -> Iterator[Store]:
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


# With overrides ---------------------------------------------------------------------------------


def _branch(
    known: KnownStage,
    fit: FitSpec,
    config: RunConfig,
    store: Store,
    dataset: ShardDataset,
    display: Display,
) -> RerunResult:
    if store.is_sealed(ArtifactKind.FIT, fit.key):
        raise BadInput(
            f"stage {fit.key[:12]} with these settings is in the store already: had rerun "
            f"{fit.key[:12]} trains it again"
        )
    tree = tree_of(fit, fit.config.method.name, fingerprints_of(dataset.manifest))
    named = replace(_alone(config, fit.config), name=f"rerun-{fit.key[:12]}")
    check_before_writing(named)
    check_place(named)
    store.runs.create(named.name, named.to_json())
    _train(named, store, dataset, tree, display)
    return RerunResult(
        key=known.fit.key,
        new_key=fit.key,
        tasks=fit.config.tasks,
        metrics=metrics_of(_tasks(dataset, fit)),
        row=_row(tree, store),
        store=store.uri,
        sealed_row=_row(tree_of(known.fit, "", fingerprints_of(dataset.manifest)), store),
    )


def _alone(config: RunConfig, fit: FitConfig) -> RunConfig:
    """The sealing run's settings narrowed to one stage."""
    return replace(
        config,
        tasks=fit.tasks,
        orders=(fit.tasks,),
        method=fit.method,
        reference=None,
        compared={},
        search=None,
        train=fit.train,
        seeds=(fit.seed,),
    )


def _train(
    config: RunConfig, store: Store, dataset: ShardDataset, tree: PrefixTree, display: Display
) -> None:
    ended, _ = execute(config, store, dataset, tree, display)
    if ended.interrupted:
        raise KeyboardInterrupt
    for outcome in ended.failed:
        reason = outcome.failure.message if outcome.failure else "no reason given"
        raise RerunFailed(f"stage {outcome.key[:12]} could not be trained again: {reason}")


def _row(tree: PrefixTree, store: Store) -> Row:
    (node,) = tree
    return formats.read_row(store, node.evals[0].key) or {}


def _tasks(dataset: ShardDataset, fit: FitSpec) -> tuple[Any, ...]:
    return tuple(task for task in dataset.manifest.tasks if task.name in fit.config.tasks)
