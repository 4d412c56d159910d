"""The rules of ``StagePolicy`` written down literally: every question looks at every stage."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.execution.messages import (
    Closed,
    FailureKind,
    Grant,
    Idle,
    Lease,
    Outcome,
    StageWork,
    Status,
)
from orchestrator.execution.stages import StageState

WAITING, LEASED, SEALED, FAILED, DROPPED = StageState


@dataclass(eq=False)
class Entry:
    work: StageWork
    state: StageState
    waiters: set[str] = field(default_factory=set)
    attempt: int = 0
    failures: int = 0
    remade: int = 0
    deferred: int = 0
    lease: Lease | None = None
    kind: FailureKind | None = None


class LiteralPolicy:
    def __init__(self, max_attempts):
        self.max_attempts = max_attempts
        self.entries: list[Entry] = []  # in order of submission
        self.remembered: dict[str, FailureKind] = {}
        self.strays: dict[str, Lease] = {}
        self.closed = self.cancelled = False

    def find(self, key):
        return next((e for e in self.entries if e.work.key == key), None)

    def held_by(self, lane):
        return next((e for e in self.entries if e.lease and e.lease.lane == lane), None)

    def held(self):
        return {entry.lease.lane: entry.lease for entry in self.entries if entry.lease}

    # Operations ---------------------------------------------------------------------------------

    def submit(self, waiter, works, sealed):
        fresh = []
        for work in works:
            entry = self.find(work.key)
            if entry is None:
                state = WAITING
                if work.key in sealed:
                    state = SEALED
                elif work.key in self.remembered:
                    state = FAILED
                elif self.cancelled:
                    state = DROPPED
                entry = Entry(work, state)
                if state is FAILED:
                    entry.kind = self.remembered[work.key]
                self.entries.append(entry)
                fresh.append(entry)
            if not self.cancelled:
                entry.waiters.add(waiter)
        for lane, lease in list(self.strays.items()):
            entry = self.find(lease.key)
            if entry in fresh and entry.state is WAITING:
                del self.strays[lane]
                self.grant(entry, lease)
        self.settle()

    def drop(self, waiter):
        for entry in self.entries:
            entry.waiters.discard(waiter)
        self.settle()

    def cancel(self):
        self.cancelled = True
        for entry in self.entries:
            entry.waiters.clear()
        self.settle()

    def next(self, lane):
        if self.held_by(lane):
            self.lost(lane, "")
        self.strays.pop(lane, None)
        ready = [entry for entry in self.entries if self.is_ready(entry)]
        if ready:
            chosen = max(ready, key=lambda e: (-e.deferred, self.chain(e)))  # the first of equals
            self.grant(chosen, Lease(chosen.work.key, lane, chosen.attempt + 1))
            return Grant(chosen.lease, chosen.work)
        over = (self.closed or self.cancelled) and not self.open_count()
        return Closed() if over else Idle()

    def vouch(self, lease):
        entry = self.find(lease.key)
        if entry is not None and entry.lease == lease:
            return bool(entry.waiters)
        if self.held_by(lease.lane):
            return False
        if entry is None:
            self.strays[lease.lane] = lease
            return not self.cancelled
        if entry.state is WAITING and entry.attempt == 0:
            self.strays.pop(lease.lane, None)
            self.grant(entry, lease)
            return True
        return False

    def finish(self, lease, outcome: Outcome):
        self.strays.pop(lease.lane, None)
        entry = self.find(lease.key)
        if entry is None or entry.lease != lease:
            return False
        entry.lease, entry.state = None, WAITING
        match outcome.status:
            case Status.SEALED:
                entry.state, entry.failures = SEALED, 0
            case Status.ELSEWHERE:
                entry.deferred += 1
            case Status.PARENT_MISSING:
                self.remake_parent(entry)
            case Status.FAILED:
                self.failed(entry, outcome.failure.kind)
        self.settle()
        return True

    def lost(self, lane, traceback):
        self.strays.pop(lane, None)
        entry = self.held_by(lane)
        if entry is not None:
            entry.lease, entry.state = None, WAITING
            self.failed(entry, FailureKind.ERROR if traceback else FailureKind.LOST)
        self.settle()

    # Questions ----------------------------------------------------------------------------------

    def open_count(self):
        return sum(entry.state.is_open for entry in self.entries)

    def is_ready(self, entry):
        parent = self.find(entry.work.parent)
        return entry.state is WAITING and (parent is None or parent.state is SEALED)

    def chain(self, entry):
        below = [e for e in self.entries if e.work.parent == entry.work.key and e.state.is_open]
        return 1 + max((self.chain(child) for child in below), default=0)

    def states(self):
        return {e.work.key: (e.state, e.kind) for e in self.entries}

    # Rules --------------------------------------------------------------------------------------

    def grant(self, entry, lease):
        entry.state, entry.lease, entry.attempt = LEASED, lease, lease.attempt

    def failed(self, entry, kind):
        if kind.retried:
            entry.failures += 1
        if not kind.retried or (entry.waiters and entry.failures >= self.max_attempts):
            entry.state, entry.kind = FAILED, kind

    def remake_parent(self, entry):
        parent = self.find(entry.work.parent)
        if not entry.waiters or (parent is not None and parent.state is not SEALED):
            return
        if parent is not None and parent.remade < self.max_attempts:
            parent.remade += 1
            parent.state, parent.failures, parent.kind = WAITING, 0, None
        else:
            entry.state, entry.kind = FAILED, FailureKind.PARENT

    def settle(self):
        before = None
        while before != (before := self.snapshot()):
            for entry in self.entries:
                parent = self.find(entry.work.parent)
                if parent is None or not entry.state.is_open:
                    continue
                if parent.state.is_open:
                    parent.waiters |= entry.waiters
                if entry.state is WAITING and entry.waiters and parent.state is FAILED:
                    entry.state, entry.kind = FAILED, FailureKind.PARENT
        for entry in self.entries:
            if entry.state is WAITING and not entry.waiters:
                entry.state = DROPPED
        for entry in list(self.entries):
            if not entry.state.is_open and not entry.waiters and not self.cancelled:
                self.entries.remove(entry)
                if entry.kind is not None and entry.kind is not FailureKind.PARENT:
                    self.remembered[entry.work.key] = entry.kind

    def snapshot(self):
        return [(e.work.key, e.state, sorted(e.waiters)) for e in self.entries]
