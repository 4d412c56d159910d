"""What is known of a running sweep: folds events into numbers. Pure, time is handed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from orchestrator.display.progress import RunProgress
from orchestrator.execution.messages import Event
from orchestrator.search.events import (
    TrialEnd,
    TrialEnded,
    TrialEvent,
    TrialScored,
    TrialStarted,
)
from orchestrator.search.settings import Objective, Params


@dataclass(frozen=True)
class BestTrial:
    """The best complete trial; by its first value where there are two."""

    label: str
    params: Params
    values: tuple[float, ...]


@dataclass(frozen=True)
class SweepStart:
    """What is known before the first trial of this command begins.

    Attributes:
        trials: settings to judge in all; ended: how many an earlier command has judged, by how
            they ended.
        orders: whole orders of a trial.
        objective: what their first value is.
        best: of the earlier trials.
    """

    name: str
    trials: int
    orders: int
    objective: Objective = Objective.MEAN
    ended: Mapping[TrialEnd, int] = field(default_factory=dict)
    best: BestTrial | None = None


@dataclass(frozen=True)
class StageCounts:
    """Stages of the trials that this command began, as the driver counts them.

    Attributes:
        wanted: stages asked for, a shared one counted every time.
        reused: of those, the ones that were sealed or asked for before.
        open: different ones that have not ended; those that run are among them.
    """

    wanted: int = 0
    reused: int = 0
    open: int = 0


@dataclass(frozen=True)
class RunningTrial:
    """A trial that has begun and not ended.

    Attributes:
        orders_done: whole orders that count; value: of the objective over these, None before.
    """

    label: str
    params: Params
    orders_done: int = 0
    value: float | None = None


@dataclass(frozen=True)
class SweepProgress:
    """The whole sweep.

    Attributes:
        ended: trials by how they ended, earlier commands' included.
        running: by label, in the order of their beginning.
        stages: the lanes' side: what runs, what was trained, what failed.
    """

    start: SweepStart
    began: float
    ended: Mapping[TrialEnd, int]
    best: BestTrial | None
    running: Mapping[str, RunningTrial]
    counts: StageCounts
    stages: RunProgress

    @classmethod
    def of(cls, start: SweepStart, now: float) -> SweepProgress:
        stages = RunProgress(start.name, 0, 0, now)
        return cls(start, now, dict(start.ended), start.best, {}, StageCounts(), stages)

    def after(self, event: Event, now: float) -> SweepProgress:
        """The state once a stage has begun, gone on or ended."""
        return replace(self, stages=self.stages.after(event, now))

    def counted(self, counts: StageCounts) -> SweepProgress:
        return replace(self, counts=counts)

    def heard(self, event: TrialEvent) -> SweepProgress:
        """The state once a trial has begun, scored an order or ended."""
        match event:
            case TrialStarted(label=label, params=params):
                return self._running(RunningTrial(label, params))
            case TrialScored(label=label, orders_done=done, value=value):
                known = self.running.get(label) or RunningTrial(label, {})
                return self._running(replace(known, orders_done=done, value=value))
            case TrialEnded():
                return self._after_end(event)

    @property
    def judged(self) -> int:
        """Trials that need not come again."""
        return sum(count for end, count in self.ended.items() if end is not TrialEnd.INTERRUPTED)

    @property
    def waiting(self) -> int:
        """Stages that are wanted and that no lane holds."""
        return max(0, self.counts.open - len(self.stages.active))

    @property
    def images_per_s(self) -> float:
        """Of all lanes together, as far as they told."""
        last = (stage.last for stage in self.stages.active.values())
        return sum(progress.images_per_s for progress in last if progress is not None)

    def seconds_left(self, now: float) -> float | None:
        """At the pace of this command, in orders; None while there is none to go by.

        A trial that was pruned counts as whole, as those to come may be pruned too.
        """
        start = self.start
        before = sum(n for end, n in start.ended.items() if end is not TrialEnd.INTERRUPTED)
        partly = sum(trial.orders_done for trial in self.running.values())
        done = (self.judged - before) * start.orders + partly
        left = max(0, (start.trials - self.judged) * start.orders - partly)
        return left * (now - self.began) / done if done > 0 else None

    def _running(self, trial: RunningTrial) -> SweepProgress:
        return replace(self, running={**self.running, trial.label: trial})

    def _after_end(self, event: TrialEnded) -> SweepProgress:
        trial = self.running.get(event.label)
        rest = {label: other for label, other in self.running.items() if label != event.label}
        ended = {**self.ended, event.state: self.ended.get(event.state, 0) + 1}
        best = self.best
        if event.state is TrialEnd.COMPLETE and event.values:
            known = trial.params if trial else {}
            found = BestTrial(event.label, known, event.values)
            best = found if best is None or found.values[0] > best.values[0] else best
        return replace(self, running=rest, ended=ended, best=best)
