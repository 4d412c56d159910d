"""The queue between one driver and its lanes: the policy behind a lock.

``StageQueue`` is the whole interface; the sweeps' engine implements it too. ``LocalQueue`` serves
lanes in this process, and is what the Ray actor (``ray_queue``) hosts.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.execution.messages import (
    Answer,
    Closed,
    Event,
    Idle,
    Lease,
    Outcome,
    StageProgress,
    StageWork,
)
from orchestrator.execution.policy import DEFAULT_MAX_ATTEMPTS, StagePolicy

PATIENCE_S = 20.0  # ``next`` answers Idle after this long, so that waiting ranks stay in touch


@dataclass(frozen=True)
class Poll:
    """What happened since ``cursor``.

    Attributes:
        incarnation: changes when the queue lost its state; then everything is submitted again.
        cursor: hand it to the next poll.
        events: in order; leases, outcomes, faults.
        progress: the newest of every running stage.
        open: submitted stages that have not ended.
    """

    incarnation: str
    cursor: int
    events: tuple[Event, ...]
    progress: tuple[StageProgress, ...]
    open: int


@dataclass(frozen=True)
class Wait:
    """Where the stages stand that one waiter asked for.

    Attributes:
        incarnation: of the queue, see ``Poll``.
        ended: how each of them ended that did; SEALED, and not trained, where it was sealed when
            it was submitted.
        open: how many of them are submitted and have not ended.
        unknown: those that the queue does not know (any more): submit them again.
    """

    incarnation: str
    ended: Mapping[str, Outcome]
    open: int
    unknown: frozenset[str] = frozenset()


class LaneSide(Protocol):
    """What a lane may ask. A lane never waits for ``progress``."""

    def next(self, lane: str) -> Answer:
        """Work, Closed, or Idle after at most a minute."""
        ...

    def progress(self, lease: Lease, progress: StageProgress) -> bool:
        """Tell where the stage stands; False (perhaps one call late) says: stop at the epoch."""
        ...

    def finish(self, lease: Lease, outcome: Outcome) -> bool:
        """Report the end; False where the lease was fenced and the report ignored."""
        ...

    def lost(self, lane: str, message: str, traceback: str = "") -> bool:
        """The lane's workers are gone; what it held is tried again or fails.

        False where the lane never gets as far as asking for work, so that starting it again is in
        vain.
        """
        ...


class StageQueue(LaneSide, Protocol):
    """What a driver may ask."""

    def submit(
        self, waiter: str, works: Sequence[StageWork], sealed: Collection[str] = ()
    ) -> None: ...

    def drop(self, waiter: str) -> None:
        """``waiter`` wants nothing any more; what others share goes on."""
        ...

    def wait(self, keys: Collection[str], wait_s: float = 0.0) -> Wait:
        """Where these stages stand; answers as soon as one has ended or is unknown.

        Ask for the keys that are not known to have ended, again and again: each call answers after
        at most ``wait_s``.
        """
        ...

    def cancel(self) -> None:
        """Nobody wants anything; running stages stop between two epochs."""
        ...

    def close(self) -> None:
        """Nothing will be submitted any more."""
        ...

    def poll(self, cursor: int, wait_s: float = 0.0) -> Poll:
        """Events from ``cursor`` on; waits up to ``wait_s`` for the first."""
        ...


class LocalQueue:
    """StagePolicy behind one lock; safe to call from any thread."""

    def __init__(
        self, max_attempts: int = DEFAULT_MAX_ATTEMPTS, patience_s: float = PATIENCE_S
    ) -> None:
        self._policy = StagePolicy(max_attempts)
        self._patience_s = patience_s
        self._incarnation = uuid.uuid4().hex
        self._events: list[Event] = []
        self._progress: dict[str, StageProgress] = {}  # by lane
        self._progress_count = 0
        self._changed = threading.Condition()

    def next(self, lane: str) -> Answer:
        with self._changed:
            answer = self._ask(lane)
            if isinstance(answer, Idle):
                self._changed.wait_for(
                    lambda: self._policy.has_work() or self._policy.is_over(),
                    timeout=self._patience_s,
                )
                answer = self._ask(lane)
            return answer

    def _ask(self, lane: str) -> Answer:
        answer, events = self._policy.next(lane)
        self._note(events)
        if isinstance(answer, (Idle, Closed)):
            self._progress.pop(lane, None)
        return answer

    def progress(self, lease: Lease, progress: StageProgress) -> bool:
        with self._changed:
            if not self._policy.holds(lease):
                return False
            self._progress[lease.lane] = progress
            self._progress_count += 1
            self._changed.notify_all()
            return True

    def finish(self, lease: Lease, outcome: Outcome) -> bool:
        with self._changed:
            accepted, events = self._policy.finish(lease, outcome)
            if accepted:
                self._progress.pop(lease.lane, None)
            self._note(events, always=True)
            return accepted

    def lost(self, lane: str, message: str, traceback: str = "") -> bool:
        with self._changed:
            self._progress.pop(lane, None)
            self._note(self._policy.lost(lane, message, traceback))
            return not self._policy.is_broken(lane)

    def submit(self, waiter: str, works: Sequence[StageWork], sealed: Collection[str] = ()) -> None:
        with self._changed:
            self._note(self._policy.submit(waiter, works, sealed), always=True)

    def drop(self, waiter: str) -> None:
        with self._changed:
            self._note(self._policy.drop(waiter), always=True)

    def wait(self, keys: Collection[str], wait_s: float = 0.0) -> Wait:
        with self._changed:
            self._changed.wait_for(lambda: self._policy.has_news(keys), timeout=wait_s)
            ended, unknown = self._policy.standing(keys)
            still = len(set(keys)) - len(ended) - len(unknown)
            return Wait(self._incarnation, ended, still, unknown)

    def cancel(self) -> None:
        with self._changed:
            self._note(self._policy.cancel(), always=True)

    def close(self) -> None:
        with self._changed:
            self._policy.close()
            self._changed.notify_all()

    def poll(self, cursor: int, wait_s: float = 0.0) -> Poll:
        with self._changed:
            seen = self._progress_count
            self._changed.wait_for(
                lambda: len(self._events) > cursor or self._progress_count > seen, timeout=wait_s
            )
            return Poll(
                incarnation=self._incarnation,
                cursor=len(self._events),
                events=tuple(self._events[cursor:]),
                progress=tuple(self._progress.values()),
                open=self._policy.open_count(),
            )

    def _note(self, events: Sequence[Event], always: bool = False) -> None:
        self._events.extend(events)
        if events or always:
            self._changed.notify_all()
