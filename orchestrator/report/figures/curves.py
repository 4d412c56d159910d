"""Forgetting: every task's headline metric through the stages, order by order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from had_core.tasks import Direction, MetricSpec
from orchestrator.display.numbers import ARROWS
from orchestrator.display.results import SequenceResult
from orchestrator.display.summary import Spread
from orchestrator.report.figures.style import WIDTH, Drawing, breakable, drawing, look_of, to_svg
from orchestrator.report.model import Report

MOST_ORDERS = 6
_ACROSS = 3  # orders beside each other
_MOST_NAMED = 4  # stages whose names fit below a panel
_PANEL = 1.75  # inches
_SPAN = 0.1  # of a task's values
_BESIDE = 6  # names of the legend
_SPREAD = 0.05  # stages between methods at one stage, so that their bars are told apart


def forgetting_curves(report: Report) -> list[Drawing]:
    """One figure for every few orders; none while nothing is scored."""
    orders = [order for order in report.orders if _scored(report, order)][:MOST_ORDERS]
    groups = [orders[k : k + _ACROSS] for k in range(0, len(orders), _ACROSS)]
    return [_figure(report, group) for group in groups]


def _scored(report: Report, order: tuple[str, ...]) -> bool:
    return any(any(s.r_matrix) for s in report.result.run.sequences if s.order == order)


def _figure(report: Report, orders: Sequence[tuple[str, ...]]) -> Drawing:
    metrics = report.result.run.metrics
    tasks = [task for task in metrics if any(task in order for order in orders)]
    width = WIDTH if len(orders) > 1 else 0.6 * WIDTH
    with drawing(width, 0.9 + _PANEL * len(tasks)) as figure:
        grid = figure.subplots(len(tasks), len(orders), sharey="row", squeeze=False)
        for row, task in enumerate(tasks):
            for column, order in enumerate(orders):
                axes = grid[row][column]
                _panel(axes, report, order, task, metrics[task][0])
                if row == 0:
                    axes.set_title(report.order_names[order])
                if column == 0:
                    axes.set_ylabel(_label(task, metrics[task][0]))
            _calm(grid[row][0])
        _legend(figure, grid)
        svg = to_svg(figure)
    shown = "; ".join(" → ".join(order) for order in orders)
    return Drawing(
        svg,
        f"Line charts: the headline metric of {', '.join(tasks)} after every stage, for each "
        f"method, in the orders {shown}. The numbers are in the table of R below.",
        "Each task from the stage that learned it to the end; up is better everywhere. "
        f"{_bars(report)} A curve that falls is forgetting.{_bounds(report)}"
        f"{_key(report, orders)}",
    )


def _key(report: Report, orders: Sequence[tuple[str, ...]]) -> str:
    """Which orders the numbers stand for."""
    named = {order: report.order_names[order] for order in orders}
    full = {order: " → ".join(order) for order in orders}
    return "".join(f" {named[o]}: {full[o]}." for o in orders if named[o] != full[o])


def _bars(report: Report) -> str:
    count = len(report.seeds)
    return f"Bars are ± one standard deviation over {count} seeds." if count > 1 else "One seed."


def _bounds(report: Report) -> str:
    """Why some methods are missing: their tasks were scored once."""
    names = [summary.method for summary in report.result.methods if not summary.lifelong]
    return f" Not shown, because they know no stages: {', '.join(names)}." if names else ""


def _label(task: str, metric: MetricSpec) -> str:
    unit = f" {metric.unit}" if metric.unit and not metric.name.endswith(metric.unit) else ""
    return f"{task}\n{metric.name}{unit} {ARROWS[metric.direction]}"


def _panel(
    axes: Any, report: Report, order: tuple[str, ...], task: str, metric: MetricSpec
) -> None:
    names = [summary.method for summary in report.result.methods if summary.lifelong]
    for number, name in enumerate(names):
        sequences = [
            s for s in report.result.run.sequences if s.method == name and s.order == order
        ]
        points = [
            (position, spread)
            for position in range(1, len(order) + 1)
            if (spread := value_after(sequences, position, task, metric.name)) is not None
        ]
        if not points:
            continue
        look = look_of(number)
        shift = (number - (len(names) - 1) / 2) * _SPREAD
        axes.errorbar(
            [position + shift for position, _ in points],
            [spread.mean for _, spread in points],
            yerr=_errors([spread for _, spread in points]),
            color=look.colour,
            marker=look.marker,
            linestyle=look.line,
            markersize=5,
            linewidth=1.4,
            elinewidth=0.8,
            capsize=2,
            label=name,
        )
    axes.set_xlim(0.7, len(order) + 0.3)
    ticks = [_tick(k, name, alone=len(order) > _MOST_NAMED) for k, name in enumerate(order, 1)]
    axes.set_xticks(range(1, len(order) + 1), ticks)
    axes.margins(y=0.15)
    if metric.direction is Direction.DOWN and not axes.yaxis_inverted():  # shared by a row
        axes.invert_yaxis()


def _calm(axes: Any) -> None:
    """Show a tenth of the values at least, so that noise does not look like forgetting."""
    low, high = sorted(axes.get_ylim())
    missing = _SPAN * max(abs(low), abs(high)) - (high - low)
    if missing > 0:
        limits = (low - missing / 2, high + missing / 2)
        axes.set_ylim(limits[::-1] if axes.yaxis_inverted() else limits)


def _errors(spreads: Sequence[Spread]) -> list[float] | None:
    stds = [spread.std for spread in spreads]
    return [std or 0.0 for std in stds] if any(stds) else None


def _tick(number: int, task: str, *, alone: bool) -> str:
    return str(number) if alone else f"{number}\n{breakable(task)}"


def value_after(
    sequences: Sequence[SequenceResult], position: int, task: str, metric: str
) -> Spread | None:
    """A task's metric after a stage, over the seeds of one method and order."""
    return Spread.of(
        sequence.r_matrix[position - 1].get(task, {}).get(metric)
        for sequence in sequences
        if position <= len(sequence.r_matrix)
    )


def _legend(figure: Any, grid: Any) -> None:
    """One for all panels, of every method that is anywhere."""
    found: dict[str, Any] = {}
    for axes in grid.flat:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        figure.legend(
            found.values(),
            found.keys(),
            loc="outside upper center",
            ncols=-(-len(found) // -(-len(found) // _BESIDE)),
            frameon=False,
        )
