"""Means over orders and seeds: the numbers of the closing tables. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from orchestrator.display.results import RunResult, SequenceResult


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation of some values; ``std`` is None for a single one."""

    mean: float
    std: float | None
    count: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """Of the values that exist; None where none does."""
        known = [value for value in values if value is not None]
        if not known:
            return None
        std = statistics.stdev(known) if len(known) > 1 else None
        return cls(statistics.fmean(known), std, len(known))


@dataclass(frozen=True)
class OrderSummary:
    """One method over the seeds of one order."""

    order: tuple[str, ...]
    delta_m_pct: Spread | None
    forgetting: Spread | None


@dataclass(frozen=True)
class MethodSummary:
    """One method over all its orders and seeds: of the sequences that are complete.

    Attributes:
        sequences: orders x seeds; complete: those whose every stage was scored.
        lifelong: whether one net learned task after task; else the method is a bound.
        final: task -> metric -> spread, after the last stage.
        orders: the same over the seeds of each order.
        over_orders: order sensitivity of Delta_m in points: the deviation over orders of the means
            over seeds; None for fewer than two orders.
        over_seeds: deviation of Delta_m over the seeds of an order, root mean square over orders;
            None for fewer than two seeds.
    """

    method: str
    sequences: int
    complete: int
    lifelong: bool
    final: dict[str, dict[str, Spread | None]]
    delta_m_pct: Spread | None
    delta_m_plain_pct: Spread | None
    forgetting: Spread | None
    bwt: Spread | None
    plasticity: Spread | None
    mean_rank: Spread | None
    orders: tuple[OrderSummary, ...]
    over_orders: float | None
    over_seeds: float | None


def summarise(result: RunResult) -> tuple[MethodSummary, ...]:
    """One summary a method, the reference first."""
    by_method: dict[str, list[SequenceResult]] = {}
    for sequence in result.sequences:
        by_method.setdefault(sequence.method, []).append(sequence)
    names = sorted(by_method, key=lambda name: name != result.reference)  # stable
    return tuple(_of_method(name, by_method[name], result) for name in names)


def _of_method(name: str, sequences: list[SequenceResult], result: RunResult) -> MethodSummary:
    complete = [sequence for sequence in sequences if sequence.is_complete]

    def spread(value: Callable[[SequenceResult], float | None]) -> Spread | None:
        return Spread.of(value(sequence) for sequence in complete)

    orders = _orders(complete)
    deltas = [order.delta_m_pct for order in orders if order.delta_m_pct]
    return MethodSummary(
        method=name,
        sequences=len(sequences),
        complete=len(complete),
        lifelong=all(sequence.is_lifelong for sequence in sequences),
        final={
            task: {
                metric.name: Spread.of(_last(sequence, task, metric.name) for sequence in complete)
                for metric in metrics
            }
            for task, metrics in result.metrics.items()
        },
        delta_m_pct=spread(lambda sequence: sequence.delta_m_pct),
        delta_m_plain_pct=spread(lambda sequence: sequence.delta_m_plain_pct),
        forgetting=spread(lambda sequence: sequence.forgetting),
        bwt=spread(lambda sequence: sequence.bwt),
        plasticity=spread(lambda sequence: sequence.plasticity),
        mean_rank=spread(lambda sequence: sequence.mean_rank),
        orders=orders,
        over_orders=_std([delta.mean for delta in deltas]),
        over_seeds=_root_mean_square([delta.std for delta in deltas if delta.std is not None]),
    )


def _orders(sequences: Sequence[SequenceResult]) -> tuple[OrderSummary, ...]:
    by_order: dict[tuple[str, ...], list[SequenceResult]] = {}
    for sequence in sequences:
        by_order.setdefault(sequence.order, []).append(sequence)
    return tuple(
        OrderSummary(
            order,
            Spread.of(sequence.delta_m_pct for sequence in group),
            Spread.of(sequence.forgetting for sequence in group),
        )
        for order, group in by_order.items()
    )


def _last(sequence: SequenceResult, task: str, metric: str) -> float | None:
    return sequence.final.get(task, {}).get(metric)


def _std(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


def _root_mean_square(values: Sequence[float]) -> float | None:
    if not values:
        return None
    return math.sqrt(statistics.fmean(value * value for value in values))
