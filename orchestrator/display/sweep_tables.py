"""A sweep as rich tables: the top settings, the best one and its orders, what sharing saved."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.display.numbers import counted, duration, param_name, param_text, spread_text
from orchestrator.display.summary import Spread
from orchestrator.display.sweep_results import SweepResult, TrialResult
from orchestrator.display.wide import Column, WideTable, simple_table

MOST_TRIALS = 10
MOST_ORDERS = 24  # shown one by one; more are in --json


def sweep_tables(result: SweepResult) -> RenderableType:
    """The top trials, the best setting and its orders, how trials ended, what sharing saved."""
    parts: list[RenderableType] = []
    if result.best:
        parts += [top_table(result), Text(), best_table(result), Text()]
    if result.best_orders:
        parts += [orders_table(result), Text()]
    return Group(*parts, *_trials(result), *_sharing(result))


def top_table(result: SweepResult) -> WideTable:
    """The best complete trials; with two objectives those that no other beats in both."""
    if len(result.objectives) == 1:
        ranked = [trial for trial in result.trials if trial.state == "complete"]
        ranked.sort(key=lambda trial: -trial.values[0])  # stable: the first of equals
        title = "trials"
    else:
        ranked = [result.trial(label) for label in result.best]
        title = "trials that no other one beats in both"
    trials = ranked[:MOST_TRIALS]
    if len(ranked) > len(trials):
        title += f" (the best {len(trials)} of {len(ranked)})"
    columns = [
        Column(f"{result.title} ↑", [_percent(trial) for trial in trials]),
        Column("over orders", [_deviation(trial) for trial in trials]),
        Column("worst order", [_worst(trial) for trial in trials]),
        Column("forgetting ↓", [_forgetting(trial) for trial in trials]),
    ]
    for path in dict.fromkeys(path for trial in trials for path in trial.params):
        columns.append(
            Column(param_name(path), [param_text(trial.params.get(path, "-")) for trial in trials])
        )
    best = result.best[0]
    names = [Text(t.label, style="bold" if t.label == best else "") for t in trials]
    return WideTable(title, Column("trial", names), columns)


def best_table(result: SweepResult) -> Table:
    """The setting that was found, or the first of those that no other beats."""
    best = result.trial(result.best[0])
    table = simple_table(f"best setting: {best.label}")
    table.add_column("setting")
    table.add_column("value", justify="right")
    for path, value in best.params.items():
        table.add_row(path, Text(param_text(value), style="bold"))
    table.add_section()
    table.add_row(result.title, _percent(best))
    return table


def orders_table(result: SweepResult) -> Table:
    """Delta_m and forgetting of the best trial in every order, and over them; the reference's
    forgetting beside it."""
    table = simple_table(f"{result.best[0]} in each order")
    table.add_column("order")
    table.add_column(f"Δm vs {result.reference} ↑", justify="right")
    table.add_column("forgetting ↓", justify="right")
    table.add_column(f"of {result.reference} ↓", justify="right")
    shown, seeds = result.best_orders[:MOST_ORDERS], len(result.seeds)
    for order in shown:
        table.add_row(
            " → ".join(order.order),
            spread_text(order.delta_m_pct, percent=1.0, signed=True, of=seeds),
            spread_text(order.forgetting, percent=100.0, of=seeds),
            spread_text(order.reference_forgetting, percent=100.0, of=seeds),
        )
    if len(result.best_orders) > len(shown):
        table.add_row(f"{len(result.best_orders) - len(shown)} more: see --json", "", "", "")
    if len(result.best_orders) > 1:
        table.add_section()
        deltas = _over(order.delta_m_pct for order in result.best_orders)
        forgotten = _over(order.forgetting for order in result.best_orders)
        theirs = _over(order.reference_forgetting for order in result.best_orders)
        table.add_row(
            Text("mean ± deviation over orders", style="bold"),
            Text(spread_text(deltas, percent=1.0, signed=True), style="bold"),
            Text(spread_text(forgotten, percent=100.0), style="bold"),
            Text(spread_text(theirs, percent=100.0), style="bold"),
        )
    return table


def _trials(result: SweepResult) -> Iterator[Text]:
    counts = result.counts
    ends = ", ".join(f"{count} {state}" for state, count in counts.items())
    orders, seeds = counted(len(result.orders), "order"), counted(len(result.seeds), "seed")
    trials = counted(result.trials_wanted, "trial")
    yield Text(f"{trials} x {orders} x {seeds}: {ends or 'none has ended'}")
    for trial in result.trials:
        if trial.state == "failed":
            yield Text(f"failed  {trial.label}: {trial.message}", style="bold red")
    if result.best and result.trial(result.best[0]).values[0] < 0:
        yield Text(f"no setting beats {result.reference}", style="yellow")
    if result.best:
        judged = counts["complete"] + counts["pruned"]
        yield Text(
            f"scores are of the validation part, on which the best of {judged} was chosen: "
            "had compare tells how it does on the test set",
            style="dim",
        )


def _sharing(result: SweepResult) -> Iterator[Text]:
    shared, wanted = result.stages_shared, result.stages_wanted
    if wanted:
        per_stage = result.seconds_per_stage
        time = f", about {duration(shared * per_stage)} of training" if per_stage else ""
        share = f"{100 * shared / wanted:.0f} %"
        yield Text(f"sharing saved {shared} of {wanted} stages ({share}){time}", style="green")
    yield Text(
        f"{result.stages_unique} different stages: {result.stages_trained} trained, "
        f"{result.stages_reused} reused, {duration(result.seconds)}"
    )


def _over(spreads: Iterator[Spread | None]) -> Spread | None:
    """Over orders, of the means over seeds."""
    return Spread.of(spread.mean for spread in spreads if spread is not None)


def _percent(trial: TrialResult) -> str:
    return f"{trial.values[0]:+.1f} %"


def _deviation(trial: TrialResult) -> str:
    spread = Spread.of(trial.delta_m_pct)
    return "-" if spread is None or spread.std is None else f"± {spread.std:.1f}"


def _worst(trial: TrialResult) -> str:
    return f"{min(trial.delta_m_pct):+.1f} %" if trial.delta_m_pct else "-"


def _forgetting(trial: TrialResult) -> str:
    return spread_text(Spread.of(trial.forgetting), percent=100.0)
