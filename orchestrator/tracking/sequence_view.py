"""One sequence: its events in order, and the MLflow run they make."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.tracking.drawings import Drawing, Predictions, heat_map
from orchestrator.tracking.events import (
    End,
    Event,
    Numbers,
    SequenceFinished,
    SequenceStarted,
    TrialState,
)
from orchestrator.tracking.records import Point, RunRecord, Status, ms, text
from orchestrator.tracking.run_view import STATUS
from orchestrator.tracking.stage_view import scored_split, stage_name

if TYPE_CHECKING:
    from orchestrator.tracking.run_view import RunFacts
    from orchestrator.tracking.stage_view import StageView
    from orchestrator.tracking.trial_view import TrialView


@dataclass(frozen=True, slots=True)
class SequenceSummary:
    """The little that is kept of every sequence for what is shown of the whole run.

    Attributes:
        began: start of the sequence.
        time: when ``summary`` first appeared; 0 where there is none yet.
        stage: key of its last stage.
        depth: position of that stage, and whether it was trained here.
    """

    name: str
    method: str
    order: str
    seed: int
    began: float
    summary: Numbers
    time: float
    stage: str
    depth: tuple[int, bool]


@dataclass(frozen=True)
class SequenceView:
    """Everything the journal says about one sequence.

    Attributes:
        stages: in the order of R's rows.
        trial: the trial that wants it, None outside sweeps.
    """

    name: str
    started: SequenceStarted | None
    began: float
    end: SequenceFinished | None
    summary: Numbers
    summary_time: float
    stages: tuple[StageView, ...]
    trial: TrialView | None

    @classmethod
    def of(
        cls,
        name: str,
        events: Sequence[Event],
        stages: Sequence[StageView],
        trial: TrialView | None,
    ) -> SequenceView:
        starts = [e for e in events if isinstance(e, SequenceStarted)]
        last = events[-1] if events else None
        summary, since = _summary(events)
        times = [event.time for event in events] + [stage.began for stage in stages]
        return cls(
            name=name,
            started=starts[0] if starts else None,
            began=min(times, default=0.0),
            end=last if isinstance(last, SequenceFinished) else None,
            summary=summary,
            summary_time=since,
            stages=tuple(stages),
            trial=trial,
        )

    def uid(self, facts: RunFacts) -> str:
        return f"{facts.journal}/{self.name}"

    @property
    def order(self) -> tuple[str, ...]:
        return self.started.order if self.started else ()

    @property
    def title(self) -> str:
        """``had depth>normal>semantic s0``; the id where the start of the sequence is lost."""
        if self.started is None:
            return self.name
        start = self.started
        label = "" if start.label == start.trial else start.label
        words = [start.method, ">".join(start.order), f"s{start.seed}", label]
        return " ".join(word for word in words if word)

    @property
    def epochs_a_stage(self) -> int:
        """How many epochs every stage has; 0 where nothing says so."""
        told = self.started.params.get("epochs") if self.started else None
        known = max((stage.epochs_wanted for stage in self.stages), default=0)
        return told if isinstance(told, int) else known

    def epochs_before(self, stage: StageView) -> int:
        """Epochs of the stages before: the place of its first one on the sequence's axis."""
        ref = stage.ref
        return self.epochs_a_stage * (ref.position - len(ref.tasks))

    def end_of(self, stage: StageView) -> int:
        """The last epoch of a stage on the sequence's axis; its row of R stands there."""
        before, own = self.epochs_before(stage), stage.epochs_wanted or self.epochs_a_stage
        return before + own if own else stage.ref.position

    @property
    def final(self) -> bool:
        """Whether it ended by itself or with its trial, not only with its run."""
        return self.end is not None or (self.trial is not None and self.trial.end is not None)

    @property
    def tags(self) -> dict[str, str]:
        """Repeated on the stages, so that they stay nested under a filter on them."""
        trial = self.trial.tags if self.trial else {}
        if self.started is None:
            return {**trial, "had.sequence": self.name}
        return {
            **trial,
            "had.sequence": self.name,
            "had.method": self.started.method,
            "had.order": ">".join(self.started.order),
            "had.seed": str(self.started.seed),
        }


def sequence_record(facts: RunFacts, view: SequenceView) -> RunRecord:
    """The MLflow run of one sequence; its R grows with every stage."""
    status, end, message = _status(facts, view)
    start = facts.at(view.began)
    columns, table = r_table(view.stages)
    texts = {}
    tags = {
        **facts.tags_at(view.began),
        **view.tags,
        "had.kind": "sequence",
        **({"had.message": message} if message else {}),
    }
    if start is not None and start.config and facts.root is None:
        texts["config.json"] = json.dumps(start.config, indent=2)
    if table:
        texts["R.json"] = json.dumps({"columns": columns, "data": table})
        tables = [{"path": path, "type": "table"} for path in ("R.json", Predictions.path)]
        tags["mlflow.loggedArtifacts"] = json.dumps(tables)
        tags["mlflow.note.content"] = _note(view)
    return RunRecord(
        uid=view.uid(facts),
        name=view.title,
        parent=view.trial.uid(facts) if view.trial else facts.root,
        start_ms=ms(view.began),
        status=status,
        end_ms=None if end is None else ms(end),
        tags=tags,
        params=_params(view),
        points=(*_r_points(view), *_epoch_points(view), *_summary_points(view)),
        texts=texts,
        dataset=facts.dataset_at(view.began),
        drawings=_drawings(facts, view) if status != "RUNNING" else (),
    )


def _drawings(facts: RunFacts, view: SequenceView) -> tuple[Drawing, ...]:
    """R, and the predictions; these once for the many sequences of a sweep that are the same."""
    split, dataset = scored_split(view.stages), facts.dataset_at(view.began)
    rows = [(stage_name(s.ref), s.rows[split]) for s in view.stages if split in s.rows]
    drawn = heat_map(rows, dataset.tasks if dataset else {}, view.title)
    found: list[Drawing] = [drawn] if drawn else []
    if view.trial is None or any(stage.full for stage in view.stages):
        pictures = [(stage_name(s.ref), s.pictures) for s in view.stages if s.pictures]
        found += [Predictions(tuple(pictures))] if pictures else []
    return tuple(found)


def summary_of(view: SequenceView) -> SequenceSummary:
    last = max(view.stages, key=lambda stage: (stage.ref.position, stage.full), default=None)
    return SequenceSummary(
        name=view.name,
        method=view.started.method if view.started else "",
        order=">".join(view.order),
        seed=view.started.seed if view.started else 0,
        began=view.began,
        summary=view.summary,
        time=view.summary_time,
        stage=last.ref.key if last else "",
        depth=(last.ref.position, last.full) if last else (0, False),
    )


def r_table(stages: Sequence[StageView]) -> tuple[list[str], list[list[str | float | None]]]:
    """R as columns ``stage, <task>/<metric>...`` and one row a stage; None where not learned."""
    rows = [(stage_name(stage.ref), row) for stage, row in _r_rows(stages)]
    columns = list(dict.fromkeys(column for _, row in rows for column in row))
    return ["stage", *columns], [[name, *map(row.get, columns)] for name, row in rows]


def _r_rows(stages: Sequence[StageView]) -> list[tuple[StageView, dict[str, float | None]]]:
    """Every stage that has a row of R, with ``<task>/<metric>`` -> value."""
    split = scored_split(stages)
    return [
        (stage, {f"{task}/{name}": v for task, row in rows.items() for name, v in row.items()})
        for stage in stages
        if (rows := stage.rows.get(split)) is not None
    ]


def _note(view: SequenceView) -> str:
    """The headline metrics of R in Markdown, shown as the run's description."""
    split = scored_split(view.stages)
    rows = {
        stage_name(stage.ref): {
            f"{task} {metric}": values[metric]
            for task, values in stage.rows[split].items()
            for metric in list(values)[:1]
        }
        for stage in view.stages
        if split in stage.rows
    }
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = ["| after stage | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in rows.items():
        lines.append("| " + " | ".join([name, *(_cell(row.get(c)) for c in columns)]) + " |")
    where = {"test": "Test set", "val": "Held-out training images"}.get(split, split)
    return "\n".join([*lines, "", f"{where} after every stage; all metrics: artifact `R.json`."])


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _summary(events: Sequence[Event]) -> tuple[Numbers, float]:
    summary: Numbers = {}
    since = 0.0
    for event in events:
        if isinstance(event, SequenceFinished) and event.summary and event.summary != summary:
            summary, since = event.summary, event.time
    return summary, since


def _status(facts: RunFacts, view: SequenceView) -> tuple[Status, float | None, str]:
    if view.end is not None:
        return STATUS[view.end.end], view.end.time, view.end.message
    trial = view.trial
    if trial is not None and trial.over is not None:
        complete = trial.state is TrialState.COMPLETE
        word = trial.state.value if trial.state else "interrupted"
        message = "" if complete else f"trial {trial.label} is {word}"
        return "FINISHED" if complete else "KILLED", max(trial.over, view.began), message
    if facts.closed is not None:
        status: Status = "FAILED" if facts.closed.end is End.FAILED else "KILLED"
        return status, max(facts.closed.time, view.began), facts.closed.message
    return "RUNNING", None, ""


def _params(view: SequenceView) -> dict[str, str]:
    if view.started is None:
        return {}
    start = view.started
    base = {"method": start.method, "order": ">".join(start.order), "seed": text(start.seed)}
    return {**{name: text(value) for name, value in start.params.items()}, **base}


def _r_points(view: SequenceView) -> list[Point]:
    return [
        Point(f"R/{column}", view.end_of(stage), ms(stage.rows_time), value)
        for stage, row in _r_rows(view.stages)
        for column, value in row.items()
        if value is not None
    ]


def _epoch_points(view: SequenceView) -> list[Point]:
    """Losses and evaluations of all stages, one after the other on one axis."""
    points = []
    for stage in view.stages:
        before, end, at = view.epochs_before(stage), view.end_of(stage), ms(stage.rows_time)
        for epoch, when, values in stage.by_epoch():
            points += [Point(name, before + epoch, when, v) for name, v in values.items()]
        held_out = {k: v for k, v in stage.row_values().items() if k.startswith("val/")}
        points += [Point(name, end, at, value) for name, value in held_out.items()]
    return points


def _summary_points(view: SequenceView) -> list[Point]:
    at, step = ms(view.summary_time), max(map(view.end_of, view.stages), default=0)
    return [Point(k, step, at, v) for k, v in view.summary.items() if v is not None]
