"""A report as one HTML page that needs nothing else, not even a network."""

from __future__ import annotations

import base64
import importlib.resources
from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.display.numbers import duration, number, params_text
from orchestrator.display.sweep_results import SweepResult
from orchestrator.report.figures.curves import MOST_ORDERS as MOST_CURVES
from orchestrator.report.figures.curves import forgetting_curves, value_after
from orchestrator.report.figures.heat import MOST_ORDERS as MOST_MAPS
from orchestrator.report.figures.heat import r_maps
from orchestrator.report.figures.orders import order_spread
from orchestrator.report.figures.style import Drawing
from orchestrator.report.figures.weights import importance_plot, settings_plot
from orchestrator.report.model import Hours, Report
from orchestrator.report.parts import groups, parts
from orchestrator.report.tables import (
    Cell,
    Column,
    Row,
    Table,
    orders_table,
    paired_table,
    result_table,
    trials_table,
)

_TEMPLATE = "page.html.j2"
_MOST_COLUMNS = 7  # beside each other, so that a table fits a sheet of paper
_MOST_ROWS_OF_R = 60
_KINDS = {"run": "Run", "compare": "Comparison", "sweep": "Sweep"}


@dataclass(frozen=True)
class Section:
    """Attributes: anchor: its id in the page; words: paragraphs above the rest."""

    anchor: str
    title: str
    words: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    drawings: tuple[Drawing, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.words or self.tables or self.drawings or self.notes)


def page(report: Report) -> str:
    """The page; equal reports give equal pages."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["data_uri"] = data_uri
    environment.filters["groups"] = groups
    source = importlib.resources.files("orchestrator.report").joinpath(_TEMPLATE)
    template = environment.from_string(source.read_text(encoding="utf-8"))
    sections = [section for section in _sections(report) if not section.is_empty]
    return template.render(
        report=report,
        kind=_KINDS[report.kind],
        lead=lead(report),
        sections=sections,
        cost=cost_table(report),
        hours=hours_table(report),
    )


def data_uri(raw: bytes, kind: str) -> str:
    """Bytes as an address that needs no request."""
    return f"data:{kind};base64,{base64.b64encode(raw).decode()}"


def lead(report: Report) -> str:
    """What came out, in one sentence."""
    table = result_table(report.result)
    reference = report.result.run.reference
    if reference is None or not table.rows:
        return ""
    if report.sweep is not None and report.sweep.result.best:
        return _lead_of_sweep(report.sweep.result)
    leaders = [row for row in table.rows if row.cells[0].best]
    if not leaders:
        return f"No method beats {reference}." if len(table.rows) > 1 else ""
    names = " and ".join(row.name for row in leaders)
    return f"Best Δm against {reference}: {names}, {leaders[0].cells[0].text} %."


def _lead_of_sweep(result: SweepResult) -> str:
    best = result.trial(result.best[0])
    setting = params_text(best.params).replace("  ", ", ")
    said = f"{setting} ({result.title} {best.values[0]:+.1f} % on the validation part)"
    if len(result.best) > 1:
        return f"No other setting beats these {len(result.best)} in both; the first: {said}."
    if best.values[0] < 0:
        return f"No setting beats {result.reference}; the best is {said}."
    return f"Best setting: {said}."


def _sections(report: Report) -> Iterator[Section]:
    yield _results(report)
    yield _orders(report)
    if report.sweep is not None:
        yield _settings(report)
    yield Section(
        "forgetting",
        "Forgetting",
        drawings=tuple(forgetting_curves(report)),
        notes=_first(MOST_CURVES, report, "curves"),
    )
    yield Section(
        "r",
        "R: every task after every stage",
        tables=_r_table(report),
        drawings=tuple(r_maps(report)),
        notes=_first(MOST_MAPS, report, "maps"),
    )


def _first(most: int, report: Report, what: str) -> tuple[str, ...]:
    count = len(report.orders)
    return (f"The {what} are of the first {most} of {count} orders.",) if count > most else ()


def _results(report: Report) -> Section:
    from orchestrator.display.compare_tables import legend
    from orchestrator.display.tables import caveats

    table = result_table(report.result)
    notes = [text.plain for text in (*legend(report.result), *caveats(report.result.run))]
    words: tuple[str, ...] = ()
    if report.split == "val":
        words = (
            "Scored on the validation part, on which the best setting was chosen: its numbers are "
            "optimistic. had compare tells how it does on the test set.",
        )
    paired = paired_table(report.result)
    tables = (*parts(table, _MOST_COLUMNS), *([paired] if paired else []))
    return Section("results", "Results", words, tables, notes=tuple(notes))


def _orders(report: Report) -> Section:
    table, drawing = orders_table(report), order_spread(report)
    return Section(
        "orders",
        "Order sensitivity",
        tables=(table,) if table else (),
        drawings=(drawing,) if drawing else (),
        notes=table.notes if table else (),
    )


def _settings(report: Report) -> Section:
    assert report.sweep is not None
    table = trials_table(report.sweep.result)
    drawings = (settings_plot(report.sweep), importance_plot(report.sweep))
    return Section(
        "settings",
        "Weights found",
        tables=(table,) if table else (),
        drawings=tuple(drawing for drawing in drawings if drawing is not None),
        notes=table.notes if table else (),
    )


def _r_table(report: Report) -> tuple[Table, ...]:
    """The numbers behind curves and maps, as text."""
    run = report.result.run
    rows: list[Row] = []
    for order in report.orders[:MOST_CURVES]:
        for summary in report.result.methods:
            mine = [s for s in run.sequences if s.method == summary.method and s.order == order]
            for position in range(1, len(order) + 1):
                spreads = [
                    value_after(mine, position, task, metrics[0].name)
                    for task, metrics in run.metrics.items()
                ]
                if any(spreads):
                    cells = tuple(Cell(number(s.mean) if s else "", s) for s in spreads)
                    where = f"{summary.method}, {' → '.join(order)}, after {order[position - 1]}"
                    rows.append(Row(where, cells))
    columns = tuple(
        Column(metrics[0].name, task, metrics[0].unit, metrics[0].direction)
        for task, metrics in run.metrics.items()
    )
    if not rows:
        return ()
    caption = "R: headline metrics, mean over seeds"
    if len(rows) > _MOST_ROWS_OF_R:
        caption += f" (the first {_MOST_ROWS_OF_R} of {len(rows)} rows)"
    return (Table(caption, "method, order, stage", columns, tuple(rows[:_MOST_ROWS_OF_R])),)


def cost_table(report: Report) -> list[tuple[str, str]]:
    """Stages: label and number."""
    cost = report.cost
    shared = cost.wanted - cost.unique
    share = f" ({100 * shared / cost.wanted:.0f} %)" if cost.wanted else ""
    lines = [
        ("stages wanted, sequence by sequence", str(cost.wanted)),
        ("shared between sequences", f"{shared}{share}"),
        ("different stages", str(cost.unique)),
        ("trained by this run", str(cost.trained)),
        ("reused, trained by other runs", str(cost.reused)),
    ]
    if cost.missing:
        lines.append(("not sealed yet", str(cost.missing)))
    return lines


def hours_table(report: Report) -> Table | None:
    """Processor time by processor."""
    columns = tuple(
        Column(name)
        for name in ("spent by this run", "spent by others", "without sharing", "saved")
    )
    rows = tuple(Row(_name_of(name), _hours(h)) for name, h in report.cost.hours.items())
    caption = "Processor time of training and scoring, as far as stages are sealed"
    return Table(caption, "processor", columns, rows) if rows else None


def _name_of(processor: str) -> str:
    return "CPU (workers x threads)" if processor == "CPU" else f"GPU ({processor})"


def _hours(hours: Hours) -> tuple[Cell, ...]:
    values = (hours.spent, hours.found, hours.alone, hours.saved)
    return tuple(Cell(duration(max(0.0, value) * 3600)) for value in values)
