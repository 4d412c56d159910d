"""The ancestors that a rerun needs and the store lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.app.datasets import fingerprints_of
from orchestrator.app.preflight import check_before_writing, check_place
from orchestrator.app.rerun.asked import alone
from orchestrator.app.rerun.training import named, train, tree_of
from orchestrator.app.stages import KnownStage
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.specs import FitSpec

if TYPE_CHECKING:
    from had_core.data import ShardDataset
    from orchestrator.config import RunConfig
    from orchestrator.display.live import Display
    from orchestrator.store import Store


def missing_ancestors(fit: FitSpec, store: Store) -> tuple[FitSpec, ...]:
    """Ancestors to train before this stage can start, the oldest first.

    Every byte of the youngest ancestor that is there is verified: a damaged one is missing too.
    """
    missing: list[FitSpec] = []
    child = fit
    while child.parent is not None and not _is_there(child, store):
        missing.append(child.parent)
        child = child.parent
    return tuple(reversed(missing))


def _is_there(child: FitSpec, store: Store) -> bool:
    """Whether the store holds all that ``child`` starts from."""
    parent, memory = child.parent, child.parent_memory
    assert parent is not None
    if store.load(ArtifactKind.FIT, parent.key) is None:
        return False
    return memory is None or store.load(ArtifactKind.MEMORY, memory.key) is not None


def train_ancestors(
    known: KnownStage,
    config: RunConfig,
    missing: Sequence[FitSpec],
    store: Store,
    dataset: ShardDataset,
    display: Display,
) -> None:
    """Train and seal them, in the numerics class of the stage; their own is gone with them."""
    if not missing:
        return
    parent = missing[-1]
    config = alone(config, parent.config)
    check_before_writing(config)
    check_place(config)
    keeps = [each.key for each in known.fit.lineage()]
    tree = tree_of(missing, fingerprints_of(dataset.manifest), known.fit)
    train(named(config, parent, keeps, store), store, dataset, tree, display)
