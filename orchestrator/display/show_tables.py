"""One stage as a page of facts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.display.book import Row, ShowResult, StageFile, Use
from orchestrator.display.numbers import counted, duration, number
from orchestrator.display.wide import simple_table

_SHOWN = 12
_MOST = 8


def show_tables(result: ShowResult) -> RenderableType:
    """What it is, where it comes from, who uses it; its rows; its files."""
    parts: list[RenderableType] = [_facts(result)]
    parts += [_row_table(split, row) for split, row in result.rows.items()]
    if result.files:
        parts.append(_file_table(result.files))
    return Group(*parts)


def _file_table(files: Sequence[StageFile]) -> Table:
    """Below each folder, which is named in full, its files."""
    table = simple_table("files")
    table.add_column("of", no_wrap=True)
    table.add_column("file", overflow="fold")
    table.add_column("bytes", justify="right", no_wrap=True)
    last = ""
    for file in files:
        folder, _, name = file.path.rpartition("/")
        if folder != last:
            table.add_row(file.artifact, folder)
        table.add_row("", f"  {name}", f"{file.size:,}".replace(",", " "))
        last = folder
    return table


def _facts(result: ShowResult) -> Table:
    table = Table(
        title=f"stage {result.key}",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE,
        show_header=False,
    )
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in _lines(result):
        table.add_row(label, Text(value))
    return table


def _lines(result: ShowResult) -> Iterator[tuple[str, str]]:
    yield "state", _state(result)
    yield "learns", ", ".join(result.learns)
    if result.tasks:
        yield "knows", ", ".join(result.tasks)
    for name, value in result.settings.items():
        yield name, _short(value)
    yield "parent", result.parent[:_SHOWN] if result.parent else "none: fresh weights"
    children = [
        f"{child.key[:_SHOWN]} {', '.join(child.tasks)}{'' if child.sealed else ' (not sealed)'}"
        for child in result.children
    ]
    yield "children", _few(children)
    yield "trained by" if result.state == "sealed" else "begun by", _use(result.trained_by)
    yield "reused by", _users(result.reused_by)
    if result.numerics:
        mixed = ", mixed: resumed in another class" if result.mixed_numerics else ""
        yield "numerics", _short(result.numerics) + mixed
    if result.versions:
        yield "versions", _short(result.versions)
    if result.commit:
        yield "commit", result.commit
    for attempt in result.attempts:
        yield (
            f"attempt {attempt['attempt']}",
            (f"from epoch {attempt['from_epoch']}, {attempt['steps']} steps"),
        )


def _state(result: ShowResult) -> str:
    if result.state == "sealed":
        seconds = duration(result.seconds or 0.0)
        return f"sealed: {counted(result.epochs, 'epoch')}, {result.steps} steps, {seconds}"
    if result.state == "partial":
        return f"partial: {result.epochs_done} of {result.epochs} epochs are kept"
    return "lost: begun, but nothing of it can be used; had run trains it again"


def _use(use: Use) -> str:
    return f"run {use.run}, sequence {use.sequence}"


def _users(uses: Sequence[Use]) -> str:
    """Sequences are many: by run, and in full where there is one."""
    if len(uses) == 1:
        return _use(uses[0])
    runs = Counter(use.run for use in uses)
    return _few([f"run {run} ({count} sequences)" for run, count in runs.items()])


def _few(items: Sequence[str]) -> str:
    more = f"\nand {len(items) - _MOST} more: see --json" if len(items) > _MOST else ""
    return "\n".join(items[:_MOST]) + more if items else "none"


def _short(value: Any) -> str:
    """Mappings flat: ``name had, lambda 3, loss.k 0.9``."""
    if isinstance(value, Mapping):
        return ", ".join(f"{path} {_short(inner)}" for path, inner in _flat(value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{path}{name}.")
        else:
            yield f"{path}{name}", inner


def _row_table(split: str, row: Row) -> Table:
    table = simple_table(f"row on {split}")
    table.add_column("task")
    table.add_column("metrics", overflow="fold")
    for task, metrics in row.items():
        table.add_row(task, "  ".join(f"{name} {number(v)}" for name, v in metrics.items()))
    return table
