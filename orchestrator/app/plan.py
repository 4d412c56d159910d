"""``had plan``: what a run would train, and what the store holds already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.app.datasets import Note, fingerprints
from orchestrator.app.planning import sequences_of
from orchestrator.app.preflight import check_sizes
from orchestrator.display.results import PlanResult
from orchestrator.plan.artifacts import ArtifactKind
from orchestrator.plan.dry_run import dry_run
from orchestrator.plan.tree import PrefixTree
from orchestrator.store import Store

if TYPE_CHECKING:
    from orchestrator.config import RunConfig


def plan(config: RunConfig, note: Note = lambda text: None) -> PlanResult:
    """Plan without training; writes nothing, and makes no store where there is none."""
    check_sizes(config)
    store = Store.open(config.store.root) if Store.exists(config.store.root) else None
    tree = PrefixTree.of(sequences_of(config, fingerprints(config.dataset, note)))
    return PlanResult(
        name=config.name,
        recipe=config.recipe,
        store=config.store.root,
        plan=dry_run(tree, store.is_sealed if store else _nothing).to_json(),
        compares=bool(config.compared),
    )


def _nothing(kind: ArtifactKind, key: str) -> bool:
    """What a store that does not exist yet holds."""
    return False
