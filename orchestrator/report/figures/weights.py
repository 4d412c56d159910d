"""The weights that a sweep found: how a setting's worth depends on each, and which ones decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.display.numbers import param_name
from orchestrator.display.sweep_results import SweepResult
from orchestrator.report.figures.style import BEST, PLAIN, WIDTH, Drawing, drawing, to_svg
from orchestrator.report.model import SweepPart

MOST = 6  # parameters
_ACROSS = 3
_ROUGH = 50  # complete trials; importance is rough below


def settings_plot(part: SweepPart) -> Drawing | None:
    """Every complete trial over each parameter; None where fewer than two are complete."""
    result = part.result
    complete = [trial for trial in result.trials if trial.state == "complete"]
    paths = list(dict.fromkeys(path for trial in complete for path in trial.params))[:MOST]
    if len(complete) < 2 or not paths:
        return None
    across = min(_ACROSS, len(paths))
    down = -(-len(paths) // across)
    with drawing(WIDTH * across / _ACROSS, 0.4 + 2.5 * down) as figure:
        grid = figure.subplots(down, across, sharey=True, squeeze=False)
        for axes, path in zip(grid.flat, paths, strict=False):
            _scatter(axes, result, path, log=path in part.log_scale)
        for axes in list(grid.flat)[len(paths) :]:
            axes.set_visible(False)
        for row in grid:
            row[0].set_ylabel(f"{result.title}, percent ↑")
        svg = to_svg(figure)
    best = result.trial(result.best[0])
    found = ", ".join(f"{param_name(p)} {_value(best.params.get(p))}" for p in paths)
    return Drawing(
        svg,
        f"Scatter plots of {result.title} over {', '.join(map(param_name, paths))} for "
        f"{len(complete)} settings. The best one, {best.label}, has {found}.",
        "One point a setting that was judged in every order; the star is the best one.",
    )


def _scatter(axes: Any, result: SweepResult, path: str, *, log: bool) -> None:
    complete = [t for t in result.trials if t.state == "complete" and path in t.params]
    numeric = all(
        isinstance(t.params[path], (int, float)) and not isinstance(t.params[path], bool)
        for t in complete
    )
    best = set(result.best[:1])
    rest = [t for t in complete if t.label not in best]
    for trials, marker, colour, size in (
        (rest, "o", PLAIN, 36),
        ([t for t in complete if t.label in best], "*", BEST, 160),
    ):
        xs = [t.params[path] if numeric else str(t.params[path]) for t in trials]
        ys = [t.values[0] for t in trials]
        axes.scatter(
            xs, ys, marker=marker, c=colour, s=size, edgecolors="black", linewidths=0.5, zorder=3
        )
    if log and numeric:
        _logarithmic(axes, [float(t.params[path]) for t in complete])
    axes.set_xlabel(param_name(path))
    axes.margins(x=0.08, y=0.12)


def _logarithmic(axes: Any, values: Sequence[float]) -> None:
    """Ticks at 1, 2, 5, 10 ..., written as people do."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_xscale("log")
    few = max(values) <= 1000 * min(values)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _value(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def importance_plot(part: SweepPart) -> Drawing | None:
    """Which parameter decides; None where the study tells too little."""
    if not part.importance:
        return None
    complete = part.result.counts.get("complete", 0)
    names = list(dict.fromkeys(p for shares in part.importance.values() for p in shares))[:MOST]
    several = len(part.importance) > 1
    height = 0.7 + 0.36 * len(names)
    with drawing(WIDTH * (0.9 if several else 0.6), height) as figure:
        row = figure.subplots(1, len(part.importance), sharey=True, squeeze=False)[0]
        for axes, (objective, shares) in zip(row, part.importance.items(), strict=True):
            values = [shares.get(name, 0.0) for name in names]
            bars = axes.barh([-k for k in range(len(names))], values, color=PLAIN, height=0.6)
            axes.bar_label(bars, [f"{value:.2f}" for value in values], padding=3)
            axes.set_yticks([-k for k in range(len(names))], [param_name(n) for n in names])
            axes.set_xlim(0, max(1e-9, *values) * 1.2)
            axes.set_xlabel(f"share for {objective}" if several else "share")
            axes.grid(visible=False, axis="y")
        svg = to_svg(figure)
    words = "; ".join(
        ", ".join(f"{param_name(name)} {share:.2f}" for name, share in shares.items())
        for shares in part.importance.values()
    )
    rough = f" Rough: {complete} settings are few." if complete < _ROUGH else ""
    return Drawing(
        svg,
        f"Bar chart of the importance of each parameter: {words}.",
        f"What decides whether a setting is among the best.{rough}",
    )
