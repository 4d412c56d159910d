"""From a run's configuration to its sequences of stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from orchestrator.plan.expand import PlanRequest, expand
from orchestrator.plan.specs import SequenceSpec

if TYPE_CHECKING:
    from orchestrator.config import RunConfig


def sequences_of(config: RunConfig, fingerprints: Mapping[str, str]) -> tuple[SequenceSpec, ...]:
    """Every sequence the run wants: methods (the reference first) x seeds x orders."""
    return tuple(
        sequence
        for method in config.methods
        for sequence in expand(
            PlanRequest(
                method=method,
                orders=config.orders,
                seeds=config.seeds,
                net=config.net,
                train=config.train,
                slicing=config.slicing,
                fingerprints=fingerprints,
                workers=config.cluster.workers,
            )
        )
    )
