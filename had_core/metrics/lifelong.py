"""What a whole sequence achieved: the R matrix and the numbers drawn from it.

``R[i][j]`` holds the test metrics of task ``j`` after stage ``i`` (1-based). Every metric declares
its direction; here all differences are *oriented* (s = +1 where higher is better, else -1), so that
positive always means better, except for forgetting, where positive means worse.

Delta_m and plasticity count the metrics with ``in_delta``; forgetting and BWT take the headline
metric of a task (its first) or all of those (``Scope``). A number that the data leave undefined
(a NaN metric, a base of 0) is left out of means; a mean of nothing is NaN.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from had_core.errors import BadInput
from had_core.tasks import DenseTask, Direction, MetricSpec

Row = Mapping[str, Mapping[str, float]]


class Scope(enum.Enum):
    """Which metrics of a task count: its HEADLINE (the first), or ALL with ``in_delta``."""

    HEADLINE = "headline"
    ALL = "all"

    def of(self, task: DenseTask) -> tuple[MetricSpec, ...]:
        if self is Scope.HEADLINE:
            return task.metrics[:1]
        return tuple(metric for metric in task.metrics if metric.in_delta)


@dataclass(frozen=True)
class RMatrix:
    """The metrics after each stage of one sequence.

    Attributes:
        order: task names in the order of their arrival.
        rows: stage (1-based) to ``{task: {metric: value}}``. ``single`` fills one task a row,
            ``joint`` only the last row.
    """

    order: tuple[str, ...]
    rows: Mapping[int, Row]

    def __post_init__(self) -> None:
        for stage, row in self.rows.items():
            if not 1 <= stage <= len(self.order):
                raise BadInput(f"R has a row {stage}, allowed is 1..{len(self.order)}")
            unknown = sorted(set(row) - set(self.order))
            if unknown:
                raise BadInput(f"row {stage} of R names task '{unknown[0]}', not in the order")

    @property
    def last(self) -> Row:
        """The metrics after the last stage that was run.

        Raises:
            BadInput: there is no row yet.
        """
        if not self.rows:
            raise BadInput("R has no row yet: at least one evaluated stage is needed")
        return self.rows[max(self.rows)]

    def value(self, stage: int, task: str, metric: str) -> float:
        """``R[stage][task]``; NaN where that was not measured."""
        return self.rows.get(stage, {}).get(task, {}).get(metric, math.nan)

    def history(self, task: str, metric: str) -> tuple[float, ...]:
        """The defined values of one metric over the stages, oldest first."""
        values = (self.value(stage, task, metric) for stage in sorted(self.rows))
        return tuple(value for value in values if math.isfinite(value))

    def learned(self, task: str) -> Mapping[str, float]:
        """The metrics of a task right after its own stage; empty where that was not measured."""
        if task not in self.order:
            return {}
        return self.rows.get(self.order.index(task) + 1, {}).get(task, {})

    def to_json(self) -> dict[str, Any]:
        """Plain values; undefined metrics are null, as JSON has no NaN."""
        rows = {
            str(stage): {task: _without_nan(metrics) for task, metrics in row.items()}
            for stage, row in sorted(self.rows.items())
        }
        return {"order": list(self.order), "rows": rows}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> RMatrix:
        """Inverse of ``to_json``."""
        rows = {
            int(stage): {task: _with_nan(metrics) for task, metrics in row.items()}
            for stage, row in raw["rows"].items()
        }
        return cls(tuple(raw["order"]), rows)


@dataclass(frozen=True)
class DeltaM:
    """Delta_m in percent, with what it is made of.

    Attributes:
        percent: mean over tasks of ``per_task``.
        per_task: mean over a task's metrics of ``s (M - B) / max(|B|, constant)``, in percent.
        plain_percent: the same over ``|B|`` (Maninis 2019), for comparison with other work.
        floored: ``(task, metric)`` where the constant prediction's score was the denominator.
        undefined: ``(task, metric)`` left out: NaN, infinite, or a denominator of 0.
    """

    percent: float
    per_task: Mapping[str, float]
    plain_percent: float
    floored: tuple[tuple[str, str], ...]
    undefined: tuple[tuple[str, str], ...]


def delta_m(
    tasks: Sequence[DenseTask], row: Row, reference: Row, constant: Row | None = None
) -> DeltaM:
    """Mean relative gain of ``row`` over ``reference`` (HAD's tables: the last row of naive).

    Forgetting can drive a reference to 0 (mIoU, shares of angles), where a relative gain
    explodes; so the denominator is never below the score of the constant prediction.

    Args:
        constant: scores of the constant prediction (``metrics.constant``); None: no such floor.
    """
    gains: dict[str, list[float]] = {}
    plain: dict[str, list[float]] = {}
    floored: list[tuple[str, str]] = []
    undefined: list[tuple[str, str]] = []
    for task in tasks:
        gains[task.name], plain[task.name] = [], []
        for metric in Scope.ALL.of(task):
            name = (task.name, metric.name)
            base = _at(reference, *name)
            floor = _at(constant, *name) if constant is not None else 0.0
            difference = metric.direction.sign * (_at(row, *name) - base)
            floors = math.isfinite(floor) and abs(floor) > abs(base)
            gain = _over(difference, floor if floors else base)
            if not math.isfinite(gain):
                undefined.append(name)
            elif floors:
                floored.append(name)
            gains[task.name].append(100 * gain)
            plain[task.name].append(100 * _over(difference, base))
    per_task = {task: _mean(values) for task, values in gains.items()}
    return DeltaM(
        percent=_mean(per_task.values()),
        per_task=per_task,
        plain_percent=_mean(_mean(values) for values in plain.values()),
        floored=tuple(floored),
        undefined=tuple(undefined),
    )


def forgetting(
    matrix: RMatrix, tasks: Sequence[DenseTask], scope: Scope = Scope.HEADLINE
) -> dict[str, float]:
    """Loss of each task from its best stage to the last one, as a share of its best.

    ``s (best_l R[l][j] - R[T][j]) / |best|``, the mean over the metrics in scope. The task that
    was learned last has had no time to be forgotten and is left out, so an empty result means a
    sequence of one stage. NaN where a task was scored once only (``joint``): there was no earlier
    stage to forget since.
    """
    result = {}
    for task in _old(matrix, tasks):
        losses = []
        for metric in scope.of(task):
            sign = metric.direction.sign
            history = matrix.history(task.name, metric.name)
            best = _best(history if len(history) > 1 else (), metric.direction)
            losses.append(_over(sign * (best - _at(matrix.last, task.name, metric.name)), best))
        result[task.name] = _mean(losses)
    return result


def bwt(
    matrix: RMatrix, tasks: Sequence[DenseTask], scope: Scope = Scope.HEADLINE
) -> dict[str, float]:
    """Backward transfer: change of each old task since its own stage, relative; positive is better.

    ``s (R[T][j] - R[j][j]) / |R[j][j]|``, after Lopez-Paz & Ranzato 2017, made relative because
    tasks have different units. Tasks as in ``forgetting``.
    """
    return {
        task.name: _gain(scope.of(task), matrix.last[task.name], matrix.learned(task.name))
        for task in _old(matrix, tasks)
    }


def plasticity(
    matrix: RMatrix, single: RMatrix, tasks: Sequence[DenseTask], scope: Scope = Scope.ALL
) -> dict[str, float]:
    """How well each task was learned in its own stage, against a net of its own, relative.

    ``s (R[j][j] - S[j][j]) / |S[j][j]|``; ``single`` has the same order, so that both saw the
    same images. Positive: the shared net learned it better.
    """
    return {
        task.name: _gain(scope.of(task), matrix.learned(task.name), single.learned(task.name))
        for task in tasks
    }


def mean_rank(rows: Mapping[str, Row], tasks: Sequence[DenseTask]) -> dict[str, float]:
    """Mean rank of each method over all task metrics; 1 is best, equal scores share their rank.

    A metric that is undefined for any method ranks none.
    """
    ranks: dict[str, list[float]] = {name: [] for name in rows}
    for task in tasks:
        for metric in task.metrics:
            scores = {
                name: metric.direction.sign * _at(row, task.name, metric.name)
                for name, row in rows.items()
            }
            if not all(math.isfinite(score) for score in scores.values()):
                continue
            for name, score in scores.items():
                better = sum(other > score for other in scores.values())
                equal = sum(other == score for other in scores.values())
                ranks[name].append(better + (equal + 1) / 2)
    return {name: _mean(values) for name, values in ranks.items()}


def mean_over_tasks(values: Mapping[str, float]) -> float:
    """Mean of the defined values; NaN where there is none."""
    return _mean(values.values())


def _old(matrix: RMatrix, tasks: Sequence[DenseTask]) -> list[DenseTask]:
    """Tasks that are in the last row and were learned before it."""
    last = max(matrix.rows, default=0)
    return [
        task
        for task in tasks
        if task.name in matrix.rows.get(last, {}) and matrix.order.index(task.name) + 1 < last
    ]


def _best(values: Sequence[float], direction: Direction) -> float:
    choose = max if direction is Direction.UP else min
    return choose(values, default=math.nan)


def _gain(
    metrics: Iterable[MetricSpec], after: Mapping[str, float], before: Mapping[str, float]
) -> float:
    """Mean oriented relative change over the metrics."""
    return _mean(
        _over(
            metric.direction.sign
            * (after.get(metric.name, math.nan) - before.get(metric.name, math.nan)),
            before.get(metric.name, math.nan),
        )
        for metric in metrics
    )


def _over(difference: float, base: float) -> float:
    return difference / abs(base) if base != 0 else math.nan


def _at(row: Row, task: str, metric: str) -> float:
    return row.get(task, {}).get(metric, math.nan)


def _mean(values: Iterable[float]) -> float:
    defined = [value for value in values if math.isfinite(value)]
    return math.fsum(defined) / len(defined) if defined else math.nan


def _without_nan(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def _with_nan(metrics: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in metrics.items()}
