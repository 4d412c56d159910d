"""One trial of a sweep: its events in order, and the MLflow run they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from orchestrator.tracking.events import (
    Event,
    Numbers,
    Scalar,
    TrialFinished,
    TrialScored,
    TrialStarted,
    TrialState,
)
from orchestrator.tracking.records import Point, RunRecord, Status, ms, text
from orchestrator.tracking.run_view import STATUS

if TYPE_CHECKING:
    from orchestrator.tracking.run_view import RunFacts


@dataclass(frozen=True)
class TrialView:
    """Everything the journal says about one trial.

    Attributes:
        began: time of the first event.
        scores: one for every number of orders, ascending; as it was first recorded.
        end: None while it is open.
        interrupted: when its driver went; its setting comes again under another number. None
            while it may go on.
    """

    label: str
    started: TrialStarted | None
    began: float
    scores: tuple[TrialScored, ...]
    end: TrialFinished | None
    interrupted: float | None

    @classmethod
    def of(
        cls, label: str, events: Sequence[Event], began: float, breaks: Sequence[float]
    ) -> TrialView:
        """The view of events in order.

        Args:
            began: start of its first sequence, for a trial whose own start is lost.
            breaks: when drivers ended.
        """
        starts = [e for e in events if isinstance(e, TrialStarted)]
        ends = [e for e in events if isinstance(e, TrialFinished)]
        scores: dict[int, TrialScored] = {}
        for event in events:
            if isinstance(event, TrialScored):
                scores.setdefault(event.step, event)
        open_again = bool(starts and ends and starts[-1].time > ends[-1].time)
        end = ends[-1] if ends and not open_again else None
        last = events[-1].time if events else began
        return cls(
            label=label,
            started=starts[0] if starts else None,
            began=min(began, *(e.time for e in events)) if events else began,
            scores=tuple(scores[step] for step in sorted(scores)),
            end=end,
            interrupted=None if end else min((b for b in breaks if b > last), default=None),
        )

    @property
    def number(self) -> int:
        return self.started.number if self.started else 0

    @property
    def params(self) -> Mapping[str, Scalar]:
        return self.started.params if self.started else {}

    @property
    def state(self) -> TrialState | None:
        return self.end.state if self.end else None

    @property
    def over(self) -> float | None:
        """When it ended or was interrupted."""
        return self.end.time if self.end else self.interrupted

    @property
    def values(self) -> Numbers:
        """Of every objective; a pruned trial's are of other orders, and so not comparable."""
        complete = self.end is not None and self.end.state is TrialState.COMPLETE
        return self.end.values if self.end and complete else {}

    @cached_property
    def values_by_number(self) -> tuple[Point, ...]:
        """For the sweep's run: the final values over the trial's number."""
        if self.end is None:
            return ()
        at = ms(self.end.time)
        values = [(name, value) for name, value in self.values.items() if value is not None]
        return tuple(Point(f"trial/{name}", self.number, at, value) for name, value in values)

    @property
    def rank(self) -> tuple[int, str]:
        """Sort key: the order of the study."""
        return (self.number, self.label)

    @property
    def title(self) -> str:
        """``t0003 lambda=2.31 beta=0.5``: the label and the short parameters."""
        words = [f"{short_name(name)}={short(value)}" for name, value in self.params.items()]
        return text(" ".join([self.label, *words]))

    @property
    def tags(self) -> dict[str, str]:
        """Repeated on sequences and stages, so that they stay nested under a filter on them."""
        tags = {"had.trial": self.label}
        if self.started is not None:
            tags["had.trial_number"] = str(self.number)
        if self.state is not None:
            tags["had.trial_state"] = self.state.value
        return tags

    def uid(self, facts: RunFacts) -> str:
        return f"{facts.journal}/{self.label}"


def trial_record(facts: RunFacts, view: TrialView) -> RunRecord:
    """The MLflow run of one trial."""
    status, end, message = _status(facts, view)
    return RunRecord(
        uid=view.uid(facts),
        name=view.title,
        parent=facts.root,
        start_ms=ms(view.began),
        status=status,
        end_ms=None if end is None else ms(end),
        tags={
            **facts.tags_at(view.began),
            **view.tags,
            "had.kind": "trial",
            **({"had.message": message} if message else {}),
        },
        params={name: text(value) for name, value in view.params.items()},
        points=_points(view),
    )


def short_name(path: str) -> str:
    """``method.loss.delta`` -> ``delta``, ``method.lambda.depth`` -> ``lambda.depth``."""
    return path.removeprefix("method.").removeprefix("loss.")


def short(value: Scalar) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _status(facts: RunFacts, view: TrialView) -> tuple[Status, float | None, str]:
    if view.end is not None:
        return STATUS[view.end.end], view.end.time, view.end.message
    if view.interrupted is not None:
        return "KILLED", view.interrupted, "interrupted: its setting comes again as another trial"
    return "RUNNING", None, ""


def _points(view: TrialView) -> tuple[Point, ...]:
    """``order/...`` over the orders finished so far, ``objective/...`` at the last of them."""
    points = [
        Point(f"order/{name}", score.step, ms(score.time), value)
        for score in view.scores
        for name, value in score.values.items()
        if value is not None
    ]
    if view.end is not None:
        last = max((score.step for score in view.scores), default=0)
        points += [
            Point(f"objective/{name}", last, ms(view.end.time), value)
            for name, value in view.values.items()
            if value is not None
        ]
    return tuple(points)
