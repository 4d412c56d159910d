"""Runs of a store and sequences of a run: frozen values with a JSON form, and their tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from had_core.canonical import to_plain

if TYPE_CHECKING:
    from rich.console import RenderableType

_MOST = 200


@dataclass(frozen=True)
class RunLine:
    """One run.

    Attributes:
        created: UTC, ISO 8601, empty where it is not known.
        kept: False once it was dropped: ``had gc`` deletes what it alone needs.
    """

    name: str
    kind: str
    recipe: str
    created: str
    state: str
    sequences: int
    trials: int
    stages_trained: int
    stages_reused: int
    kept: bool = True


@dataclass(frozen=True)
class RunsResult:
    """Runs of a store, oldest first."""

    store: str
    runs: tuple[RunLine, ...]

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = to_plain(self)
        return plain


@dataclass(frozen=True)
class DropResult:
    """Runs that were dropped, and runs that are kept again."""

    store: str
    dropped: tuple[str, ...]
    kept: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = to_plain(self)
        return plain


@dataclass(frozen=True)
class SequenceLine:
    """One sequence.

    Attributes:
        stages: keys of the stages that it has so far.
        headline: of its last row on ``split``: task -> headline metric -> value.
    """

    sequence: str
    method: str
    order: tuple[str, ...]
    seed: int
    trial: str | None
    state: str
    stages: tuple[str, ...]
    split: str | None
    headline: Mapping[str, Mapping[str, float | None]]
    delta_m_pct: float | None
    forgetting: float | None


@dataclass(frozen=True)
class TrialLine:
    """One trial of a sweep: ``complete``, ``pruned``, ``failed`` or ``waiting``."""

    label: str
    state: str
    params: Mapping[str, Any]
    values: Mapping[str, float | None]


@dataclass(frozen=True)
class RunPage:
    """One run, its sequences and its trials."""

    store: str
    run: RunLine
    sequences: tuple[SequenceLine, ...]
    trials: tuple[TrialLine, ...]

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = to_plain(self)
        return plain


def runs_table(result: RunsResult) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from orchestrator.display.wide import Column, WideTable

    lines = result.runs[-_MOST:]
    texts = {
        "kind": [line.kind for line in lines],
        "created (UTC)": [line.created[:16].replace("T", " ") for line in lines],
        "state": [line.state if line.kept else f"{line.state}, dropped" for line in lines],
    }
    counts = {
        "sequences": [line.sequences for line in lines],
        "trials": [line.trials for line in lines],
        "trained": [line.stages_trained for line in lines],
        "reused": [line.stages_reused for line in lines],
    }
    table = WideTable(
        "runs",
        Column("name", [Text(line.name) for line in lines]),
        [
            *(Column(title, [Text(t) for t in cells], "left") for title, cells in texts.items()),
            *(Column(title, [str(n) for n in cells]) for title, cells in counts.items()),
        ],
    )
    if not result.runs:
        return Text("no runs")
    earlier = len(result.runs) - _MOST
    more = [Text(f"and {earlier} earlier ones: see --json")] if earlier > 0 else []
    return Group(table, *more)


def run_page(page: RunPage) -> RenderableType:
    """Sequences with the headline metrics of their last rows; trials where there are any."""
    from rich.console import Group
    from rich.text import Text

    from orchestrator.display.numbers import counted, number, params_text
    from orchestrator.display.wide import simple_table

    run = page.run
    parts: list[RenderableType] = [
        Text(
            f"{run.kind} {run.name}: {run.state}, created {run.created or 'at an unknown time'}, "
            f"{counted(run.stages_trained, 'stage')} trained, {run.stages_reused} reused"
        )
    ]
    table = simple_table("sequences")
    for title in ("sequence", "state", "last row"):
        table.add_column(title, overflow="fold")
    for title in ("stages", "Δm %", "forgetting"):
        table.add_column(title, justify="right")
    for each in page.sequences[-_MOST:]:
        last = "  ".join(
            f"{task} {name} {number(value)}"
            for task, metrics in each.headline.items()
            for name, value in metrics.items()
        )
        numbers = (number(each.delta_m_pct), number(each.forgetting))
        facts = (each.sequence, each.state, f"{last} ({each.split})" if last else "-")
        table.add_row(*map(Text, facts), str(len(each.stages)), *numbers)
    parts.append(table)
    if page.trials:
        trials = simple_table("trials")
        for title in ("trial", "state", "settings", "values"):
            trials.add_column(title, overflow="fold")
        for trial in page.trials[-_MOST:]:
            values = "  ".join(f"{name} {number(value)}" for name, value in trial.values.items())
            told = (trial.label, trial.state, params_text(trial.params), values)
            trials.add_row(*map(Text, told))
        parts.append(trials)
    if max(len(page.sequences), len(page.trials)) > _MOST:
        parts.append(Text(f"the last {_MOST} of {len(page.sequences)} sequences: see --json"))
    return Group(*parts)
