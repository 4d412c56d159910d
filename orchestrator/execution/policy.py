"""Which stage runs next: pure decisions over one explicitly owned state.

No clock, no thread, no Ray: the same policy sits behind the local queue, the actor and the sweeps'
engine, and its tests need nothing but calls. A stage moves like this::

    WAITING ──next──> LEASED ──finish──> SEALED
       ^                 │ lost / error, fewer than max_attempts failures
       └─────────────────┤
                         ├ last failure ──> FAILED (and with it every stage that needs it)
                         └ nobody wants it ──> DROPPED

Rules:

* a stage is ready when its parent is sealed; a parent that was never submitted counts as sealed;
* of the ready stages the one with the longest chain of unfinished descendants goes first, ties in
  order of submission;
* one flight per key: everyone who wants it waits for the same execution;
* a lease (key, lane, attempt) fences: a finish under an older attempt is ignored;
* a lane that asks again while it holds a lease has lost that attempt.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

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

DEFAULT_MAX_ATTEMPTS = 3


class StageState(enum.Enum):
    WAITING = "waiting"
    LEASED = "leased"
    SEALED = "sealed"
    FAILED = "failed"
    DROPPED = "dropped"

    @property
    def is_open(self) -> bool:
        return self in (StageState.WAITING, StageState.LEASED)


@dataclass
class _Stage:
    """What the policy knows of one key."""

    work: StageWork
    state: StageState
    waiters: set[str] = field(default_factory=set)
    leases: int = 0  # ever given; the attempt number of the newest
    failures: int = 0  # of the retried kinds, since the last time it was sealed
    remade: int = 0  # times its sealed artefacts turned out damaged
    lease: Lease | None = None
    outcome: Outcome | None = None


class StagePolicy:
    """Owns the state of all submitted stages; every method returns the events it caused.

    Args:
        max_attempts: executions of one stage that may end in a lost worker or an error of the
            retried kinds before the stage fails.
    """

    def __init__(self, max_attempts: int = DEFAULT_MAX_ATTEMPTS) -> None:
        self._max_attempts = max_attempts
        self._stages: dict[str, _Stage] = {}
        self._held: dict[str, Lease] = {}  # by lane
        self._false_starts: dict[str, int] = {}  # by lane, in a row
        self._closed = False

    # What is wanted -----------------------------------------------------------------------------

    def submit(
        self, waiter: str, works: Iterable[StageWork], sealed: Collection[str] = ()
    ) -> list[Event]:
        """``waiter`` wants these stages; keys in ``sealed`` are in the store already.

        Submitting again is harmless: it adds the waiter and revives what had been dropped.
        """
        for work in works:
            stage = self._stages.get(work.key)
            if stage is None:
                state = StageState.SEALED if work.key in sealed else StageState.WAITING
                stage = self._stages[work.key] = _Stage(work, state)
            elif stage.state is StageState.DROPPED:
                stage.state, stage.outcome, stage.failures = StageState.WAITING, None, 0
            stage.waiters.add(waiter)
        return self._fail_orphans()

    def drop(self, waiter: str) -> list[Event]:
        """``waiter`` wants nothing any more; what nobody else wants stops."""
        events: list[Event] = []
        for stage in self._stages.values():
            stage.waiters.discard(waiter)
            if not stage.waiters and stage.state is StageState.WAITING:
                events.append(self._end(stage, StageState.DROPPED, Status.CANCELLED))
        return events

    def cancel(self) -> list[Event]:
        """Nobody wants anything any more."""
        waiters = set().union(*(stage.waiters for stage in self._stages.values()))
        return [event for waiter in sorted(waiters) for event in self.drop(waiter)]

    def close(self) -> None:
        """Nothing will be submitted any more; lanes leave once everything has ended."""
        self._closed = True

    # What lanes do ------------------------------------------------------------------------------

    def next(self, lane: str) -> tuple[Answer, list[Event]]:
        """The stage that ``lane`` executes now."""
        events = self.lost(lane, "it asked for work again") if lane in self._held else []
        self._false_starts.pop(lane, None)
        stage = self._choose()
        if stage is not None:
            stage.leases += 1
            stage.lease = Lease(stage.work.key, lane, stage.leases)
            stage.state = StageState.LEASED
            self._held[lane] = stage.lease
            events.append(StageLeased(stage.lease, stage.work))
            return Grant(stage.lease, stage.work), events
        return (Closed() if self.is_over() else Idle()), events

    def holds(self, lease: Lease) -> bool:
        """Whether the holder of ``lease`` should go on: it is the newest, and someone wants it."""
        stage = self._stages.get(lease.key)
        return stage is not None and stage.lease == lease and bool(stage.waiters)

    def finish(self, lease: Lease, outcome: Outcome) -> tuple[bool, list[Event]]:
        """The lane's report; False and no effect where the lease is not the newest."""
        stage = self._stages.get(lease.key)
        if stage is None or stage.lease != lease:
            return False, []
        self._release(stage)
        events: list[Event]
        match outcome.status:
            case Status.SEALED:
                stage.failures = 0
                events = [self._end(stage, StageState.SEALED, Status.SEALED, outcome)]
            case Status.CANCELLED:
                events = self._cancelled(stage, outcome)
            case Status.PARENT_MISSING:
                events = self._remake_parent(stage)
            case Status.FAILED:
                failure = outcome.failure or Failure(FailureKind.ERROR, "no reason was given")
                events = self._failed(stage, failure, outcome)
        return True, events + self._fail_orphans()

    def lost(self, lane: str, message: str, traceback: str = "") -> list[Event]:
        """A lane's workers are gone; the stage it held is tried again or fails."""
        lease = self._held.get(lane)
        events: list[Event] = [LaneFault(lane, lease.key if lease else None, message, traceback)]
        if lease is None:
            self._false_starts[lane] = self._false_starts.get(lane, 0) + 1
        else:
            stage = self._stages[lease.key]
            self._release(stage)
            kind = FailureKind.ERROR if traceback else FailureKind.LOST
            failure = Failure(kind, f"the workers of {lane} were lost: {message}", traceback)
            events += self._failed(stage, failure, Outcome(lease.key, Status.FAILED))
            events += self._fail_orphans()
        return events

    # What is known ------------------------------------------------------------------------------

    def is_broken(self, lane: str) -> bool:
        """Whether the lane was lost ``max_attempts`` times in a row without asking for work."""
        return self._false_starts.get(lane, 0) >= self._max_attempts

    def open_count(self) -> int:
        """Submitted stages that have not ended."""
        return sum(stage.state.is_open for stage in self._stages.values())

    def has_work(self) -> bool:
        """Whether ``next`` would grant a stage now."""
        return any(self._is_ready(stage) for stage in self._stages.values())

    def is_over(self) -> bool:
        """Whether ``next`` would answer Closed."""
        return self._closed and self.open_count() == 0

    def state(self, key: str) -> StageState | None:
        stage = self._stages.get(key)
        return stage.state if stage else None

    def outcomes(self, keys: Sequence[str] | None = None) -> dict[str, Outcome]:
        """Of the stages that ended while this policy watched."""
        chosen = self._stages if keys is None else [key for key in keys if key in self._stages]
        found = {key: self._stages[key].outcome for key in chosen}
        return {key: outcome for key, outcome in found.items() if outcome is not None}

    def standing(self, keys: Collection[str]) -> tuple[dict[str, Outcome], frozenset[str]]:
        """Of these stages: how those ended that did, and which are not known."""
        known = {key: self._stages[key] for key in keys if key in self._stages}
        ended = {key: _ending(stage) for key, stage in known.items() if not stage.state.is_open}
        return ended, frozenset(key for key in keys if key not in known)

    def has_news(self, keys: Collection[str]) -> bool:
        """Whether one of them has ended or is not known."""
        found = (self._stages.get(key) for key in keys)
        return any(stage is None or not stage.state.is_open for stage in found)

    # Decisions ----------------------------------------------------------------------------------

    def _choose(self) -> _Stage | None:
        ready = [s for s in self._stages.values() if self._is_ready(s)]
        if not ready:
            return None
        chains = self._chains()
        return max(ready, key=lambda stage: chains[stage.work.key])  # the first of equals

    def _is_ready(self, stage: _Stage) -> bool:
        if stage.state is not StageState.WAITING:
            return False
        parent = self._stages.get(stage.work.parent) if stage.work.parent else None
        return parent is None or parent.state is StageState.SEALED

    def _chains(self) -> dict[str, int]:
        """Per open stage: length of the longest chain of open stages that starts with it."""
        chains = {key: 1 for key, stage in self._stages.items() if stage.state.is_open}
        for key in chains:
            length, parent = 1, self._stages[key].work.parent
            while parent in chains and chains[parent] < length + 1:
                length += 1
                chains[parent] = length
                parent = self._stages[parent].work.parent
        return chains

    def _failed(self, stage: _Stage, failure: Failure, outcome: Outcome) -> list[Event]:
        if not stage.waiters:
            return [self._end(stage, StageState.DROPPED, Status.CANCELLED, outcome)]
        if failure.kind.retried:
            stage.failures += 1
            if stage.failures < self._max_attempts:
                stage.state = StageState.WAITING
                return []
        outcome = replace(outcome, failure=failure)
        return [self._end(stage, StageState.FAILED, Status.FAILED, outcome)]

    def _cancelled(self, stage: _Stage, outcome: Outcome) -> list[Event]:
        if stage.waiters:  # wanted again since it was told to stop
            stage.state = StageState.WAITING
            return []
        return [self._end(stage, StageState.DROPPED, Status.CANCELLED, outcome)]

    def _remake_parent(self, stage: _Stage) -> list[Event]:
        """The parent's sealed weights are gone or damaged: make them again first."""
        stage.state = StageState.WAITING
        parent = self._stages.get(stage.work.parent) if stage.work.parent else None
        if parent is not None and parent.state.is_open:
            return []
        if parent is not None and parent.remade < self._max_attempts:
            parent.remade += 1
            parent.state, parent.outcome, parent.failures = StageState.WAITING, None, 0
            parent.waiters |= stage.waiters
            return []
        message = f"the weights of its parent {str(stage.work.parent)[:12]} cannot be read"
        failure = Failure(FailureKind.PARENT, message)
        outcome = Outcome(stage.work.key, Status.FAILED, failure=failure)
        return [self._end(stage, StageState.FAILED, Status.FAILED, outcome)]

    def _fail_orphans(self) -> list[Event]:
        """A stage that waits for one that failed or was dropped cannot run."""
        events: list[Event] = []
        changed = True
        while changed:
            changed = False
            for stage in self._stages.values():
                parent = self._stages.get(stage.work.parent) if stage.work.parent else None
                if stage.state is not StageState.WAITING or parent is None:
                    continue
                if parent.state is StageState.FAILED:
                    events.append(self._fail_with_parent(stage, parent))
                    changed = True
                elif parent.state is StageState.DROPPED:  # wanted through its child
                    parent.state, parent.outcome, parent.failures = StageState.WAITING, None, 0
                    parent.waiters |= stage.waiters
                    changed = True
        return events

    def _fail_with_parent(self, stage: _Stage, parent: _Stage) -> Outcome:
        cause = parent.outcome.failure.message if parent.outcome and parent.outcome.failure else ""
        name = "+".join(parent.work.tasks) or parent.work.key[:12]
        failure = Failure(FailureKind.PARENT, f"the stage before it ({name}) failed: {cause}")
        outcome = Outcome(stage.work.key, Status.FAILED, failure=failure)
        return self._end(stage, StageState.FAILED, Status.FAILED, outcome)

    def _release(self, stage: _Stage) -> None:
        if stage.lease is not None:
            self._held.pop(stage.lease.lane, None)
            stage.lease = None

    def _end(
        self, stage: _Stage, state: StageState, status: Status, outcome: Outcome | None = None
    ) -> Outcome:
        outcome = outcome or Outcome(stage.work.key, status)
        stage.state = state
        place = replace(stage.work, spec={})
        stage.outcome = replace(outcome, status=status, attempts=stage.leases, work=place)
        return stage.outcome


def _ending(stage: _Stage) -> Outcome:
    """How an ended stage ended; without an outcome it was sealed before."""
    if stage.outcome is not None:
        return stage.outcome
    return Outcome(stage.work.key, Status.SEALED, work=replace(stage.work, spec={}))
