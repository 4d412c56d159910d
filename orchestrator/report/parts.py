"""A table that is wider than a sheet of paper, in parts below each other. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from orchestrator.report.tables import Column, Table


def parts(table: Table, most: int) -> Iterator[Table]:
    """As many tables as the width asks for; a task's metrics stay together.

    Args:
        most: columns beside each other, where one task has no more.
    """
    start = 0
    while start < len(table.columns):
        stop = start
        for end in _ends(table.columns, start):
            wide = end - start > most
            if stop > start and (wide or not table.columns[start].group):  # the summary is apart
                break
            stop = end
        names = dict.fromkeys(column.group for column in table.columns[start:stop])
        caption = f"After the last stage: {', '.join(names)}" if any(names) else "Summary"
        yield replace(table.part(start, stop), caption=caption)
        start = stop


def groups(columns: Sequence[Column]) -> list[tuple[str, int]]:
    """Groups of columns with how many columns each spans."""
    found: list[tuple[str, int]] = []
    for column in columns:
        if found and found[-1][0] == column.group:
            found[-1] = (column.group, found[-1][1] + 1)
        else:
            found.append((column.group, 1))
    return found


def _ends(columns: Sequence[Column], start: int) -> Iterator[int]:
    """Where a group of columns ends, after ``start``."""
    for k in range(start, len(columns)):
        last = k + 1 == len(columns)
        if last or columns[k].group != columns[k + 1].group:
            yield k + 1
