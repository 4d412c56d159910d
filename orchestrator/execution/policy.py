"""Which stage runs next: pure decisions over one explicitly owned state.

No clock, no thread, no Ray: the same policy sits behind the local queue and behind the actor, and
its tests need nothing but calls. A stage moves like this::

    WAITING ──next──> LEASED ──finish──> SEALED
       ^                 │ lost / error, fewer than max_attempts failures; another driver has it
       └─────────────────┤
                         ├ last failure ──> FAILED (and with it every stage that needs it)
                         └ nobody wants it ──> DROPPED

Rules:

* a stage is ready when its parent is sealed; a parent that is not known counts as sealed;
* of the ready stages the one with the longest chain of open descendants goes first, ties in order
  of submission; one that another driver executes is looked at again after all others;
* one flight per key: everyone who wants it waits for the same execution;
* whoever wants a stage wants what has to be made before it;
* a lease (key, lane, attempt) fences: a finish under another one is ignored;
* a lane that asks again while it holds a lease has lost that attempt;
* a lane that executes what this policy does not know holds it from before the state was lost: its
  lease is taken over once somebody wants the stage;
* an ended stage is forgotten when all its waiters have dropped it; that a stage failed by itself
  is remembered, so that the next waiter hears of it and no worker fails once more;
* once cancelled, nothing is granted any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from orchestrator.execution.messages import (
    Answer,
    Closed,
    Event,
    Failure,
    FailureKind,
    Grant,
    Idle,
    LaneFault,
    Lease,
    Outcome,
    StageLeased,
    StageWork,
    Status,
)
from orchestrator.execution.stages import Stage, Stages, StageState

__all__ = ["DEFAULT_MAX_ATTEMPTS", "StagePolicy", "StageState"]

DEFAULT_MAX_ATTEMPTS = 3
_REMEMBERED_FAILURES = 1000


class StagePolicy:
    """Owns the state of all submitted stages; methods return the events they caused.

    Args:
        max_attempts: executions of one stage that may end in a lost worker or an error of the
            retried kinds before the stage fails.
    """

    def __init__(self, max_attempts: int = DEFAULT_MAX_ATTEMPTS) -> None:
        self._max_attempts = max_attempts
        self._stages = Stages()
        self._failures: dict[str, Outcome] = {}  # of forgotten stages
        self._held: dict[str, Lease] = {}  # by lane
        self._strays: dict[str, Lease] = {}  # by lane; of stages that are not known (yet)
        self._false_starts: dict[str, int] = {}  # by lane, in a row
        self._closed = self._cancelled = False

    # What is wanted -----------------------------------------------------------------------------

    def submit(
        self, waiter: str, works: Iterable[StageWork], sealed: Collection[str] = ()
    ) -> list[Event]:
        """``waiter`` wants these stages; keys in ``sealed`` are in the store already.

        Submitting again is harmless: it adds the waiter.
        """
        fresh = []
        for work in works:
            stage = self._stages.get(work.key)
            if stage is None:
                stage = self._stages.add(work, self._first_state(work, sealed))
                if stage.state is StageState.FAILED:
                    stage.outcome = self._failures[work.key]
                fresh.append(stage)
            if not self._cancelled:
                self._stages.want(stage, waiter)
        return self._settle(fresh)

    def _first_state(self, work: StageWork, sealed: Collection[str]) -> StageState:
        if work.key in sealed:
            return StageState.SEALED
        return StageState.FAILED if work.key in self._failures else StageState.WAITING

    def _settle(self, fresh: Sequence[Stage]) -> list[Event]:
        """What is known from elsewhere about stages that have just been submitted."""
        events: list[Event] = []
        if self._cancelled:
            waiting = [stage for stage in fresh if stage.state is StageState.WAITING]
            return [self._end(stage, StageState.DROPPED, Status.CANCELLED) for stage in waiting]
        strays: dict[str, Lease] = {}
        for lease in self._strays.values():
            strays.setdefault(lease.key, lease)
        for stage in fresh:
            if stage.state is StageState.WAITING and stage.key in strays:
                events += self._adopt(stage, strays[stage.key])
        for stage in fresh:
            events += self._fail_orphans(stage)
            if stage.state is StageState.FAILED:
                events += self._fail_children(stage)
        return events

    def drop(self, waiter: str) -> list[Event]:
        """``waiter`` wants nothing any more; what nobody else wants stops, or is forgotten."""
        events: list[Event] = []
        for stage in self._stages.unwant(waiter):
            if stage.state is StageState.WAITING:
                events.append(self._end(stage, StageState.DROPPED, Status.CANCELLED))
            elif not stage.state.is_open:
                self._forget(stage)
        return events

    def cancel(self) -> list[Event]:
        """Nobody wants anything any more, now or later."""
        self._cancelled = True
        return [event for waiter in self._stages.waiters for event in self.drop(waiter)]

    def close(self) -> None:
        """Nothing will be submitted any more; lanes leave once everything has ended."""
        self._closed = True

    # What lanes do ------------------------------------------------------------------------------

    def next(self, lane: str, quiet: bool = False) -> tuple[Answer, list[Event]]:
        """The stage that ``lane`` executes now; while ``quiet`` nobody is sent anywhere."""
        events = self.lost(lane, "it asked for work again") if lane in self._held else []
        self._false_starts.pop(lane, None)
        self._strays.pop(lane, None)
        if quiet:
            return Idle(), events
        stage = self._stages.first_ready()
        if stage is not None:
            lease = Lease(stage.key, lane, stage.leases + 1)
            return Grant(lease, stage.work), [*events, self._leased(stage, lease)]
        return (Closed() if self.is_over() else Idle()), events

    def vouch(self, lease: Lease) -> tuple[bool, list[Event]]:
        """A lane says that it executes this; whether it should go on.

        It should while its lease is the newest and someone wants the stage, and where this policy
        does not know the stage: then its waiters may be about to submit it again.
        """
        stage = self._stages.get(lease.key)
        if stage is not None and stage.lease == lease:
            return bool(stage.waiters), []
        if lease.lane in self._held:
            return False, []
        if stage is None:
            self._strays[lease.lane] = lease
            return not self._cancelled, []
        if stage.state is StageState.WAITING and not stage.leases:
            return True, self._adopt(stage, lease)
        return False, []

    def finish(self, lease: Lease, outcome: Outcome) -> tuple[bool, list[Event]]:
        """The lane's report; False and no effect where the lease is not the newest."""
        self._strays.pop(lease.lane, None)
        stage = self._stages.get(lease.key)
        if stage is None or stage.lease != lease:
            return False, []
        self._release(stage)
        match outcome.status:
            case Status.SEALED:
                stage.failures = 0
                return True, [self._end(stage, StageState.SEALED, Status.SEALED, outcome)]
            case Status.CANCELLED:
                return True, self._wait_again(stage, outcome)
            case Status.ELSEWHERE:
                stage.deferred += 1
                return True, self._wait_again(stage, outcome)
            case Status.PARENT_MISSING:
                return True, self._remake_parent(stage)
            case Status.FAILED:
                failure = outcome.failure or Failure(FailureKind.ERROR, "no reason was given")
                return True, self._failed(stage, failure, outcome)

    def lost(self, lane: str, message: str, traceback: str = "") -> list[Event]:
        """A lane's workers are gone; the stage it held is tried again or fails."""
        self._strays.pop(lane, None)
        lease = self._held.get(lane)
        stage = self._stages.get(lease.key) if lease else None
        events: list[Event] = [LaneFault(lane, lease.key if lease else None, message, traceback)]
        if lease is None or stage is None:
            self._false_starts[lane] = self._false_starts.get(lane, 0) + 1
            return events
        self._release(stage)
        kind = FailureKind.ERROR if traceback else FailureKind.LOST
        failure = Failure(kind, f"the workers of {lane} were lost: {message}", traceback)
        return events + self._failed(stage, failure, Outcome(lease.key, Status.FAILED))

    # What is known ------------------------------------------------------------------------------

    def is_broken(self, lane: str) -> bool:
        """Whether the lane was lost ``max_attempts`` times in a row without asking for work."""
        return self._false_starts.get(lane, 0) >= self._max_attempts

    def open_count(self) -> int:
        """Submitted stages that have not ended."""
        return self._stages.open

    def has_work(self) -> bool:
        """Whether ``next`` would grant a stage now."""
        return self._stages.first_ready() is not None

    def is_over(self) -> bool:
        """Whether ``next`` would answer Closed."""
        return (self._closed or self._cancelled) and self.open_count() == 0

    def state(self, key: str) -> StageState | None:
        """None for a stage that is not known, or was forgotten."""
        stage = self._stages.get(key)
        return stage.state if stage else None

    def outcomes(self) -> dict[str, Outcome]:
        """Of the known stages that ended while this policy watched."""
        return {stage.key: stage.outcome for stage in self._stages if stage.outcome is not None}

    def standing(self, keys: Collection[str]) -> tuple[dict[str, Outcome], frozenset[str]]:
        """Of these stages: how those ended that did, and which are not known."""
        found = {key: self._stages.get(key) for key in keys}
        ended = {k: _ending(s) for k, s in found.items() if s is not None and not s.state.is_open}
        return ended, frozenset(key for key, stage in found.items() if stage is None)

    def has_news(self, keys: Collection[str]) -> bool:
        """Whether one of them has ended or is not known."""
        found = (self._stages.get(key) for key in keys)
        return any(stage is None or not stage.state.is_open for stage in found)

    # Decisions ----------------------------------------------------------------------------------

    def _leased(self, stage: Stage, lease: Lease) -> Event:
        stage.leases, stage.lease = lease.attempt, lease
        self._stages.move(stage, StageState.LEASED)
        self._held[lease.lane] = lease
        return StageLeased(lease, stage.place)

    def _adopt(self, stage: Stage, lease: Lease) -> list[Event]:
        """A lane executes it already, under a lease from before the state was lost."""
        self._strays.pop(lease.lane, None)
        return [self._leased(stage, lease)]

    def _release(self, stage: Stage) -> None:
        if stage.lease is not None:
            self._held.pop(stage.lease.lane, None)
            stage.lease = None

    def _failed(self, stage: Stage, failure: Failure, outcome: Outcome) -> list[Event]:
        """An accident is tried again while someone wants the stage; anything else would repeat."""
        if failure.kind.retried:
            stage.failures += 1
            if not stage.waiters or stage.failures < self._max_attempts:
                return self._wait_again(stage, replace(outcome, failure=None))
        return self._fail(stage, failure, outcome)

    def _wait_again(self, stage: Stage, outcome: Outcome) -> list[Event]:
        """Ready for the next lane, unless nobody wants it."""
        if not stage.waiters:
            return [self._end(stage, StageState.DROPPED, Status.CANCELLED, outcome)]
        self._stages.move(stage, StageState.WAITING)
        return self._fail_orphans(stage)

    def _remake_parent(self, stage: Stage) -> list[Event]:
        """The parent's sealed weights are gone or damaged: make them again first."""
        parent = self._stages.parent(stage)
        in_doubt = parent is None or parent.state is StageState.SEALED
        if not stage.waiters or not in_doubt:
            return self._wait_again(stage, Outcome(stage.key, Status.CANCELLED))
        if parent is not None and parent.remade < self._max_attempts:
            parent.remade += 1
            parent.outcome, parent.failures = None, 0
            self._stages.move(stage, StageState.WAITING)
            self._stages.move(parent, StageState.WAITING)
            return []
        message = f"the weights of its parent {str(stage.work.parent)[:12]} cannot be read"
        return self._fail(stage, Failure(FailureKind.PARENT, message))

    def _fail(self, stage: Stage, failure: Failure, outcome: Outcome | None = None) -> list[Event]:
        """The stage fails, and with it every waiting one that needs it."""
        outcome = replace(outcome or Outcome(stage.key, Status.FAILED), failure=failure)
        ended = self._end(stage, StageState.FAILED, Status.FAILED, outcome)
        return [ended, *self._fail_children(stage)]

    def _fail_children(self, stage: Stage) -> list[Event]:
        children = self._stages.children(stage)
        return [event for child in children for event in self._fail_orphans(child, stage)]

    def _fail_orphans(self, stage: Stage, parent: Stage | None = None) -> list[Event]:
        """A stage that waits for one that failed cannot run."""
        parent = parent or self._stages.parent(stage)
        if stage.state is not StageState.WAITING or parent is None:
            return []
        if parent.state is not StageState.FAILED:
            return []
        cause = parent.outcome.failure.message if parent.outcome and parent.outcome.failure else ""
        name = "+".join(parent.work.tasks) or parent.key[:12]
        message = f"the stage before it ({name}) failed: {cause}"
        return self._fail(stage, Failure(FailureKind.PARENT, message))

    def _end(
        self, stage: Stage, state: StageState, status: Status, outcome: Outcome | None = None
    ) -> Outcome:
        outcome = outcome or Outcome(stage.key, status)
        attempts = stage.leases - stage.deferred
        outcome = replace(outcome, status=status, attempts=attempts, work=stage.place)
        stage.outcome = outcome
        self._stages.move(stage, state)
        if not stage.waiters:
            self._forget(stage)
        return outcome

    def _forget(self, stage: Stage) -> None:
        """Nobody will ask; but the end of a cancelled queue is told to whoever asks."""
        if self._cancelled:
            return
        self._stages.forget(stage)
        failure = stage.outcome.failure if stage.outcome else None
        if failure is not None and failure.kind is not FailureKind.PARENT:
            self._failures[stage.key] = stage.outcome  # type: ignore[assignment]
            if len(self._failures) > _REMEMBERED_FAILURES:
                self._failures.pop(next(iter(self._failures)))


def _ending(stage: Stage) -> Outcome:
    """How an ended stage ended; without an outcome it was sealed before."""
    if stage.outcome is not None:
        return stage.outcome
    return Outcome(stage.key, Status.SEALED, work=stage.place)
