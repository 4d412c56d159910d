"""One stage of one sequence: its events in order, and the MLflow run they make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.tracking import curves
from orchestrator.tracking.events import (
    Curves,
    EpochEnded,
    Event,
    PictureRef,
    Rows,
    StageFailed,
    StageFinished,
    StageRef,
    StageReused,
    StageStarted,
)
from orchestrator.tracking.notes import stage_note
from orchestrator.tracking.records import ModelRecord, Point, RunRecord, Status, ms, text

if TYPE_CHECKING:
    from orchestrator.tracking.run_view import RunFacts
    from orchestrator.tracking.sequence_view import SequenceView

_End = StageFinished | StageReused | StageFailed


@dataclass(frozen=True)
class StageView:
    """Everything the journal says about one stage of one sequence.

    Attributes:
        began: time of the first event; ``last`` of the last one.
        started: the attempts.
        epochs: one a number, ascending, as the first attempt that reached it recorded it.
        end: what ended the latest attempt, None while it is open.
        rows: the latest evaluation, with the time when these numbers first appeared.
        curves: how another run trained it, and when that was first said.
        pictures: example predictions of the latest evaluation.
    """

    ref: StageRef
    began: float
    last: float
    started: tuple[StageStarted, ...]
    epochs: tuple[EpochEnded, ...]
    finished: StageFinished | None
    end: _End | None
    rows: Rows
    rows_time: float
    evals: Mapping[str, str]
    curves: Curves
    curves_time: float
    pictures: tuple[PictureRef, ...]

    @classmethod
    def of(cls, events: Sequence[Event]) -> StageView | None:
        """The view of events in order; None if none of them says which stage it is."""
        named = [e for e in events if isinstance(e, StageStarted | _End)]
        if not named:
            return None
        starts = tuple(e for e in events if isinstance(e, StageStarted))
        finished = [e for e in events if isinstance(e, StageFinished)]
        rows, rows_time, evals = _rows(events)
        told = [e for e in events if isinstance(e, StageReused) and e.curves]
        shown = [e for e in events if isinstance(e, StageFinished | StageReused) and e.pictures]
        return cls(
            ref=named[0].stage,
            began=events[0].time,
            last=events[-1].time,
            started=starts,
            epochs=_epochs(events),
            finished=finished[-1] if finished else None,
            end=_end(events),
            rows=rows,
            rows_time=rows_time,
            evals=evals,
            curves=told[0].curves if told else {},
            curves_time=told[0].time if told else 0.0,
            pictures=shown[-1].pictures if shown else (),
        )

    @property
    def full(self) -> bool:
        """Whether it was trained, wholly or in part, by this run for this sequence."""
        return bool(self.started or self.finished or self.epochs)

    @property
    def rank(self) -> tuple[int, bool, float, str]:
        """Sort key: parents before children, full runs before what links them."""
        return (self.ref.position, not self.full, self.began, self.ref.key)

    @property
    def epochs_wanted(self) -> int:
        """How many epochs the whole stage has; 0 while that is unknown."""
        told = max((len(line) for line in self.curves.values()), default=0)
        return self.started[-1].epochs if self.started else told

    def by_epoch(self) -> Iterator[tuple[int, int, dict[str, float]]]:
        """Epoch, milliseconds and numbers of every epoch that is known, ascending."""
        own = {e.epoch: (ms(e.time), curves.of_epoch(e.terms, e.scores)) for e in self.epochs}
        for epoch in range(1, max(self.epochs_wanted, *own, 0) + 1):
            at, values = own.get(epoch) or (
                ms(self.curves_time),
                curves.at_epoch(self.curves, epoch),
            )
            if values:
                yield epoch, at, values

    def row_values(self) -> dict[str, float]:
        """``<split>/<task>/<metric>`` -> value after the last epoch, but for what ``by_epoch`` has
        there already."""
        last = [values for epoch, _, values in self.by_epoch() if epoch == self.epochs_wanted]
        known = last[0] if last else {}
        return {k: v for k, v in curves.of_rows(self.rows).items() if k not in known}


def given_up(sequence: SequenceView, view: StageView) -> float | None:
    """When an open stage went down with its trial; None while it may live.

    A stage that another trial waits for as well goes on after its own trial was pruned: then the
    journal hears of it again.
    """
    over = sequence.trial.over if sequence.trial else None
    return None if view.end is not None or over is None or view.last > over else over


def scored_split(stages: Iterable[StageView]) -> str:
    """The split whose rows are shown as R: the test set, or what a sweep scores on."""
    splits = {split for stage in stages for split in stage.rows}
    return "test" if "test" in splits else min(splits, default="test")


def stage_uid(facts: RunFacts, ref: StageRef) -> str:
    return f"{facts.journal}/{ref.sequence}/{ref.key[:16]}"


def stage_name(ref: StageRef) -> str:
    """``2 normal``; several tasks learned together are joined by ``+``."""
    return f"{ref.position} {'+'.join(ref.tasks)}"


def stage_record(facts: RunFacts, sequence: SequenceView, view: StageView) -> RunRecord:
    """The MLflow run of one stage."""
    ref = view.ref
    status, end, message = _status(facts, sequence, view)
    tags = {
        **facts.tags_at(view.began),
        **sequence.tags,
        "had.kind": "stage",
        "had.stage_key": ref.key,
        "had.parent_stage_key": ref.parent or "",
        "had.position": str(ref.position),
        "had.tasks": ",".join(ref.tasks),
        "had.reused": "false" if view.full else "true",
        "had.attempts": str(max((s.attempt for s in view.started), default=0)),
        **({"had.message": message} if message else {}),
        **{f"had.eval.{split}": key for split, key in view.evals.items()},
        **_numerics(view),
    }
    if view.end is not None and not isinstance(view.end, StageFailed):
        tags["mlflow.note.content"] = stage_note(ref.key, ref.parent)
    return RunRecord(
        uid=stage_uid(facts, ref),
        name=stage_name(ref) + ("" if view.full else " (reused)"),
        parent=sequence.uid(facts),
        start_ms=ms(view.began),
        status=status,
        end_ms=None if end is None else ms(end),
        tags=tags,
        params=_params(view),
        points=(*_epoch_points(view), *_row_points(view)),
        dataset=facts.dataset_at(view.began) if view.full else None,
        pictures=view.pictures if view.full else (),
        model=_model(facts, sequence, view) if status == "FINISHED" and view.full else None,
        source_key=ref.parent if view.full else ref.key,
        reused=not view.full,
    )


def _epochs(events: Sequence[Event]) -> tuple[EpochEnded, ...]:
    first: dict[int, EpochEnded] = {}
    for event in events:
        if isinstance(event, EpochEnded):
            known = first.get(event.epoch)
            if known is None or event.attempt < known.attempt:
                first[event.epoch] = event
    return tuple(first[epoch] for epoch in sorted(first))


def _end(events: Sequence[Event]) -> _End | None:
    """The first event that ended the stage after its latest start."""
    end: _End | None = None
    for event in events:
        if isinstance(event, StageStarted):
            end = None
        elif isinstance(event, StageFailed):
            end = end or (event if event.final else None)
        elif isinstance(event, (StageFinished, StageReused)) and (
            end is None or isinstance(end, StageFailed)
        ):
            end = event
    return end


def _rows(events: Sequence[Event]) -> tuple[Rows, float, Mapping[str, str]]:
    rows: Rows = {}
    evals: Mapping[str, str] = {}
    since = 0.0
    for event in events:
        if isinstance(event, (StageFinished, StageReused)) and event.rows:
            if event.rows != rows:
                rows, since = event.rows, event.time
            evals = event.evals or evals
    return rows, since, evals


def _status(
    facts: RunFacts, sequence: SequenceView, view: StageView
) -> tuple[Status, float | None, str]:
    if isinstance(view.end, StageFailed):
        return "FAILED", view.end.time, view.end.message
    if view.end is not None:
        return "FINISHED", view.end.time, ""
    if (time := given_up(sequence, view)) is not None:
        return "KILLED", time, "its trial ended"
    if facts.closed is not None:
        return "KILLED", max(facts.closed.time, view.last), facts.closed.message
    return "RUNNING", None, ""


def _params(view: StageView) -> dict[str, str]:
    """Parameters of the first attempt; MLflow lets nobody change them later."""
    if not view.started:
        return {}
    first = view.started[0]
    return {"epochs": text(first.epochs), **{k: text(v) for k, v in first.params.items()}}


def _numerics(view: StageView) -> dict[str, str]:
    numerics = view.finished.numerics if view.finished else {}
    return {f"had.numerics.{name}": text(value) for name, value in numerics.items()}


def _epoch_points(view: StageView) -> list[Point]:
    """Over the epochs of this stage, as far as they were trained here."""
    if not view.full:
        return []
    points = [Point(k, n, at, v) for n, at, values in view.by_epoch() for k, v in values.items()]
    for event in view.epochs:
        found = {f"system/{name}": value for name, value in event.system.items()}
        if event.seconds > 0:
            found["images_per_s"] = event.images / event.seconds
            found["epoch_seconds"] = event.seconds
        at = ms(event.time)
        points += [Point(k, event.epoch, at, v) for k, v in found.items() if v is not None]
    return points


def _row_points(view: StageView) -> list[Point]:
    """The evaluation of the whole stage, at its last epoch."""
    at, step = ms(view.rows_time), view.epochs_wanted or view.ref.position
    # A light run has no curves, which may hold a part of the row already.
    values = view.row_values() if view.full else curves.of_rows(view.rows)
    return [Point(name, step, at, value) for name, value in values.items()]


def _model(facts: RunFacts, sequence: SequenceView, view: StageView) -> ModelRecord:
    ref, split = view.ref, scored_split([view])
    learned = sequence.order[: ref.position]
    path = learned if learned[-len(ref.tasks) :] == ref.tasks else ref.tasks
    return ModelRecord(
        name=f"{'>'.join(path)} {ref.key[:8]}",
        key=ref.key,
        parent=ref.parent,
        step=ref.position,
        params=_params(view),
        tags={
            "had.stage_key": ref.key,
            "had.parent_stage_key": ref.parent or "",
            "had.position": str(ref.position),
            "mlflow.note.content": stage_note(ref.key, ref.parent),
        },
        score_prefix=f"{split}/",
        score_step=view.epochs_wanted or ref.position,
        scored_on=facts.scored_on(view.began, split),
    )
