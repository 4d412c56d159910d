"""What the overrides of ``had rerun`` ask for: the stage's settings, and where it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from had_core.canonical import to_plain
from had_core.configs import TrainConfig
from had_core.decode import decode
from had_core.errors import BadInput
from had_core.fit_config import FitConfig
from had_core.methods.base import MethodConfig
from orchestrator.app.stages import KnownStage
from orchestrator.config import (
    ClusterConfig,
    DatasetConfig,
    RunConfig,
    TrackingConfig,
    apply_overrides,
    override_key,
)
from orchestrator.plan.expand import worker_batch
from orchestrator.plan.numerics import NumericsClass
from orchestrator.plan.specs import FitSpec

if TYPE_CHECKING:
    from had_core.data import ShardDataset
    from orchestrator.store import Store

_PLACES = {"cluster": "cluster", "dataset": "dataset", "tracking": "tracking"}
_OF_THE_STAGE = {"method": "method", "train": "train", "seed": "seed"}
_OF_THE_PARENT = ("net", "data", "tasks", "order", "orders", "dataset.build", "dataset.tasks")
_ALLOWED = (
    f"{', '.join(_OF_THE_STAGE)} (of this stage alone), and where it runs: cluster, dataset.path, "
    "tracking"
)


@dataclass(frozen=True)
class Wanted:
    """What the overrides ask for.

    Attributes:
        config: the sealing run's settings, moved to where the stage is to run.
    """

    fit: FitConfig
    config: RunConfig


def apply(known: KnownStage, store: Store, overrides: Sequence[str]) -> Wanted:
    """The stage's own settings and place with the overrides on top.

    Raises:
        BadInput: a key that would change the parent too, or that is not one; names what is allowed.
    """
    for text in overrides:
        _refuse_parents(text, known.fit)
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
    cluster = decode(ClusterConfig, raw["cluster"], at="cluster")
    if cluster.threads is None:  # a whole option (cluster=inline) says nothing of the threads
        cluster = replace(cluster, threads=config.cluster.threads)
    moved = replace(
        config,
        cluster=cluster,
        dataset=decode(DatasetConfig, raw["dataset"], at="dataset"),
        tracking=decode(TrackingConfig, raw["tracking"], at="tracking"),
    )
    changed = replace(
        fit,
        method=method.effective(fit.old_tasks),
        train=train,
        seed=decode(int, raw["seed"], at="seed"),
    )
    return Wanted(changed, moved)


def _refuse_parents(text: str, fit: FitSpec) -> None:
    key = override_key(text)
    if not any(key == name or key.startswith(f"{name}.") for name in _OF_THE_PARENT):
        return
    if fit.parent is not None:
        raise BadInput(
            f"{key} cannot be changed here: it would change the parent of stage {fit.key[:12]} "
            f"too; allowed are {_ALLOWED}"
        )
    raise BadInput(
        f"{key} cannot be changed here: start another sequence with had run; allowed are {_ALLOWED}"
    )


def _placed_as_sealed(known: KnownStage, store: Store) -> RunConfig:
    """The sealing run's settings over this store, in the numerics class of the manifest."""
    numerics = NumericsClass.from_json(known.manifest["numerics"])
    config = known.config.at(replace(known.config.store, root=store.uri))
    cluster = replace(config.cluster, lanes=1, workers=numerics.workers, threads=numerics.threads)
    return replace(config, cluster=cluster)


def changes_of(overrides: Sequence[str]) -> list[str]:
    """The overrides that are about the stage and not about where it runs."""
    return [text for text in overrides if override_key(text).split(".")[0] not in _PLACES]


def new_fit(fit: FitSpec, wanted: Wanted) -> FitSpec:
    """The stage that is asked for: from the same parent."""
    return moved(fit, fit.parent, wanted.fit, wanted.config.cluster.workers)


def moved(fit: FitSpec, parent: FitSpec | None, config: FitConfig, workers: int) -> FitSpec:
    """The same stage with these settings, under this parent, trained by this many workers."""
    batch = worker_batch(config.net, config.train, config.method, workers)
    memory = fit.parent_memory
    if memory is not None and parent is not None and parent is not fit.parent:
        memory = replace(memory, fit=parent)
    return FitSpec(parent, config, fit.data_fingerprint, batch, memory)


def check_data(fit: FitSpec, dataset: ShardDataset) -> None:
    """Raise BadInput where this is not the data that the stage was trained on."""
    found = dataset.split("train").fingerprint
    if found != fit.data_fingerprint:
        raise BadInput(
            f"dataset.path={dataset.path} has the fingerprint {found[:12]}, stage {fit.key[:12]} "
            f"was trained on {fit.data_fingerprint[:12]}: name the folder of that data set"
        )


def alone(config: RunConfig, fit: FitConfig) -> RunConfig:
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
