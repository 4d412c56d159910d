"""The stages that settings plan, sealed or not: what ``had plan`` prints the keys of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from had_core.errors import HadError
from orchestrator.app.datasets import fingerprints
from orchestrator.app.planning import sequences_of
from orchestrator.config import RunConfig, compose
from orchestrator.plan.bulk import no_collection
from orchestrator.plan.specs import FitSpec

if TYPE_CHECKING:
    from orchestrator.store import Store

Plan = Mapping[str, FitSpec]
"""Key -> spec."""


def asked_plan(overrides: Sequence[str], note: Callable[[str], None]) -> Plan:
    """What ``had run`` or ``had plan`` would plan with these overrides.

    Raises BadInput for settings that cannot be used.
    """
    return dict(_stages(compose(overrides, searches=False), note))


def recorded_plan(store: Store) -> Iterator[tuple[str, FitSpec]]:
    """What the runs of a store plan, as far as their data sets are there."""
    for record in store.runs.list():
        try:
            yield from _stages(RunConfig.from_json(record.config), lambda text: None)
        except HadError:
            continue


def _stages(config: RunConfig, note: Callable[[str], None]) -> Iterator[tuple[str, FitSpec]]:
    with no_collection():
        for sequence in sequences_of(config, fingerprints(config.dataset, note)):
            for stage in sequence.stages:
                yield stage.key, stage.fit
