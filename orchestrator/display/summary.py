"""Means over orders and seeds: the numbers of the closing table. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.display.results import RunResult, SequenceResult


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of some values; ``std`` is None for a single one."""

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
class MethodSummary:
    """One method over all its orders and seeds.

    Attributes:
        final: task -> metric -> spread, after the last stage.
    """

    method: str
    sequences: int
    final: dict[str, dict[str, Spread | None]]
    delta_m_pct: Spread | None
    forgetting: Spread | None
    mean_rank: Spread | None


def summarise(result: RunResult) -> tuple[MethodSummary, ...]:
    """One summary a method, the reference first."""
    names = list(dict.fromkeys(s.method for s in result.sequences))
    names.sort(key=lambda name: name != result.reference)
    return tuple(
        _of_method(name, [s for s in result.sequences if s.method == name], result)
        for name in names
    )


def _of_method(name: str, sequences: list[SequenceResult], result: RunResult) -> MethodSummary:
    final = {
        task: {m.name: Spread.of(_last(s, task, m.name) for s in sequences) for m in metrics}
        for task, metrics in result.metrics.items()
    }
    return MethodSummary(
        method=name,
        sequences=len(sequences),
        final=final,
        delta_m_pct=Spread.of(s.delta_m_pct for s in sequences),
        forgetting=Spread.of(s.forgetting for s in sequences),
        mean_rank=Spread.of(s.mean_rank for s in sequences),
    )


def _last(sequence: SequenceResult, task: str, metric: str) -> float | None:
    """From the last row that knows the task: ``single`` has each task in one row only."""
    rows = [row for row in sequence.r_matrix if task in row]
    return rows[-1][task].get(metric) if rows else None
