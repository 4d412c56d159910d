"""The tables of a report: values with the text that people read. Pure."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from had_core.tasks import Direction
from orchestrator.display.comparison import (
    CompareResult,
    best,
    between,
    delta_spreads,
    reads_best,
)
from orchestrator.display.numbers import ARROWS, param_name, param_text, spread_text
from orchestrator.display.summary import Spread
from orchestrator.display.sweep_results import SweepResult, TrialResult
from orchestrator.report.model import Report

MOST_ORDERS = 24
MOST_TRIALS = 20
_PERCENT = functools.partial(spread_text, percent=100.0)
_POINTS = functools.partial(spread_text, percent=1.0, signed=True)
DASH = "-"


@dataclass(frozen=True)
class Column:
    """A heading: ``group`` (a task) stands above several of them.

    Attributes:
        direction: which values are better; None for a column that is no score.
        key: its name in files; empty where it is ``name``.
    """

    name: str
    group: str = ""
    unit: str = ""
    direction: Direction | None = None
    key: str = ""

    @property
    def title(self) -> str:
        """``abs_err m ↓``."""
        unit = f" {self.unit}" if self.unit and not self.name.endswith(self.unit) else ""
        return f"{self.name}{unit}{' ' + ARROWS[self.direction] if self.direction else ''}"


@dataclass(frozen=True)
class Cell:
    """What stands in a table.

    Attributes:
        spread: the value behind the text; None where it is not defined, or no number.
        best: shown bold.
    """

    text: str
    spread: Spread | None = None
    best: bool = False


@dataclass(frozen=True)
class Row:
    """Attributes: name: heading of the row; bound: whether it is no rival (in brackets)."""

    name: str
    cells: tuple[Cell, ...]
    bound: bool = False

    @property
    def title(self) -> str:
        return f"({self.name})" if self.bound else self.name


@dataclass(frozen=True)
class Table:
    """Attributes: corner: heading of the first column; notes: below it, a sentence each."""

    caption: str
    corner: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def part(self, start: int, stop: int) -> Table:
        """Some of its columns, without the notes."""
        rows = tuple(Row(row.name, row.cells[start:stop], row.bound) for row in self.rows)
        return Table(self.caption, self.corner, self.columns[start:stop], rows)


def result_table(result: CompareResult) -> Table:
    """Methods by Delta_m, forgetting, rank and every metric after the last stage."""
    columns: list[Column] = []
    cells: list[Mapping[str, Cell]] = []
    for column, of in (*_summary(result), *_metrics(result)):
        columns.append(column)
        cells.append(of)
    rows = tuple(
        Row(s.method, tuple(column[s.method] for column in cells), not s.lifelong)
        for s in result.methods
    )
    return Table("Methods by metrics after the last stage", "method", tuple(columns), rows)


def _summary(result: CompareResult) -> Iterator[tuple[Column, Mapping[str, Cell]]]:
    summaries, reference = result.methods, result.run.reference
    if reference is not None:
        leader = best(delta_spreads(result), summaries, Direction.UP)
        column = Column(f"Δm vs {reference} %", direction=Direction.UP, key="delta_m_pct")
        deltas = {s.method: s.delta_m_pct for s in summaries}
        yield column, _cells(result, deltas, leader, _without_sign_of_percent(_POINTS))
        if any(sequence.floored for sequence in result.run.sequences):
            plain = {s.method: s.delta_m_plain_pct for s in summaries}
            name = f"Δm over |{reference}| alone %"
            column = Column(name, direction=Direction.UP, key="delta_m_plain_pct")
            yield _scored(result, column, plain, _without_sign_of_percent(_POINTS))
    percent = _without_sign_of_percent(_PERCENT)
    up, down = Direction.UP, Direction.DOWN
    for column, spreads in (
        (
            Column("forgetting %", direction=down, key="forgetting"),
            {s.method: s.forgetting for s in summaries},
        ),
        (
            Column("backward transfer %", direction=up, key="bwt"),
            {s.method: s.bwt for s in summaries},
        ),
        (
            Column("plasticity %", direction=up, key="plasticity"),
            {s.method: s.plasticity for s in summaries},
        ),
    ):
        if any(spreads.values()):
            yield _scored(result, column, spreads, percent)
    ranks = {s.method: s.mean_rank for s in summaries}
    if any(ranks.values()):
        column = Column("mean rank", direction=down, key="mean_rank")
        yield _scored(result, column, ranks, _two_digits)


def _metrics(result: CompareResult) -> Iterator[tuple[Column, Mapping[str, Cell]]]:
    for task, metrics in result.run.metrics.items():
        for metric in metrics:
            column = Column(metric.name, task, metric.unit, metric.direction)
            spreads = {s.method: s.final[task][metric.name] for s in result.methods}
            yield _scored(result, column, spreads, spread_text)


def _scored(
    result: CompareResult,
    column: Column,
    spreads: Mapping[str, Spread | None],
    show: Callable[..., str],
) -> tuple[Column, Mapping[str, Cell]]:
    assert column.direction is not None
    leader = best(spreads, result.methods, column.direction)
    return column, _cells(result, spreads, leader, show)


def _cells(
    result: CompareResult,
    spreads: Mapping[str, Spread | None],
    leader: str | None,
    show: Callable[..., str],
) -> Mapping[str, Cell]:
    texts = {s.method: show(spreads[s.method], of=s.complete) for s in result.methods}
    bold = reads_best(texts, result.methods, leader)
    return {name: Cell(text, spreads[name], name in bold) for name, text in texts.items()}


def _without_sign_of_percent(show: Callable[..., str]) -> Callable[..., str]:
    """The heading says it."""
    return lambda spread, of: show(spread, of=of).replace(" %", "")


def _two_digits(spread: Spread | None, of: int) -> str:
    if spread is None:
        return DASH
    std = "" if spread.std is None else f" ± {spread.std:.2f}"
    few = "" if spread.count == of else f" (n={spread.count})"
    return f"{spread.mean:.2f}{std}{few}"


def paired_table(result: CompareResult) -> Table | None:
    """Every method's Delta_m less the best one's, order by order and seed by seed.

    None without a best one, and where there is nobody else than it and the reference.
    """
    leader = best(delta_spreads(result), result.methods, Direction.UP)
    if leader is None or len(result.methods) < 3:
        return None
    show = _without_sign_of_percent(_POINTS)
    rows = []
    for summary in result.methods:
        pair = between(result.paired, summary.method, leader)
        if pair is not None:
            spread = Spread(pair.mean, pair.std, pair.count)
            cells = (Cell(show(spread, of=pair.count), spread), Cell(f"{pair.won}/{pair.count}"))
            rows.append(Row(summary.method, cells, not summary.lifelong))
    columns = (Column("difference in points"), Column("ahead in pairs"))
    caption = f"Δm less that of {leader}, in the same order with the same seed"
    return Table(caption, "method", columns, tuple(rows)) if rows else None


def orders_table(report: Report) -> Table | None:
    """Orders by Delta_m of every method over the seeds; None without a reference or with one order.

    The last rows: the deviation over orders (order sensitivity), and over seeds.
    """
    result, orders, seeds = report.result, report.orders, len(report.seeds)
    reference = result.run.reference
    if reference is None or len(orders) < 2:
        return None
    rivals = [s for s in result.methods if s.method != reference]
    show = _without_sign_of_percent(_POINTS)
    rows = []
    for order in orders[:MOST_ORDERS]:
        of_order = [
            next((o.delta_m_pct for o in s.orders if o.order == order), None) for s in rivals
        ]
        cells = tuple(Cell(show(spread, of=seeds), spread) for spread in of_order)
        full, name = " → ".join(order), report.order_names[order]
        rows.append(Row(full if name == full else f"{name}: {full}", cells))
    apart = tuple(Cell(_one_digit(s.over_orders)) for s in rivals)
    rows.append(Row("deviation over orders", apart))
    if seeds > 1:
        rows.append(
            Row("deviation over seeds", tuple(Cell(_one_digit(s.over_seeds)) for s in rivals))
        )
    columns = tuple(Column(s.method if s.lifelong else f"({s.method})") for s in rivals)
    notes: tuple[str, ...] = ()
    if len(orders) > MOST_ORDERS:
        notes = (f"The first {MOST_ORDERS} of {len(orders)} orders are shown.",)
    return Table(
        f"Δm vs {reference} in percent, order by order", "order", columns, tuple(rows), notes
    )


def _one_digit(value: float | None) -> str:
    return DASH if value is None else f"{value:.1f}"


def trials_table(result: SweepResult) -> Table | None:
    """The settings that were judged, the best first; None where none is complete."""
    ranked = sorted(
        (trial for trial in result.trials if trial.state == "complete"),
        key=lambda trial: _worth(result, trial),
    )
    if not ranked:
        return None
    shown = ranked[:MOST_TRIALS]
    paths = list(dict.fromkeys(path for trial in ranked for path in trial.params))
    columns = (
        *(Column(param_name(path)) for path in paths),
        Column(f"{result.title} %", direction=Direction.UP),
        Column("deviation over orders"),
        Column("worst order %", direction=Direction.UP),
        Column("forgetting %", direction=Direction.DOWN),
    )
    rows = tuple(
        Row(trial.label, _trial_cells(trial, paths, trial.label in result.best)) for trial in shown
    )
    notes: tuple[str, ...] = ()
    if len(ranked) > len(shown):
        notes = (f"The best {len(shown)} of {len(ranked)} complete trials are shown.",)
    return Table("Settings that were judged", "trial", columns, rows, notes)


def _worth(result: SweepResult, trial: TrialResult) -> tuple[bool, float]:
    """Those that no other beats come first; then by the first value."""
    return (trial.label not in result.best, -trial.values[0])


def _trial_cells(trial: TrialResult, paths: Sequence[str], is_best: bool) -> tuple[Cell, ...]:
    deltas, forgotten = Spread.of(trial.delta_m_pct), Spread.of(trial.forgetting)
    worst = min(trial.delta_m_pct, default=None)
    return (
        *(Cell(param_text(trial.params.get(path, DASH))) for path in paths),
        Cell(f"{trial.values[0]:+.1f}", best=is_best),
        Cell(_one_digit(deltas.std if deltas else None)),
        Cell(DASH if worst is None else f"{worst:+.1f}"),
        Cell(_without_sign_of_percent(_PERCENT)(forgotten, of=len(trial.forgetting))),
    )
