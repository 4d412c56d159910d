"""The difference of two stages as a table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from orchestrator.display.book import ExplainResult
from orchestrator.display.wide import simple_table
from orchestrator.plan.explain import ABSENT, Level

_SHOWN = 12


def explain_tables(result: ExplainResult) -> RenderableType:
    """A row for every field that differs, oldest generation first, and what it means."""
    found = result.explanation
    left, right = found.left[:_SHOWN], found.right[:_SHOWN]
    if found.same:
        kept = "" if result.left_sealed else ", which is not in the store"
        return Text(f"the same stage: {found.left}{kept}", style="green")
    table = simple_table(f"{left} and {right}")
    table.add_column("stage", no_wrap=True)
    table.add_column("field", overflow="fold")
    table.add_column(left, overflow="fold")
    table.add_column(right, overflow="fold")
    for before, level in zip((None, *found.levels), found.levels, strict=False):
        for cells in _rows(level, before):
            table.add_row(*map(Text, cells))  # a list of names is no markup
    return Group(table, *_notes(result))


def _rows(level: Level, before: Level | None) -> Iterator[tuple[str, str, str, str]]:
    if level.left is None or level.right is None:  # every field of the other one would differ
        yield str(level.depth), "(stage)", _stage(level, "left"), _stage(level, "right")
        return
    if before is not None and before.fields == level.fields:
        yield str(level.depth), "(as above)", "", ""
        return
    for k, difference in enumerate(level.fields):
        depth = str(level.depth) if k == 0 else ""
        yield depth, difference.field, _value(difference.left), _value(difference.right)


def _stage(level: Level, side: str) -> str:
    key = level.left if side == "left" else level.right
    if key is None:
        return "(none)"
    values = {difference.field: getattr(difference, side) for difference in level.fields}
    return f"{key[:_SHOWN]} {_value(values.get('tasks', ''))}"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _notes(result: ExplainResult) -> Iterator[Text]:
    names = (result.explanation.left[:_SHOWN], result.explanation.right[:_SHOWN])
    if result.chosen != "named":
        how = (
            "planned by these settings" if result.chosen == "planned" else "the nearest sealed one"
        )
        yield Text(f"{names[1]} is {how} that knows the same tasks")
    for name, sealed in zip(names, (result.left_sealed, result.right_sealed), strict=True):
        if not sealed:
            yield Text(f"{name} is not in the store: it would have to be trained")
    levels = result.explanation.levels
    first, last = levels[0], levels[-1]
    if first.left is not None and first.right is not None:
        keys = f"{first.left[:_SHOWN]} and {first.right[:_SHOWN]}"
        after = (
            "; what comes after has other keys too" if first.left != result.explanation.left else ""
        )
        yield Text(f"they part at stage {first.depth} ({keys}){after}")
    else:
        longer, shorter = result.explanation.left, result.explanation.right
        if first.left is None:
            longer, shorter = shorter, longer
        yield Text(f"{longer[:_SHOWN]} goes on from {shorter[:_SHOWN]}, {last.depth} stages in all")
    shared = (d for level in levels if level.left and level.right for d in level.fields)
    if any(ABSENT in (d.left, d.right) for d in shared):
        yield Text(f"{ABSENT}: has no effect there, so it is not in that key", style="dim")
