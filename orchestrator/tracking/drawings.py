"""Pictures among a run's artifacts, as the plain values they are drawn from.

A record holds values, so that it stays cheap and comparable; the writer draws, once, when the run
has ended (``drawing.files``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from had_core.tasks import DenseTask, TaskKind
from orchestrator.tracking.events import PictureRef


@dataclass(frozen=True)
class HeatMap:
    """R: the headline metric of every task after every stage, coloured by what was forgotten.

    Attributes:
        columns: task, metric, and +1 where higher is better, -1 where lower is.
        rows: stage and its values; None where a task is not learned yet.
    """

    columns: tuple[tuple[str, str, int], ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]
    title: str
    path: str = "R.svg"


@dataclass(frozen=True)
class Spread:
    """One number in every order and seed, for several methods or settings.

    Attributes:
        lines: label and its values; the mean of each is marked.
        unit: what the axis shows.
    """

    lines: tuple[tuple[str, tuple[float, ...]], ...]
    unit: str
    title: str
    path: str = "order_spread.svg"


@dataclass(frozen=True)
class Predictions:
    """A table: every task's predictions on the fixed images after every stage.

    Attributes:
        stages: stage and its example pictures, in order.
    """

    stages: tuple[tuple[str, tuple[PictureRef, ...]], ...]
    path: str = "predictions.json"


Drawing = HeatMap | Spread | Predictions


def heat_map(
    rows: Sequence[tuple[str, Mapping[str, Mapping[str, float | None]]]],
    kinds: Mapping[str, str],
    title: str,
) -> HeatMap | None:
    """The heat map of rows of R; None where no kind of a task is known.

    Args:
        rows: stage, and task -> metric -> value.
        kinds: task -> its kind.
    """
    tasks = dict.fromkeys(task for _, row in rows for task in row)
    columns = []
    for task in tasks:
        sign = _sign(kinds.get(task, ""))
        metric = next((name for _, row in rows for name in row.get(task, ())), None)
        if sign and metric:
            columns.append((task, metric, sign))
    if not columns:
        return None
    values = [
        (stage, tuple(row.get(task, {}).get(metric) for task, metric, _ in columns))
        for stage, row in rows
    ]
    return HeatMap(tuple(columns), tuple(values), title)


def _sign(kind: str) -> int:
    """Direction of the headline metric of a kind of tasks; 0 for a kind of another version."""
    if kind not in {each.value for each in TaskKind}:
        return 0
    channels = {TaskKind.LABELS: 2, TaskKind.UNIT_VECTOR: 3}.get(TaskKind(kind), 1)
    return DenseTask("any", TaskKind(kind), channels).metrics[0].direction.sign
