"""What a setting is worth: from the scores of its orders to the study's values. Pure.

A trial's orders count in one seeded sequence that is common to all trials, whatever finishes first:
two running values after k orders compare the same k orders. For the mean the running value is an
unbiased estimate of the final one; for WORST and CVAR it is optimistic, because the orders that are
still to come can only lower it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from had_core.canonical import derive_seed
from orchestrator.search.settings import Objective

Order = tuple[str, ...]


@dataclass(frozen=True)
class OrderScore:
    """One order of one setting, averaged over the seeds.

    Attributes:
        delta_m_pct: Delta_m against the reference, in percent; higher is better.
        forgetting: oriented and relative, see ``had_core.metrics.lifelong``; lower is better.
    """

    delta_m_pct: float
    forgetting: float


def directions(objective: Objective) -> tuple[Literal["maximize", "minimize"], ...]:
    """Of the study's values, in Optuna's words."""
    return ("maximize",) if objective.is_single else ("maximize", "minimize")


def common_sequence(orders: Sequence[Order], seed: int) -> tuple[Order, ...]:
    """The orders in the sequence in which they count; their order in ``orders`` does not matter."""
    return tuple(sorted(orders, key=lambda order: derive_seed(seed, "sweep", list(order))))


def combine(objective: Objective, values: Sequence[float], alpha: float) -> float:
    """One number from Delta_m of every order.

    CVAR is the mean over the share ``alpha`` of the worst orders; where that is no whole number of
    orders the last one counts in part, so that alpha 1 is the mean and a small alpha the worst.

    Args:
        values: at least one.
    """
    if objective is Objective.WORST:
        return min(values)
    if objective is Objective.CVAR:
        return _mean_of_worst(values, alpha)
    return math.fsum(values) / len(values)


def running(objective: Objective, scores: Sequence[OrderScore], alpha: float) -> tuple[float, ...]:
    """The study's values after these orders; two of them for FINAL_AND_FORGETTING."""
    deltas = [score.delta_m_pct for score in scores]
    value = combine(objective, deltas, alpha)
    if objective.is_single:
        return (value,)
    return value, math.fsum(score.forgetting for score in scores) / len(scores)


def _mean_of_worst(values: Sequence[float], alpha: float) -> float:
    share = alpha * len(values)
    weights = [min(1.0, max(0.0, share - k)) for k in range(len(values))]
    weighed = math.fsum(w * v for w, v in zip(weights, sorted(values), strict=True))
    return weighed / math.fsum(weights)
