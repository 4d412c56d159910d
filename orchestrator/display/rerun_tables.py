"""``had rerun`` as tables: the rows beside each other, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from orchestrator.display.numbers import duration, metric_title, number
from orchestrator.display.results import Check, RerunResult, Row
from orchestrator.display.wide import simple_table

_SPLITS = {"test": "test split", "val": "validation part"}
_CHECKED = {
    "opening": "losses where training began",
    "weights": "weights, by how far training moved them",
    "metrics": "metrics",
}


def rerun_tables(result: RerunResult) -> RenderableType:
    """The row that came out beside the sealed one, and whether the weights are the same."""
    table = simple_table(f"stage {result.new_key[:12]}: {', '.join(result.tasks)}")
    table.add_column(f"metric on the {_SPLITS[result.split]}")
    table.add_column("rerun", justify="right")
    if result.sealed_row is not None:
        table.add_column("sealed", justify="right")
    for task, values in result.row.items():
        for metric in result.metrics[task]:
            cells = [number(values.get(metric.name))]
            if result.sealed_row is not None:
                cells.append(number(_cell(result.sealed_row, task, metric.name)))
            table.add_row(metric_title(task, metric).replace("\n", " "), *cells)
    parts: list[RenderableType] = [table, *_verdict(result)]
    if result.ancestors:
        keys = ", ".join(key[:12] for key in result.ancestors)
        parts.append(Text(f"trained first, and sealed: {keys}"))
    for each in result.descendants:
        first, *rest = _verdict(each)
        parts += [Text(f"{each.key[:12]} ({', '.join(each.tasks)}): ") + first, *rest]
    return Group(*parts)


def _verdict(result: RerunResult) -> Iterator[Text]:
    steps = f"{result.steps_run} optimiser steps"
    steps += f", {duration(result.seconds)}" if result.seconds else ""
    if result.reproduced is None:
        there = "" if result.steps_run else ", which was in the store already"
        yield Text(f"a new stage beside {result.key[:12]}: {result.new_key}{there}")
    elif result.reproduced:
        yield Text(f"reproduced: the weights are the same bit for bit ({steps})", style="green")
    elif result.agrees is None:
        yield Text(f"NOT reproduced: {_first_difference(result)} ({steps})", style="bold red")
    else:
        yield from _across_classes(result, steps)


def _across_classes(result: RerunResult, steps: str) -> Iterator[Text]:
    """The verdict, what it rests on, and how it could be had bit for bit."""
    if result.agrees:
        said = "agrees within the stated tolerances, not bit for bit"
        yield Text(f"{said}: {_classes(result)} ({steps})", style="yellow")
    else:
        said = "NOT reproduced: farther apart than rounding explains"
        yield Text(f"{said}, although {_classes(result)} ({steps})", style="bold red")
    for check in result.checks:
        yield Text(f"  {_check(check)}", style="" if check.holds else "bold red")
    yield Text(f"  {_first_difference(result)}", style="dim")
    yield Text(f"  {_bitwise(result)}")


def _check(check: Check) -> str:
    apart = "cannot be compared" if check.value is None else f"{check.value:.2g} apart"
    holds = "" if check.holds else "NO: "
    return f"{holds}{_CHECKED[check.name]}: {apart}, {check.allowed:.2g} allowed ({check.where})"


def _classes(result: RerunResult) -> str:
    """``sealed with threads=1, rerun with threads=2``."""
    if result.mixed_numerics:
        return "sealed partly in one numerics class and partly in another, where it was resumed"
    assert result.sealed_in is not None and result.rerun_in is not None
    pairs = result.sealed_in.differences(result.rerun_in)
    there, here = (
        ", ".join(f"{name}={pair[side]}" for name, pair in pairs.items()) for side in (0, 1)
    )
    return f"sealed with {there}, rerun with {here}"


def _bitwise(result: RerunResult) -> str:
    if result.mixed_numerics:
        return "no rerun can be checked bit for bit against it"
    if result.bitwise_with:
        return f"had rerun {result.key[:12]} {' '.join(result.bitwise_with)} checks it bit for bit"
    assert result.sealed_in is not None
    named = ", ".join(f"{name}={value}" for name, value in result.sealed_in.to_json().items())
    return f"it can be checked bit for bit where it was sealed: {named}"


def _first_difference(result: RerunResult) -> str:
    known = result.difference is not None and math.isfinite(result.difference)
    gap = f"up to {result.difference:.3g}" if known else "shape or type"
    return f"the first tensor that differs is {result.first_difference}, by {gap}"


def _cell(row: Row, task: str, metric: str) -> float | None:
    return row.get(task, {}).get(metric)
