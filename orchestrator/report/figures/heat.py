"""R as heat maps: what every task is worth after every stage, method beside method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from had_core.tasks import MetricSpec
from orchestrator.display.numbers import ARROWS, number
from orchestrator.display.summary import Spread
from orchestrator.report.figures.curves import value_after
from orchestrator.report.figures.style import FONT, WIDTH, Drawing, breakable, drawing, to_svg
from orchestrator.report.model import Report

MOST_ORDERS = 4
MOST_METHODS = 4
_CELL, _WIDE, _WIDEST, _LEFT = 0.42, 0.71, 0.9, 1.05  # inches: of a cell, and room beside
_SPAN = 0.1  # of a task's best score: shades cover at least so much, so that noise looks alike
_DARK = 0.48  # below, a cell is dark and its number white

Matrix = Sequence[Sequence[Spread | None]]  # after stage x task


def r_maps(report: Report) -> list[Drawing]:
    """One figure an order; none while nothing is scored."""
    found: list[Drawing] = []
    for order in report.orders:
        names = [s.method for s in report.result.methods if s.lifelong][:MOST_METHODS]
        matrices = {name: _matrix(report, name, order) for name in names}
        matrices = {name: m for name, m in matrices.items() if any(map(any, m))}
        if matrices and len(found) < MOST_ORDERS:
            found.append(_figure(report, order, matrices, explain=not found))
    return found


def _matrix(report: Report, method: str, order: tuple[str, ...]) -> Matrix:
    sequences = [s for s in report.result.run.sequences if s.method == method and s.order == order]
    metrics = report.result.run.metrics
    return [
        [value_after(sequences, position, task, metrics[task][0].name) for task in order]
        for position in range(1, len(order) + 1)
    ]


def _figure(
    report: Report, order: tuple[str, ...], matrices: Mapping[str, Matrix], *, explain: bool
) -> Drawing:
    metrics = [report.result.run.metrics[task][0] for task in order]
    shades = _shades(metrics, list(matrices.values()))
    across = max(1, min(len(matrices), int((WIDTH - _LEFT) / (_WIDE * len(order)))))
    down = -(-len(matrices) // across)
    across = -(-len(matrices) // down)  # rows of equal length
    width = min(WIDTH, _LEFT + _WIDE * len(order) * across)
    if across == 1:
        width = min(WIDTH, _LEFT + _WIDEST * len(order))
    with drawing(width, down * (1.05 + _CELL * len(order))) as figure:
        grid = figure.subplots(down, across, sharey=True, squeeze=False)
        for axes, (name, matrix), shade in zip(grid.flat, matrices.items(), shades, strict=False):
            _map(axes, matrix, shade)
            axes.set_title(name)
            _ticks(axes, order, metrics)
        for axes in list(grid.flat)[len(matrices) :]:
            axes.set_visible(False)
        for row in grid:
            row[0].set_ylabel("after stage")
        svg = to_svg(figure)
    said, name = " → ".join(order), report.order_names[order]
    if name != said:
        said = f"{name}: {said}"
    return Drawing(
        svg,
        f"Heat maps of R for {', '.join(matrices)} in the order {said}: "
        + "; ".join(f"{name}: {_in_words(order, matrix)}" for name, matrix in matrices.items()),
        f"{said}. {_EXPLAINED if explain else ''}",
    )


_EXPLAINED = (
    "Rows: after which stage; columns: tasks, with the mean over seeds of the headline metric. "
    "Bright is good; the shades of a task run from its worst to its best score here, over a tenth "
    "of the best at least."
)


def _ticks(axes: Any, order: tuple[str, ...], metrics: Sequence[MetricSpec]) -> None:
    names = [
        f"{breakable(task)}\n{metric.name} {ARROWS[metric.direction]}"
        for task, metric in zip(order, metrics, strict=True)
    ]
    axes.set_xticks(range(len(order)), names, fontsize=FONT - 2)
    axes.set_yticks(range(len(order)), [f"{k} {task}" for k, task in enumerate(order, 1)])


def _in_words(order: Sequence[str], matrix: Matrix) -> str:
    """The last row."""
    last = [f"{task} {number(s.mean)}" for task, s in zip(order, matrix[-1], strict=True) if s]
    return "at the end " + ", ".join(last) if last else "not finished"


def _shades(
    metrics: Sequence[MetricSpec], matrices: Sequence[Matrix]
) -> list[list[list[float | None]]]:
    """0 for the worst to 1 for the best of each task, over all matrices."""
    spans = []
    for column, metric in enumerate(metrics):
        values = [
            metric.direction.sign * cell.mean
            for matrix in matrices
            for row in matrix
            if (cell := row[column]) is not None
        ]
        high = max(values, default=0.0)
        spans.append((min([*values, high - _SPAN * abs(high)]), high))

    def shade(column: int, cell: Spread | None) -> float | None:
        if cell is None:
            return None
        low, high = spans[column]
        score = metrics[column].direction.sign * cell.mean
        return (score - low) / (high - low) if high > low else 1.0

    return [[[shade(k, cell) for k, cell in enumerate(row)] for row in m] for m in matrices]


def _map(axes: Any, matrix: Matrix, shades: Sequence[Sequence[float | None]]) -> None:
    import numpy as np

    values = np.array([[np.nan if s is None else s for s in row] for row in shades])
    axes.imshow(values, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for i, row in enumerate(matrix):
        for j, cell in enumerate(row):
            shade = shades[i][j]
            if cell is not None and shade is not None:
                colour = "white" if shade < _DARK else "black"
                axes.text(j, i, number(cell.mean), ha="center", va="center", color=colour)
