"""Heat maps and spreads as SVG: crisp on a screen and in print, and drawn in a millisecond.

Colours are told apart by colour-blind readers, and every cell says its number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from statistics import fmean

from orchestrator.tracking.drawings import HeatMap, Spread

_CELL, _ROW, _HEAD = (110, 46), 26, 62
_WORST = 0.5  # a loss of half of a metric or more has the darkest colour
_WIDE = 560  # of the axis of a spread


def heat_map(drawing: HeatMap) -> str:
    """One row a stage, one column a task; yellow is the best so far, blue what was lost."""
    left = 20 + 8 * max(len("after stage"), *(len(name) for name, _ in drawing.rows))
    width = left + _CELL[0] * len(drawing.columns) + 20
    parts = [_text(10, 20, drawing.title, weight="bold")]
    for column, (task, metric, sign) in enumerate(drawing.columns):
        middle = left + _CELL[0] * column + _CELL[0] // 2
        parts.append(_text(middle, _HEAD - 22, task, anchor="middle"))
        arrow = "↑" if sign > 0 else "↓"
        parts.append(_text(middle, _HEAD - 7, f"{metric} {arrow}", anchor="middle", size=11))
    best: list[float | None] = [None] * len(drawing.columns)
    for number, (name, values) in enumerate(drawing.rows):
        top = _HEAD + _CELL[1] * number
        parts.append(_text(10, top + 28, name))
        for column, value in enumerate(values):
            if value is None:
                continue
            lost = _lost(value, best[column], drawing.columns[column][2])
            best[column] = _better(value, best[column], drawing.columns[column][2])
            parts.append(_cell(left + _CELL[0] * column, top, value, lost))
    height = _HEAD + _CELL[1] * len(drawing.rows) + 30
    legend = "yellow: the best so far; blue: half of it lost, or more"
    parts.append(_text(10, height - 8, legend, size=11))
    return _svg(max(width, 400), height, parts)


def spread(drawing: Spread) -> str:
    """One line a label: a dot for every order and seed, a bar at their mean."""
    every = [value for _, values in drawing.lines for value in values]
    low, high = min(0.0, *every), max(0.0, *every)
    step = _step(high - low)
    low, high = step * math.floor(low / step), step * math.ceil(high / step) or step
    left = 20 + 7 * max(len(label) for label, _ in drawing.lines)
    bottom = 40 + _ROW * len(drawing.lines)

    def at(value: float) -> float:
        return left + _WIDE * (value - low) / (high - low)

    parts = [_text(10, 20, drawing.title, weight="bold")]
    for k in range(round((high - low) / step) + 1):
        value = low + k * step
        colour = "#888" if abs(value) < step / 2 else "#ddd"
        parts.append(_line(at(value), 32, at(value), bottom, colour))
        parts.append(_text(at(value), bottom + 16, f"{value:g}", anchor="middle", size=11))
    parts.append(_text(left + _WIDE / 2, bottom + 34, drawing.unit, anchor="middle", size=11))
    for number, (label, values) in enumerate(drawing.lines):
        middle = 32 + _ROW * number + _ROW / 2
        parts.append(_text(10, middle + 4, label))
        parts += [
            f'<circle cx="{at(v):.1f}" cy="{middle:.1f}" r="4" fill="#0072b2" fill-opacity=".55"/>'
            for v in values
        ]
        mean = at(fmean(values))
        parts.append(_line(mean, middle - 9, mean, middle + 9, "#d55e00", 3))
    return _svg(left + _WIDE + 30, bottom + 44, parts)


def _lost(value: float, best: float | None, sign: int) -> float:
    """Share of the best so far that is gone; 0 where nothing is."""
    if best is None or not best:
        return 0.0
    return max(0.0, sign * (best - value) / abs(best))


def _better(value: float, best: float | None, sign: int) -> float:
    return value if best is None or sign * value > sign * best else best


def _cell(left: int, top: int, value: float, lost: float) -> str:
    import numpy as np

    from orchestrator.tracking.colours import cividis

    share = min(lost / _WORST, 1.0)
    red, green, blue = (int(c) for c in cividis(np.array(1.0 - share)))
    ink = "#000" if share < 0.5 else "#fff"
    box = (
        f'<rect x="{left}" y="{top}" width="{_CELL[0] - 2}" height="{_CELL[1] - 2}" '
        f'fill="#{red:02x}{green:02x}{blue:02x}"/>'
    )
    middle = left + _CELL[0] // 2
    number = _text(middle, top + 20, f"{value:.4g}", anchor="middle", fill=ink)
    kept = f"-{100 * lost:.0f} %" if lost >= 0.005 else ""
    return box + number + _text(middle, top + 36, kept, anchor="middle", size=11, fill=ink)


def _step(span: float) -> float:
    """A round distance between some six marks."""
    rough = max(span, 1e-9) / 6
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * k for k in (1, 2, 5, 10) if power * k >= rough)


def _text(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "start",
    size: int = 13,
    fill: str = "#222",
    weight: str = "normal",
) -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-size="{size}" fill="{fill}" '
        f'font-weight="{weight}">{escape(words)}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: int = 1) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width}"/>'
    )


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', *parts, "</svg>"])
