"""From a run's configuration to its sequences of stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.plan.expand import PlanRequest, expand
from orchestrator.plan.specs import SequenceSpec

if TYPE_CHECKING:
    from orchestrator.config import RunConfig


def sequences_of(
    config: RunConfig,
    fingerprints: Mapping[str, str],
    orders: Sequence[tuple[str, ...]] | None = None,
    eval_splits: tuple[str, ...] = ("test",),
) -> tuple[SequenceSpec, ...]:
    """Every sequence the run wants: methods (the reference first) x seeds x orders.

    Args:
        orders: instead of the run's own.
        eval_splits: what every stage is scored on.
    """
    return tuple(
        sequence
        for label, method in config.methods
        for sequence in expand(
            PlanRequest(
                method=method,
                label=label,
                orders=tuple(orders or config.orders),
                seeds=config.seeds,
                net=config.net,
                train=config.train,
                slicing=config.slicing,
                fingerprints=fingerprints,
                workers=config.cluster.workers,
                eval_splits=eval_splits,
            )
        )
    )
