"""What a finished command has to show: frozen values with a JSON form (keys in docs/json.md)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from had_core.canonical import to_plain
from had_core.tasks import DenseTask, MetricSpec
from orchestrator.plan.numerics import NumericsClass

Row = Mapping[str, Mapping[str, float | None]]
"""One row of R: task -> metric -> value; None where a value is not defined."""


@dataclass(frozen=True)
class StageResult:
    """One stage of a sequence.

    Attributes:
        key: key of its fit.
        tasks: the tasks it learned.
        position: 1-based row of R that it filled.
        reused: whether this run found it sealed instead of training it.
        seconds: wall time of its training, 0 where it was reused.
    """

    key: str
    tasks: tuple[str, ...]
    position: int
    reused: bool
    seconds: float = 0.0


@dataclass(frozen=True)
class SequenceResult:
    """One method over one order with one seed.

    Attributes:
        r_matrix: row i holds the test metrics of the tasks known after stage i + 1; a row for
            every task of the order, empty where the method has no such stage (``joint``).
        delta_m_pct: Delta_m of the last row against the reference's, percent; None without one.
        delta_m_plain_pct: the same with the reference alone as the denominator, as the literature
            has it; it explodes where the reference forgot all.
        delta_m_by_task: what ``delta_m_pct`` is the mean of; empty without a reference.
        floored: ``task/metric`` where the reference was so near 0 that the constant prediction's
            score took its place in the denominator.
        undefined: ``task/metric`` that Delta_m leaves out, because a score is not defined.
        forgetting: relative, oriented, mean over the old tasks; None where no task was scored
            before the last stage, and while the sequence is not complete.
        bwt: backward transfer; None likewise.
        plasticity: how well tasks were learned in their own stage, against a net of their own;
            None where ``single`` is not among the methods.
        mean_rank: over all task metrics, among the run's methods in this order and seed; None
            where there is only one, or one of them has not finished.
    """

    method: str
    order: tuple[str, ...]
    seed: int
    r_matrix: tuple[Row, ...]
    stages: tuple[StageResult, ...] = ()
    delta_m_pct: float | None = None
    delta_m_plain_pct: float | None = None
    delta_m_by_task: Mapping[str, float | None] = field(default_factory=dict)
    floored: tuple[str, ...] = ()
    undefined: tuple[str, ...] = ()
    forgetting: float | None = None
    bwt: float | None = None
    plasticity: float | None = None
    mean_rank: float | None = None

    @property
    def final(self) -> Row:
        """Each task's last scores: the last row of R, or its own row for ``single``."""
        final: dict[str, Mapping[str, float | None]] = {}
        for row in self.r_matrix:
            final.update(row)
        return final

    @property
    def is_complete(self) -> bool:
        """Whether every task of the order was scored after it was learned."""
        return set(self.final) == set(self.order)

    @property
    def is_lifelong(self) -> bool:
        """Whether one net learned task after task: ``joint`` and ``single`` are bounds instead."""
        rows = [set(row) for row in self.r_matrix]
        known = [row == set(self.order[: i + 1]) for i, row in enumerate(rows)]
        learned = sum(map(bool, rows))
        return all(known[:learned]) and not any(rows[learned:])


@dataclass(frozen=True)
class StageFailure:
    """A stage that could not be trained, and so neither its successors.

    Attributes:
        traceback: the worker's own, empty where there is none.
    """

    key: str
    method: str
    tasks: tuple[str, ...]
    message: str
    traceback: str = ""


@dataclass(frozen=True)
class RunResult:
    """A finished ``had run`` or ``had resume``.

    Attributes:
        metrics: for every task its metrics in order; the first is the headline.
        reference: the method Delta_m refers to.
        store: where the sealed stages lie.
        tracking_uri: where MLflow's data lies, None where tracking is off.
        stages_trained: different stages this run trained; stages_reused: that it found sealed.
        seconds: wall time of the command.
    """

    name: str
    recipe: str
    metrics: Mapping[str, tuple[MetricSpec, ...]]
    sequences: tuple[SequenceResult, ...]
    store: str
    reference: str | None = None
    tracking_uri: str | None = None
    stages_trained: int = 0
    stages_reused: int = 0
    failures: tuple[StageFailure, ...] = field(default=())
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = to_plain(self)
        return plain


@dataclass(frozen=True)
class PlanResult:
    """A finished ``had plan``: the dry run and what it was asked about.

    Attributes:
        plan: ``orchestrator.plan.DryRun.to_json()``.
        compares: whether it plans a comparison, whose methods are told apart by their labels.
    """

    name: str
    recipe: str
    store: str
    plan: Mapping[str, Any]
    compares: bool = False

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "recipe": self.recipe, "store": self.store, **self.plan}


@dataclass(frozen=True)
class Check:
    """One of the things that have to be alike where a rerun cannot be bit for bit.

    Attributes:
        name: ``opening``, ``weights`` or ``metrics``.
        value: how far apart they are, relative; None where they cannot be compared, or are not
            numbers.
        allowed: the largest value that rounding may explain.
        where: what is farthest apart.
    """

    name: str
    value: float | None
    allowed: float
    where: str

    @property
    def holds(self) -> bool:
        return self.value is not None and self.value <= self.allowed


@dataclass(frozen=True)
class RerunResult:
    """A finished ``had rerun``.

    Attributes:
        key: the stage asked for; new_key: the one trained, the same without overrides.
        reproduced: whether the weights came out bit for bit as sealed; None with overrides.
        first_difference: the first tensor, by name, that came out otherwise; None where none did.
        difference: its largest absolute difference; infinite where shape or type differ.
        distance: of all weights from the sealed ones, relative, in 2-norms; None with overrides.
        tolerance: 0 where this machine is of the numerics class of the sealed stage, else None.
        checks: what was compared across numerics classes; empty in the same one.
        steps_run: optimiser steps the rerun took; 0 where the new stage was in the store already.
        same_numerics: whether this machine is of the numerics class of the sealed stage, within
            which weights are the same bit for bit; None with overrides.
        mixed_numerics: whether the stage was sealed half in one class and half in another.
        rerun_in, sealed_in: the numerics classes; None with overrides.
        bitwise_with: overrides with which a rerun on this machine is in the class of the sealed
            stage; None where none can make it so, and with overrides.
        split: what the rows are scored on, ``test`` or ``val``.
        row: the R row of the rerun.
        sealed_row: the R row in the store of the stage asked for.
        ancestors: keys of the ancestors that were trained first, the oldest first.
        descendants: the same of every stage that starts from the one asked for, parents first.
    """

    key: str
    new_key: str
    tasks: tuple[str, ...]
    metrics: Mapping[str, tuple[MetricSpec, ...]]
    row: Row
    store: str
    split: str = "test"
    reproduced: bool | None = None
    first_difference: str | None = None
    difference: float | None = None
    distance: float | None = None
    tolerance: float | None = None
    checks: tuple[Check, ...] = ()
    steps_run: int = 0
    same_numerics: bool | None = None
    mixed_numerics: bool = False
    rerun_in: NumericsClass | None = None
    sealed_in: NumericsClass | None = None
    bitwise_with: tuple[str, ...] | None = None
    sealed_row: Row | None = None
    ancestors: tuple[str, ...] = ()
    descendants: tuple[RerunResult, ...] = ()
    seconds: float = 0.0

    @property
    def agrees(self) -> bool | None:
        """Across numerics classes, whether all checks hold; None in the same one."""
        return all(check.holds for check in self.checks) if self.checks else None

    @property
    def holds(self) -> bool:
        """Whether nothing came out otherwise than it has to, descendants included."""
        mine = self.reproduced is not False or self.agrees is True
        return mine and all(each.holds for each in self.descendants)

    def to_json(self) -> dict[str, Any]:
        own = replace(self, difference=None, distance=None, descendants=())
        plain: dict[str, Any] = to_plain(own)
        return {
            **plain,
            "agrees": self.agrees,
            "checks": [{**to_plain(check), "holds": check.holds} for check in self.checks],
            "difference": _finite(self.difference),
            "distance": _finite(self.distance),
            "descendants": [each.to_json() for each in self.descendants],
        }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def metrics_of(tasks: tuple[DenseTask, ...]) -> dict[str, tuple[MetricSpec, ...]]:
    """The ``metrics`` of a result."""
    return {task.name: task.metrics for task in tasks}
