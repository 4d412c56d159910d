"""What ``had sync`` did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from had_core.canonical import to_plain

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class SyncedRun:
    """One run.

    Attributes:
        tracking_uri: where it was brought to; None where it is not tracked.
        events: read from its journal.
        written: MLflow runs that were made or changed.
        skipped: why nothing was done, empty if it was.
        damaged: journal segments that cannot be read.
    """

    name: str
    tracking_uri: str | None
    events: int
    written: int
    skipped: str = ""
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True)
class SyncResult:
    """Every run that was looked at."""

    store: str
    runs: tuple[SyncedRun, ...]

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = to_plain(self)
        return plain


def sync_text(result: SyncResult) -> RenderableType:
    """A line for every run on which something was done, and how many needed nothing."""
    from rich.text import Text

    from orchestrator.display.numbers import counted

    there = "MLflow has everything"
    lines = []
    for run in result.runs:
        if run.skipped and run.skipped != there:
            lines.append(f"{run.name}: skipped, {run.skipped}")
        elif not run.skipped:
            lines.append(
                f"{run.name}: {counted(run.events, 'event')}, "
                f"{counted(run.written, 'MLflow run')} written to {run.tracking_uri}"
            )
        lines += [f"{run.name}: damaged and left out: {name}" for name in run.damaged]
    fine = sum(run.skipped == there for run in result.runs)
    lines.append(f"{counted(len(result.runs), 'run')}, {fine} of which MLflow had in full")
    return Text("\n".join(lines))
