"""Order sensitivity: how far the orders lie apart, for every method or setting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.report.figures.style import WIDTH, Drawing, drawing, look_of, to_svg
from orchestrator.report.model import Report

MOST_SETTINGS = 15
_MOST_MARKED = 7  # orders with a look of their own

Line = Mapping[tuple[str, ...], float]  # order -> Delta_m


def order_spread(report: Report) -> Drawing | None:
    """None without a reference, or with one order."""
    lines = _settings(report) if report.sweep else _methods(report)
    orders = list(dict.fromkeys(order for line in lines.values() for order in line))
    if len(orders) < 2:
        return None
    with drawing(WIDTH, 1.1 + 0.32 * len(lines) + 0.22 * min(len(orders), _MOST_MARKED)) as figure:
        axes = figure.subplots()
        _draw(axes, lines, report)
        axes.set_xlabel(f"Δm vs {report.result.run.reference}, percent ↑")
        if len(orders) <= _MOST_MARKED:
            figure.legend(loc="outside lower center", ncols=min(len(orders), 3), frameon=False)
        svg = to_svg(figure)
    what = "setting" if report.sweep else "method"
    words = "; ".join(
        f"{name} from {_percent(min(v.values()))} to {_percent(max(v.values()))}"
        for name, v in lines.items()
    )
    seeds = "" if len(report.seeds) == 1 else f" (mean over {len(report.seeds)} seeds)"
    return Drawing(
        svg,
        f"Dot plot of Delta_m in each order, a line for every {what}: {words}.",
        f"One point an order{seeds}; the bar is the mean over orders, the line their range. "
        "A short line is a method that does not care about the order.",
    )


def _percent(value: float) -> str:
    return f"{value:+.1f} %"


def _methods(report: Report) -> dict[str, Line]:
    """Bounds are in the table alone: they would squeeze the rest."""
    lines: dict[str, Line] = {}
    for summary in report.result.methods:
        line = {o.order: o.delta_m_pct.mean for o in summary.orders if o.delta_m_pct is not None}
        if line and summary.lifelong:
            lines[summary.method] = line
    return lines


def _settings(report: Report) -> dict[str, Line]:
    """Complete trials, the best first."""
    assert report.sweep is not None
    result = report.sweep.result
    complete = [trial for trial in result.trials if trial.state == "complete"]
    complete.sort(key=lambda trial: (trial.label not in result.best, -trial.values[0]))
    return {
        f"{trial.label}{' (best)' if trial.label in result.best[:1] else ''}": dict(
            zip(result.orders, trial.delta_m_pct, strict=False)
        )
        for trial in complete[:MOST_SETTINGS]
    }


def _draw(axes: Any, lines: Mapping[str, Line], report: Report) -> None:
    orders = [order for order in report.orders if any(order in line for line in lines.values())]
    height = {name: -k for k, name in enumerate(lines)}
    for name, line in lines.items():
        values = list(line.values())
        axes.plot([min(values), max(values)], [height[name]] * 2, color="#999999", linewidth=1)
        mean = sum(values) / len(values)
        axes.plot([mean], [height[name]], marker="|", markersize=18, color="black", mew=2)
    for number, order in enumerate(orders):
        look = look_of(number + 1)
        if len(orders) > _MOST_MARKED:
            look = look_of(1)
        places = [(line[order], height[name]) for name, line in lines.items() if order in line]
        axes.plot(
            [x for x, _ in places],
            [y for _, y in places],
            linestyle="none",
            marker=look.marker,
            color=look.colour,
            markeredgecolor="white",
            markeredgewidth=0.5,
            markersize=7,
            label=report.order_names[order],
        )
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(list(height.values()), list(height))
    axes.set_ylim(-len(lines) + 0.4, 0.6)
    axes.grid(visible=False, axis="y")
