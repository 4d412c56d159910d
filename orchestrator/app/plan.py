"""``had plan``: what a run would train, and what the store holds already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.app.datasets import Note, fingerprints
from orchestrator.app.planning import sequences_of
from orchestrator.app.preflight import check_sizes
from orchestrator.display.results import PlanResult
from orchestrator.plan.dry_run import dry_run
from orchestrator.plan.tree import PrefixTree
from orchestrator.store import Store

if TYPE_CHECKING:
    from orchestrator.config import RunConfig


def plan(config: RunConfig, note: Note = lambda text: None) -> PlanResult:
    """Plan without training; writes nothing but an empty store's layout file."""
    check_sizes(config)
    store = Store.open(config.store.root)
    tree = PrefixTree.of(sequences_of(config, fingerprints(config.dataset, note)))
    return PlanResult(
        name=config.name,
        recipe=config.recipe,
        store=config.store.root,
        plan=dry_run(tree, store.is_sealed).to_json(),
        compares=bool(config.compared),
    )
