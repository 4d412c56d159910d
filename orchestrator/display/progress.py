"""What is known of a running run: folds progress events into numbers. Pure, time is handed in."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from orchestrator.execution.messages import (
    Event,
    LaneFault,
    Outcome,
    StageLeased,
    StageProgress,
    Status,
)


@dataclass(frozen=True)
class ActiveStage:
    """A stage that a lane holds.

    Attributes:
        since: when its first optimiser step was seen, and how many steps were done then; a
            continued stage starts with some.
        last: its newest progress, None before the first.
    """

    key: str
    lane: str
    method: str
    order: tuple[str, ...]
    position: int
    tasks: tuple[str, ...]
    began: float
    since: tuple[float, int] | None = None
    last: StageProgress | None = None

    @property
    def fraction(self) -> float:
        """Share of its steps that are done, 0..1."""
        return done_steps(self.last) / _all_steps(self.last) if self.last else 0.0

    def seconds_left(self, now: float) -> float | None:
        """At the pace since the first step seen; None while unknown."""
        if self.last is None or self.since is None:
            return None
        at, before = self.since
        steps = done_steps(self.last) - before
        if steps <= 0 or now <= at:
            return None
        return max(0.0, (_all_steps(self.last) - before) * (now - at) / steps - (now - at))


@dataclass(frozen=True)
class RunProgress:
    """The whole run.

    Attributes:
        to_train: different stages the run has to train; cached: those it found sealed.
        trained, failed: how many of ``to_train`` ended in which way.
        active: what runs now, by key.
        seconds: wall times of the stages this run trained.
    """

    name: str
    to_train: int
    cached: int
    began: float
    trained: int = 0
    failed: int = 0
    active: dict[str, ActiveStage] = field(default_factory=dict)
    seconds: tuple[float, ...] = ()

    def after(self, event: Event, now: float) -> RunProgress:
        """The state once ``event`` has happened."""
        match event:
            case StageLeased():
                return self._idle(event.lease.lane)._with(_leased(event, now))
            case StageProgress():
                known = self.active.get(event.key) or _unleased(event, now)
                return self._with(_progressed(known, event, now))
            case Outcome():
                return self._ended(event)
            case LaneFault():
                return self if event.key is None else self._without(event.key)

    def seconds_left(self, now: float) -> float | None:
        """An estimate from the stages so far; None while there is none to go by."""
        paces = list(self.seconds)
        for stage in self.active.values():
            left = stage.seconds_left(now)
            if left is not None and stage.fraction > 0.1:
                paces.append(left / max(1e-9, 1 - stage.fraction))
        if not paces:
            return None
        left_stages = self.to_train - self.trained - self.failed
        left_stages_now = left_stages - sum(stage.fraction for stage in self.active.values())
        return max(0.0, left_stages_now) * sum(paces) / len(paces) / max(1, len(self.active))

    def _with(self, stage: ActiveStage) -> RunProgress:
        return replace(self, active={**self.active, stage.key: stage})

    def _idle(self, lane: str) -> RunProgress:
        """A lane holds one stage; it may have given the one before back, to be tried again."""
        kept = {key: stage for key, stage in self.active.items() if stage.lane != lane}
        return replace(self, active=kept)

    def _without(self, key: str) -> RunProgress:
        return replace(self, active={k: s for k, s in self.active.items() if k != key})

    def _ended(self, outcome: Outcome) -> RunProgress:
        rest = self._without(outcome.key)
        if outcome.status is Status.SEALED and outcome.trained:
            seconds = (*rest.seconds, outcome.seconds)
            return replace(rest, trained=rest.trained + 1, seconds=seconds)
        if outcome.status is Status.SEALED:
            return replace(rest, cached=rest.cached + 1, to_train=max(0, rest.to_train - 1))
        if outcome.status is Status.FAILED:
            return replace(rest, failed=rest.failed + 1)
        return rest  # cancelled, or given back because its parent has to be made first


def done_steps(progress: StageProgress | None) -> int:
    """Optimiser steps of the whole stage that are done."""
    if progress is None or progress.epoch == 0:
        return 0
    return (progress.epoch - 1) * progress.steps_per_epoch + progress.step


def finished_epochs(progress: StageProgress) -> int:
    """Epochs of the stage that are done; the last step of one may be the newest that was told."""
    whole = progress.step == progress.steps_per_epoch > 0
    return progress.epoch if whole else max(0, progress.epoch - 1)


def _all_steps(progress: StageProgress | None) -> int:
    return max(1, progress.epochs * progress.steps_per_epoch) if progress else 1


def _leased(event: StageLeased, now: float) -> ActiveStage:
    work = event.work
    return ActiveStage(
        event.lease.key, event.lease.lane, work.method, work.order, work.position, work.tasks, now
    )


def _unleased(event: StageProgress, now: float) -> ActiveStage:
    """Progress of a stage whose lease was not seen: a display may join late."""
    return ActiveStage(
        event.key, event.lane, event.method, event.order, event.position, event.tasks, now
    )


def _progressed(stage: ActiveStage, event: StageProgress, now: float) -> ActiveStage:
    since = stage.since
    if since is None and done_steps(event) > 0:
        since = (now, done_steps(event))
    return replace(stage, last=event, since=since)
