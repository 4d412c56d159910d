"""A comparison as rich tables: every metric, Delta_m order by order, and the summary."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from had_core.tasks import Direction
from orchestrator.display.comparison import (
    CompareResult,
    best,
    between,
    delta_spreads,
    reads_best,
)
from orchestrator.display.numbers import counted, metric_title, spread_text
from orchestrator.display.summary import MethodSummary, Spread
from orchestrator.display.tables import notes
from orchestrator.display.wide import Column, WideTable

MOST_ORDERS = 24  # shown one by one; more are in --json

_PERCENT = functools.partial(spread_text, percent=100.0)
_POINTS = functools.partial(spread_text, percent=1.0, signed=True)


def compare_tables(result: CompareResult) -> RenderableType:
    """Metrics of every task, Delta_m of every order, the summary, and what to know about them."""
    parts: list[RenderableType] = [metrics_table(result), Text()]
    if _has_orders(result):
        parts += [orders_table(result), Text()]
    return Group(*parts, summary_table(result), *legend(result), *notes(result.run))


def metrics_table(result: CompareResult) -> WideTable:
    """Methods by every metric after the last stage."""
    summaries = result.methods
    columns = [
        _column(
            metric_title(task, metric),
            {s.method: s.final[task][metric.name] for s in summaries},
            summaries,
            metric.direction,
            spread_text,
        )
        for task, metrics in result.run.metrics.items()
        for metric in metrics
    ]
    return WideTable("after the last stage", _methods(result), columns)


def orders_table(result: CompareResult) -> WideTable:
    """Methods by Delta_m in each order, over its seeds; how far the orders lie apart."""
    summaries = result.methods
    seeds = len({sequence.seed for sequence in result.run.sequences})
    orders = list(dict.fromkeys(sequence.order for sequence in result.run.sequences))
    columns = []
    for order in orders[:MOST_ORDERS]:
        deltas = {
            s.method: next((o.delta_m_pct for o in s.orders if o.order == order), None)
            for s in summaries
        }
        cells = [_POINTS(delta, of=seeds) for delta in deltas.values()]
        columns.append(Column("\n→ ".join(order), cells))
    apart = [_points(summary.over_orders) for summary in summaries]
    columns.append(Column("deviation\nover orders", apart))
    if seeds > 1:
        within = [_points(summary.over_seeds) for summary in summaries]
        columns.append(Column("deviation\nover seeds", within))
    title = f"Δm vs {result.run.reference} in each order"
    if len(orders) > MOST_ORDERS:
        title += f" (the first {MOST_ORDERS} of {len(orders)})"
    return WideTable(title, _methods(result), columns)


def summary_table(result: CompareResult) -> WideTable:
    """Methods by Delta_m, forgetting and rank; paired against the best one."""
    summaries, reference = result.methods, result.run.reference
    columns = []
    if reference is not None:
        leader = best(delta_spreads(result), summaries, Direction.UP)
        deltas = {s.method: s.delta_m_pct for s in summaries}
        columns.append(_bold_at(leader, f"Δm vs\n{reference} ↑", deltas, summaries, _POINTS))
        columns += _paired_columns(result, leader)
        if any(sequence.floored for sequence in result.run.sequences):
            plain = {s.method: s.delta_m_plain_pct for s in summaries}
            title = f"over |{reference}|\nalone ↑"
            columns.append(_column(title, plain, summaries, Direction.UP, _POINTS))
    forgetting = {s.method: s.forgetting for s in summaries}
    columns.append(_column("forgetting\n↓", forgetting, summaries, Direction.DOWN, _PERCENT))
    bwt = {s.method: s.bwt for s in summaries}
    columns.append(_column("backward\ntransfer ↑", bwt, summaries, Direction.UP, _PERCENT))
    plasticity = {s.method: s.plasticity for s in summaries}
    if any(plasticity.values()):
        columns.append(_column("plasticity\n↑", plasticity, summaries, Direction.UP, _PERCENT))
    ranks = {s.method: s.mean_rank for s in summaries}
    if any(ranks.values()):
        columns.append(_column("mean rank\n↓", ranks, summaries, Direction.DOWN, spread_text))
    return WideTable("summary", _methods(result), columns)


def _paired_columns(result: CompareResult, leader: str | None) -> Iterator[Column]:
    """Each method's Delta_m less the leader's, pair by pair, and in how many it was ahead."""
    if leader is None:
        return
    pairs = [between(result.paired, summary.method, leader) for summary in result.methods]
    gaps = [Spread(pair.mean, pair.std, pair.count) if pair else None for pair in pairs]
    yield Column(f"Δm less\n{leader}'s", [_POINTS(gap) for gap in gaps])
    yield Column("ahead\nin pairs", [f"{pair.won}/{pair.count}" if pair else "-" for pair in pairs])


def _column(
    title: str,
    spreads: Mapping[str, Spread | None],
    summaries: Sequence[MethodSummary],
    direction: Direction,
    show: Callable[..., str],
) -> Column:
    return _bold_at(best(spreads, summaries, direction), title, spreads, summaries, show)


def _bold_at(
    leader: str | None,
    title: str,
    spreads: Mapping[str, Spread | None],
    summaries: Sequence[MethodSummary],
    show: Callable[..., str],
) -> Column:
    """Cells in the order of the methods; those whose mean reads like the leader's are bold."""
    texts = {s.method: show(spreads[s.method], of=s.complete) for s in summaries}
    bold = reads_best(texts, summaries, leader)
    return Column(
        title, [Text(texts[s.method], style="bold" if s.method in bold else "") for s in summaries]
    )


def _methods(result: CompareResult) -> Column:
    return Column("method", [s.method if s.lifelong else f"({s.method})" for s in result.methods])


def _has_orders(result: CompareResult) -> bool:
    orders = {sequence.order for sequence in result.run.sequences}
    return result.run.reference is not None and len(orders) > 1


def legend(result: CompareResult) -> Iterator[Text]:
    """What the means are over, and who cannot be best."""
    orders = len({sequence.order for sequence in result.run.sequences})
    seeds = len({sequence.seed for sequence in result.run.sequences})
    said = f"mean ± standard deviation over {counted(orders, 'order')} x {counted(seeds, 'seed')}"
    bounds = [summary.method for summary in result.methods if not summary.lifelong]
    aside = f"; ({'), ('.join(bounds)}) are bounds, no lifelong methods" if bounds else ""
    yield Text(f"{said}; best in bold{aside}", style="dim")
    for summary in result.methods:
        if summary.complete < summary.sequences:
            about = "its means are over those alone, so " if summary.complete else ""
            yield Text(
                f"{summary.method}: {summary.complete} of {summary.sequences} sequences are "
                f"complete; {about}it cannot be best",
                style="yellow",
            )
    ranked = sum(s.mean_rank is not None for s in result.run.sequences if s.is_complete)
    if len(result.methods) > 1 and ranked < len(result.run.sequences):
        places = ranked // len(result.methods)
        yield Text(
            "ranks are over the orders and seeds in which every method has finished: "
            f"{places} of {orders * seeds}",
            style="yellow",
        )


def _points(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
