"""Methods against each other, over the same orders and seeds. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from had_core.canonical import to_plain
from had_core.tasks import Direction
from orchestrator.display.results import RunResult
from orchestrator.display.summary import MethodSummary, Spread, summarise


@dataclass(frozen=True)
class Paired:
    """How much Delta_m one method has over another, order by order and seed by seed.

    Pairs of one seed share stages, so they are no independent samples: ``std`` says how much the
    difference varies, and is no basis for a test that counts pairs.

    Attributes:
        mean, std: of ``method``'s Delta_m less ``against``'s, in points; over ``count`` pairs.
        won, tied, lost: pairs in which ``method`` had more, the same, less.
    """

    method: str
    against: str
    mean: float
    std: float | None
    count: int
    won: int
    tied: int
    lost: int


@dataclass(frozen=True)
class CompareResult:
    """A finished ``had compare``.

    Attributes:
        run: its sequences, as a run has them.
        results: where the table of every value lies, None where it was not written.
    """

    run: RunResult
    results: str | None = None

    @cached_property
    def methods(self) -> tuple[MethodSummary, ...]:
        """The reference first."""
        return summarise(self.run)

    @cached_property
    def paired(self) -> tuple[Paired, ...]:
        """Every two methods, the later against the earlier; the reference has a Delta_m of 0."""
        return paired(self.run, [summary.method for summary in self.methods])

    def to_json(self) -> dict[str, Any]:
        return {
            **self.run.to_json(),
            "methods": to_plain(self.methods),
            "paired": to_plain(self.paired),
            "results": self.results,
        }


def paired(result: RunResult, methods: Sequence[str]) -> tuple[Paired, ...]:
    """Of the orders and seeds in which both have a Delta_m; none where there is no such pair."""
    deltas = _deltas(result)
    found = []
    for against, method in itertools.combinations(methods, 2):
        theirs, ours = deltas.get(against, {}), deltas.get(method, {})
        gaps = [ours[place] - theirs[place] for place in ours if place in theirs]
        spread = Spread.of(gaps)
        if spread is not None:
            won, lost = sum(gap > 0 for gap in gaps), sum(gap < 0 for gap in gaps)
            counts = (spread.count, won, spread.count - won - lost, lost)
            found.append(Paired(method, against, spread.mean, spread.std, *counts))
    return tuple(found)


def _deltas(result: RunResult) -> Mapping[str, Mapping[object, float]]:
    """Method -> (order, seed) -> Delta_m; the reference's is 0 where it has finished."""
    deltas: dict[str, dict[object, float]] = {}
    for sequence in result.sequences:
        delta = sequence.delta_m_pct
        if sequence.method == result.reference and sequence.is_complete:
            delta = 0.0
        if delta is not None:
            deltas.setdefault(sequence.method, {})[sequence.order, sequence.seed] = delta
    return deltas


def turned(pair: Paired) -> Paired:
    """The same pair seen from the other method."""
    return Paired(
        pair.against, pair.method, -pair.mean, pair.std, pair.count, pair.lost, pair.tied, pair.won
    )


def between(pairs: Sequence[Paired], method: str, against: str) -> Paired | None:
    """``method`` against ``against``, whichever way round it is held."""
    for pair in pairs:
        if (pair.method, pair.against) == (method, against):
            return pair
        if (pair.against, pair.method) == (method, against):
            return turned(pair)
    return None


def best(
    spreads: Mapping[str, Spread | None], summaries: Sequence[MethodSummary], direction: Direction
) -> str | None:
    """The lifelong method with the best mean.

    One that lacks sequences or values has its mean over other orders and seeds than its rivals,
    so it is no candidate; bounds are none either.
    """
    means = {}
    for summary in summaries:
        spread = spreads.get(summary.method)
        if summary.lifelong and spread is not None and spread.count == summary.sequences:
            means[summary.method] = direction.sign * spread.mean
    return max(means, key=lambda name: means[name]) if len(means) > 1 else None


def reads_best(
    texts: Mapping[str, str], summaries: Sequence[MethodSummary], leader: str | None
) -> frozenset[str]:
    """Methods that may be best and whose mean reads like the leader's; a dash is no number."""
    if leader is None:
        return frozenset()
    means = {method: text.split(" ")[0] for method, text in texts.items()}
    return frozenset(
        s.method
        for s in summaries
        if s.lifelong and s.complete == s.sequences and means[s.method] == means[leader] != "-"
    )


def delta_spreads(result: CompareResult) -> dict[str, Spread | None]:
    """Method -> Delta_m, with the reference's own, which is 0 in every pair, where it has any."""
    deltas = {s.method: s.delta_m_pct for s in result.methods}
    for summary in result.methods:
        if summary.method == result.run.reference and summary.complete:
            deltas[summary.method] = Spread(0.0, None, summary.complete)
    return deltas
