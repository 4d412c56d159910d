"""A table that is never cut off: what does not fit beside goes below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Column:
    """One column: a heading of one or more lines, and a cell a row."""

    title: str
    cells: Sequence[Text | str]
    justify: Literal["left", "right"] = "right"


class WideTable:
    """In as many parts as the width asks for; each begins with the same first column."""

    def __init__(self, title: str, first: Column, columns: Sequence[Column]) -> None:
        self.title, self.first, self.columns = title, first, columns

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self._parts(console, options)

    def _parts(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        shown: list[Column] = []
        title = self.title
        for column in self.columns:
            table = self._table(title, [*shown, column])
            width = Measurement.get(console, options.update(width=10_000), table).maximum
            if shown and width > options.max_width:
                yield self._table(title, shown)
                title, shown = f"{self.title} (continued)", []
            shown.append(column)
        yield self._table(title, shown)

    def _table(self, title: str, columns: Sequence[Column]) -> Table:
        table = simple_table(title)
        table.add_column(self.first.title)
        for column in columns:
            table.add_column(column.title, justify=column.justify, no_wrap=True)
        for row in zip(self.first.cells, *(column.cells for column in columns), strict=True):
            table.add_row(*row)
        return table


def simple_table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
