"""A run's drivers and one sequence: their events in order, and the MLflow run they make."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.tracking.events import (
    End,
    Event,
    Numbers,
    Rows,
    RunFinished,
    RunStarted,
    SequenceFinished,
    SequenceStarted,
)
from orchestrator.tracking.records import Point, RunRecord, Status
from orchestrator.tracking.stage_view import ms, stage_name, text

if TYPE_CHECKING:
    from orchestrator.tracking.stage_view import StageView

_STATUS: dict[End, Status] = {
    End.FINISHED: "FINISHED",
    End.FAILED: "FAILED",
    End.KILLED: "KILLED",
}


@dataclass(frozen=True)
class RunFacts:
    """What holds for the whole run.

    Attributes:
        starts: every start of a driver, in order.
        closed: the end of the last driver, None while one works.
    """

    journal: str
    run: str
    starts: tuple[RunStarted, ...]
    closed: RunFinished | None

    @classmethod
    def of(cls, journal: str, run: str, events: Sequence[Event]) -> RunFacts:
        starts = tuple(e for e in events if isinstance(e, RunStarted))
        last = events[-1] if events else None
        return cls(journal, run, starts, last if isinstance(last, RunFinished) else None)

    def at(self, time: float) -> RunStarted | None:
        """The driver that worked at ``time``, so that a later one rewrites no history."""
        before = [start for start in self.starts if start.time <= time]
        return before[-1] if before else next(iter(self.starts), None)

    def tags_at(self, time: float) -> dict[str, str]:
        start = self.at(time)
        tags = {"had.run_name": self.run, "had.journal": self.journal}
        if start is not None:
            known = {
                "mlflow.user": start.user,
                "mlflow.source.git.commit": start.commit,
                "mlflow.source.name": start.command,
            }
            tags.update({name: value for name, value in known.items() if value})
        return tags


@dataclass(frozen=True)
class SequenceView:
    """Everything the journal says about one sequence; ``stages`` in the order of R's rows."""

    name: str
    started: SequenceStarted | None
    began: float
    end: SequenceFinished | None
    summary: Numbers
    summary_time: float
    stages: tuple[StageView, ...]

    @classmethod
    def of(cls, name: str, events: Sequence[Event], stages: Sequence[StageView]) -> SequenceView:
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
        words = [start.method, ">".join(start.order), f"s{start.seed}", start.label]
        return " ".join(word for word in words if word)

    @property
    def tags(self) -> dict[str, str]:
        """Repeated on the stages, so that they can be searched for by themselves."""
        if self.started is None:
            return {"had.sequence": self.name}
        return {
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
    if start is not None and start.config:
        texts["config.json"] = json.dumps(start.config, indent=2)
    if table:
        texts["R.json"] = json.dumps({"columns": columns, "data": table})
        tags["mlflow.loggedArtifacts"] = json.dumps([{"path": "R.json", "type": "table"}])
        tags["mlflow.note.content"] = _note(view)
    return RunRecord(
        uid=view.uid(facts),
        name=view.title,
        parent=None,
        start_ms=ms(view.began),
        status=status,
        end_ms=None if end is None else ms(end),
        tags=tags,
        params=_params(view),
        points=(*_r_points(view), *_summary_points(view)),
        texts=texts,
        dataset=start.dataset if start else None,
    )


def r_table(stages: Sequence[StageView]) -> tuple[list[str], list[list[str | float | None]]]:
    """R as columns ``stage, <task>/<metric>...`` and one row a stage; None where not learned."""
    rows = [(stage_name(s.ref), _flat(s.rows)) for s in stages if "test" in s.rows]
    columns = list(dict.fromkeys(column for _, row in rows for column in row))
    return ["stage", *columns], [[name, *map(row.get, columns)] for name, row in rows]


def _flat(rows: Rows) -> dict[str, float | None]:
    test = rows.get("test", {})
    return {f"{task}/{metric}": v for task, row in test.items() for metric, v in row.items()}


def _note(view: SequenceView) -> str:
    """The headline metrics of R in Markdown, shown as the run's description."""
    rows = {
        stage_name(stage.ref): {
            f"{task} {metric}": values[metric]
            for task, values in stage.rows["test"].items()
            for metric in list(values)[:1]
        }
        for stage in view.stages
        if "test" in stage.rows
    }
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = ["| after stage | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in rows.items():
        lines.append("| " + " | ".join([name, *(_cell(row.get(c)) for c in columns)]) + " |")
    return "\n".join([*lines, "", "Test set after every stage; all metrics: artifact `R.json`."])


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
        return _STATUS[view.end.end], view.end.time, view.end.message
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
        Point(f"R/{column}", stage.ref.position, ms(stage.rows_time), value)
        for stage in view.stages
        for column, value in _flat(stage.rows).items()
        if value is not None
    ]


def _summary_points(view: SequenceView) -> list[Point]:
    at, step = ms(view.summary_time), max((s.ref.position for s in view.stages), default=0)
    return [Point(k, step, at, v) for k, v in view.summary.items() if v is not None]
