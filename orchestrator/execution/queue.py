"""The queue between one driver, its waiters and its lanes: the policy, and who waits for what.

``StageQueue`` is the whole interface. ``LocalQueue`` serves lanes in this process, ``RayQueue``
(``ray_queue``) is the same behind an actor; both are a ``QueueState`` with a way to wait.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
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
        unknown: those that the queue does not know. What was submitted to this very incarnation
            has been dropped since; else the queue has lost its state, and is told again.
    """

    incarnation: str
    ended: Mapping[str, Outcome]
    open: int
    unknown: frozenset[str] = frozenset()


Done = tuple[Lease, Outcome]
"""A lane's report of one stage."""


class LaneSide(Protocol):
    """What a lane may ask. A lane never waits for ``progress``."""

    def next(self, lane: str, done: Done | None = None) -> Answer:
        """Work, Closed, or Idle after at most a minute.

        Args:
            done: what ``finish`` would tell first, in the same call: for stages so short that a
                call counts.
        """
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
    """What waiters and the driver may ask; only one driver polls."""

    def submit(self, waiter: str, works: Sequence[StageWork], sealed: Collection[str] = ()) -> str:
        """``waiter`` wants these stages, of which those in ``sealed`` are in the store already.

        Submit whole chains, parents before children: a parent that is not known counts as sealed.

        Returns:
            The queue's incarnation, see ``Wait``.
        """
        ...

    def drop(self, waiter: str) -> None:
        """``waiter`` wants nothing any more; what others share goes on, the rest is forgotten."""
        ...

    def wait(self, keys: Collection[str], wait_s: float = 0.0) -> Wait:
        """Where these stages stand; answers as soon as one has ended or is unknown.

        Ask for the keys that are not known to have ended, again and again: each call answers after
        at most ``wait_s``.
        """
        ...

    def cancel(self) -> None:
        """Nobody wants anything, now or later; running stages stop between two epochs."""
        ...

    def close(self) -> None:
        """Nothing will be submitted any more."""
        ...

    def poll(self, cursor: int, wait_s: float = 0.0) -> Poll:
        """Events from ``cursor`` on; waits up to ``wait_s`` for news, and not where everything is
        over.

        Those before the cursor are forgotten. A cursor of an earlier incarnation is before all.
        """
        ...


class QueueState:
    """What a queue holds; never waits. Not safe for several threads by itself.

    Args:
        quiet_s: answer nothing but Idle for this long: a queue that has lost its state gives the
            lanes time to tell what they execute, and the driver what is wanted.
    """

    def __init__(self, max_attempts: int = DEFAULT_MAX_ATTEMPTS, quiet_s: float = 0.0) -> None:
        self._policy = StagePolicy(max_attempts)
        self._incarnation = uuid.uuid4().hex
        self._quiet_until = time.monotonic() + quiet_s
        self._events: list[Event] = []
        # A later incarnation has higher cursors, so that no cursor takes its events for heard.
        self._first = time.time_ns()
        self._progress: dict[str, StageProgress] = {}  # by lane
        self._progress_count = 0
        self._asked: Counter[str] = Counter()  # by lane

    # Lanes --------------------------------------------------------------------------------------

    def next(self, lane: str, done: Done | None = None) -> Answer:
        if done is not None:
            self.finish(*done)
        self._asked[lane] += 1
        answer, events = self._policy.next(lane, self.quiet_s() > 0)
        self._events += events
        if isinstance(answer, (Idle, Closed)):
            self._progress.pop(lane, None)
        return answer

    def next_after(self, lane: str, asked: int) -> Answer:
        """For a call that has waited: Idle where the lane has asked anew, perhaps after its death,
        so that no stage is granted to a caller who is gone."""
        return self.next(lane) if self._asked[lane] == asked else Idle()

    def asked(self, lane: str) -> int:
        """How often the lane has asked."""
        return self._asked[lane]

    def quiet_s(self) -> float:
        """Seconds until lanes get other answers than Idle; 0 or less when they do."""
        return self._quiet_until - time.monotonic()

    def can_answer(self) -> bool:
        """Whether ``next`` would answer anything but Idle."""
        return self.quiet_s() <= 0 and (self._policy.is_over() or self._policy.has_work())

    def progress(self, lease: Lease, progress: StageProgress) -> bool:
        wanted, events = self._policy.vouch(lease)
        self._events += events
        if wanted:
            self._progress[lease.lane] = progress
            self._progress_count += 1
        return wanted

    def finish(self, lease: Lease, outcome: Outcome) -> bool:
        accepted, events = self._policy.finish(lease, outcome)
        self._events += events
        if accepted:
            self._progress.pop(lease.lane, None)
        return accepted

    def lost(self, lane: str, message: str, traceback: str = "") -> bool:
        self._progress.pop(lane, None)
        self._events += self._policy.lost(lane, message, traceback)
        return not self._policy.is_broken(lane)

    # Waiters ------------------------------------------------------------------------------------

    def submit(self, waiter: str, works: Sequence[StageWork], sealed: Collection[str]) -> str:
        self._events += self._policy.submit(waiter, works, sealed)
        return self._incarnation

    def drop(self, waiter: str) -> None:
        self._events += self._policy.drop(waiter)

    def cancel(self) -> None:
        self._events += self._policy.cancel()

    def close(self) -> None:
        self._policy.close()

    def wait(self, keys: Collection[str]) -> Wait:
        ended, unknown = self._policy.standing(keys)
        still = len(set(keys)) - len(ended) - len(unknown)
        return Wait(self._incarnation, ended, still, unknown)

    def has_ended(self, keys: Collection[str]) -> bool:
        """Whether ``wait`` has anything to tell."""
        return self._policy.has_news(keys)

    # The follower -------------------------------------------------------------------------------

    def poll(self, cursor: int) -> Poll:
        """What happened since; the events before the cursor are heard and forgotten."""
        heard = min(max(cursor - self._first, 0), len(self._events))
        del self._events[:heard]
        self._first += heard
        return Poll(
            incarnation=self._incarnation,
            cursor=self._first + len(self._events),
            events=tuple(self._events),
            progress=tuple(self._progress.values()),
            open=self._policy.open_count(),
        )

    def news(self) -> tuple[int, int]:
        """Changes when a poll has something new to tell."""
        return self._first + len(self._events), self._progress_count

    def is_over(self) -> bool:
        """Whether nothing is open and nothing more will come."""
        return self._policy.is_over()


class LocalQueue:
    """QueueState behind one lock; safe to call from any thread."""

    def __init__(
        self, max_attempts: int = DEFAULT_MAX_ATTEMPTS, patience_s: float = PATIENCE_S
    ) -> None:
        self._state = QueueState(max_attempts)
        self._patience_s = patience_s
        self._changed = threading.Condition()

    def next(self, lane: str, done: Done | None = None) -> Answer:
        with self._change() as state:
            answer = state.next(lane, done)
            if isinstance(answer, Idle):
                self._changed.notify_all()
                asked = state.asked(lane)
                self._changed.wait_for(state.can_answer, self._patience_s)
                answer = state.next_after(lane, asked)
            return answer

    def progress(self, lease: Lease, progress: StageProgress) -> bool:
        with self._change() as state:
            return state.progress(lease, progress)

    def finish(self, lease: Lease, outcome: Outcome) -> bool:
        with self._change() as state:
            return state.finish(lease, outcome)

    def lost(self, lane: str, message: str, traceback: str = "") -> bool:
        with self._change() as state:
            return state.lost(lane, message, traceback)

    def submit(self, waiter: str, works: Sequence[StageWork], sealed: Collection[str] = ()) -> str:
        with self._change() as state:
            return state.submit(waiter, works, sealed)

    def drop(self, waiter: str) -> None:
        with self._change() as state:
            state.drop(waiter)

    def wait(self, keys: Collection[str], wait_s: float = 0.0) -> Wait:
        with self._changed:
            self._changed.wait_for(lambda: self._state.has_ended(keys), wait_s)
            return self._state.wait(keys)

    def cancel(self) -> None:
        with self._change() as state:
            state.cancel()

    def close(self) -> None:
        with self._change() as state:
            state.close()

    def poll(self, cursor: int, wait_s: float = 0.0) -> Poll:
        with self._changed:
            poll, seen = self._state.poll(cursor), self._state.news()
            if poll.events or not wait_s:
                return poll
            state = self._state
            self._changed.wait_for(lambda: state.news() != seen or state.is_over(), wait_s)
            return self._state.poll(cursor)

    @contextlib.contextmanager
    def _change(self) -> Iterator[QueueState]:
        """Something may happen; everyone who waits looks whether it did."""
        with self._changed:
            yield self._state
            self._changed.notify_all()
