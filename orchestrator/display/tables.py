"""Results as rich tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from had_core.tasks import MetricSpec
from orchestrator.display.numbers import counted, duration, metric_title, number, spread_text
from orchestrator.display.results import (
    PlanResult,
    RunResult,
    SequenceResult,
)
from orchestrator.display.summary import summarise
from orchestrator.display.wide import Column, WideTable, simple_table

MOST_MATRICES = 6


def run_tables(result: RunResult) -> RenderableType:
    """R of every sequence (of a few), the closing table, failures, and what sharing saved."""
    parts: list[RenderableType] = []
    shown = result.sequences[:MOST_MATRICES]
    for sequence in shown:
        parts += [r_table(sequence, result.metrics), Text()]
    if len(result.sequences) > len(shown):
        more = len(result.sequences) - len(shown)
        parts += [Text(f"{more} more sequences: see --json or the UI", style="dim"), Text()]
    parts.append(closing_table(result))
    return Group(*parts, *notes(result))


def caveats(result: RunResult) -> Iterator[Text]:
    """What a reader of the numbers has to know."""
    floored = sorted({name for s in result.sequences for name in s.floored})
    if floored:
        yield Text(
            "Δm divides by the larger of the reference and the constant prediction; the latter "
            f"for {', '.join(floored)}",
            style="dim",
        )
    undefined = sorted({f"{s.method} {name}" for s in result.sequences for name in s.undefined})
    if undefined:
        yield Text(f"Δm leaves out what is not defined: {', '.join(undefined)}", style="dim")


def notes(result: RunResult) -> Iterator[Text]:
    """Caveats, failures, and what sharing saved."""
    yield from caveats(result)
    for failure in result.failures:
        where = f"{failure.method}: {', '.join(failure.tasks)}"
        yield Text(f"failed  {failure.key[:12]} ({where}): {failure.message}", style="bold red")
    total = result.stages_trained + result.stages_reused
    yield Text(
        f"{counted(total, 'stage')}: {result.stages_trained} trained, "
        f"{result.stages_reused} reused, {duration(result.seconds)}"
    )


def r_table(sequence: SequenceResult, metrics: Mapping[str, Sequence[MetricSpec]]) -> Table:
    """The R matrix: a row a stage, the headline metric of every task."""
    learned = [task for task in sequence.order if task in metrics]
    table = simple_table(f"{sequence.method}: {' → '.join(sequence.order)}, seed {sequence.seed}")
    table.add_column("after stage")
    for task in learned:
        table.add_column(metric_title(task, metrics[task][0]), justify="right")
    stages = {stage.position: stage.tasks for stage in sequence.stages}
    for i, row in enumerate(sequence.r_matrix, start=1):
        if not row:
            continue
        cells = [
            number(row.get(task, {}).get(metrics[task][0].name)) if task in row else ""
            for task in learned
        ]
        table.add_row(f"{i} {', '.join(stages.get(i, ()))}", *cells)
    return table


def closing_table(result: RunResult) -> WideTable:
    """Methods by headline metrics after the last stage; mean ± deviation over orders and seeds."""
    summaries = summarise(result)
    columns = [
        Column(
            metric_title(task, metrics[0]),
            [spread_text(summary.final[task][metrics[0].name]) for summary in summaries],
        )
        for task, metrics in result.metrics.items()
    ]
    forgetting = [spread_text(summary.forgetting, percent=100.0) for summary in summaries]
    columns.append(Column("forgetting\n↓", forgetting))
    if result.reference is not None:
        deltas = [spread_text(s.delta_m_pct, percent=1.0, signed=True) for s in summaries]
        columns.append(Column(f"Δm vs\n{result.reference} ↑", deltas))
    if any(summary.mean_rank for summary in summaries):
        ranks = [spread_text(summary.mean_rank) for summary in summaries]
        columns.append(Column("mean rank\n↓", ranks))
    methods = Column("method", [summary.method for summary in summaries])
    return WideTable("after the last stage", methods, columns)


def plan_table(result: PlanResult) -> RenderableType:
    """Each stage as cached or to train, and what sharing saves."""
    plan = result.plan
    table = simple_table(result.name)
    for title in ("stage", "after", "key", "state", "sequences"):
        table.add_column(title, justify="right" if title == "sequences" else "left")
    if result.compares:
        table.add_column("of", overflow="fold")
    for row in plan["rows"]:
        table.add_row(*_plan_row(row), *([", ".join(row["methods"])] if result.compares else []))
    saved = plan["stages_wanted"] - plan["unique"]
    return Group(
        table,
        Text(
            f"sequences: {plan['sequences']}, stages wanted: {plan['stages_wanted']}, different: "
            f"{plan['unique']} (sharing saves {saved}); {plan['cached']} cached, "
            f"{plan['to_train']} to train, {plan['to_evaluate']} to evaluate"
        ),
    )


def _plan_row(row: Mapping[str, Any]) -> Iterator[RenderableType]:
    if not row["cached"]:
        state = Text("train", style="yellow")
    elif row["to_evaluate"]:
        state = Text("evaluate", style="cyan")
    else:
        state = Text("cached", style="green")
    yield row["stage"]
    new = row["stage"].partition(": ")[2].split(", ")
    yield " → ".join(task for task in row["tasks"] if task not in new) or "-"
    yield row["key"][:12]
    yield state
    yield str(row["sequences"])
