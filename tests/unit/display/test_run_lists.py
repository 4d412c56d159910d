"""The list of runs: nothing is cut off or folded where the terminal is narrow."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from orchestrator.display.run_lists import RunLine, RunsResult, runs_table

NAME = "quickstart-211bbddd"
RUN = RunLine(NAME, "compare", "quickstart", "2026-11-24T22:26:52+00:00", "finished", 48, 4, 63, 0)


@pytest.mark.parametrize("width", [80, 120])
def test_runs_stand_on_one_line_each(width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    console.print(runs_table(RunsResult("store", (RUN,))))
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    rows = [line.split() for line in lines if NAME in line]
    first = [NAME, "compare", "2026-11-24", "22:26", "finished", "48"]
    second = ["4", "63", "0"]
    assert rows == ([first, [NAME, *second]] if width == 80 else [[*first, *second]])
