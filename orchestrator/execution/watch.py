"""Following an engine from the driver's side: events, failed attempts, dead lanes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from had_core.errors import BadInput, HadError
from orchestrator.execution.messages import (
    Event,
    LaneFault,
    Lease,
    Outcome,
    StageLeased,
    StageProgress,
    StageWork,
)
from orchestrator.execution.queue import StageQueue
from orchestrator.tracking.events import StageFailed, StageRef

if TYPE_CHECKING:
    from orchestrator.tracking.journal import Journal

_POLL_S = 0.5
_GATHER_S = 0.05  # between two polls, so that many short stages are told together

OnEvent = Callable[[Event], None]


class LanesFailed(HadError):
    """No lane is left to execute what is still open."""


class Lane(Protocol):
    """Something that serves a queue until it is closed and empty."""

    name: str

    def start(self) -> None: ...
    @property
    def alive(self) -> bool: ...
    @property
    def error(self) -> BaseException | None: ...
    def join(self, timeout_s: float | None = None) -> None: ...


class Watch:
    """One follower of a queue; what it remembers is about stages that run, not about the past.

    Args:
        journal: hears of failed attempts; everything else is journalled by the workers.
        restarted: called when the queue lost its state, before its new events are heard.
    """

    def __init__(
        self,
        queue: StageQueue,
        lanes: Sequence[Lane],
        on_event: OnEvent,
        journal: Journal | None,
        restarted: Callable[[], None],
    ) -> None:
        self._queue, self._lanes = queue, lanes
        self._on_event, self._journal, self._restarted = on_event, journal, restarted
        self._running: dict[str, tuple[Lease, StageWork]] = {}  # by key
        self._progress: dict[str, StageProgress] = {}  # by lane, the newest that was told
        self._fault: LaneFault | None = None
        self._dead: set[str] = set()
        self._incarnation: str | None = None
        self._cursor = 0
        self._polled_at = -_GATHER_S

    def turn(self) -> int:
        """Hear what is new, wait a moment for it; how many stages are open."""
        time.sleep(max(0.0, self._polled_at + _GATHER_S - time.monotonic()))
        poll = self._queue.poll(self._cursor, _POLL_S)
        self._polled_at = time.monotonic()
        if self._incarnation not in (None, poll.incarnation):
            self._restarted()
            poll = self._queue.poll(self._cursor)  # of its events none was heard
        self._incarnation, self._cursor = poll.incarnation, poll.cursor
        for event in poll.events:
            self._hear(event)
        for progress in poll.progress:
            if self._progress.get(progress.lane) != progress:
                self._progress[progress.lane] = progress
                self._on_event(progress)
        return poll.open

    def check_lanes(self, is_over: Callable[[], bool]) -> None:
        """A lane that died takes no stage with it; without any lane there is no going on.

        Raises:
            BadInput: a lane's own, where none is left and it is not over.
            LanesFailed: none is left and it is not over.
        """
        for lane in self._lanes:
            if lane.error is not None and not lane.alive and lane.name not in self._dead:
                self._dead.add(lane.name)
                self._queue.lost(lane.name, str(lane.error))
        if any(lane.alive for lane in self._lanes) or (self.turn() == 0 and is_over()):
            return
        for lane in self._lanes:
            if isinstance(lane.error, BadInput):
                raise lane.error
        why = ""
        if self._fault is not None:
            why = "\n".join(filter(None, [self._fault.message, self._fault.traceback]))
        raise LanesFailed(f"no lane is left to execute the open stages: {why}")

    def _hear(self, event: Event) -> None:
        match event:
            case StageLeased():
                self._running[event.lease.key] = event.lease, event.work
            case LaneFault():
                self._fault = event
                if event.key in self._running:
                    lease, work = self._running[event.key]
                    self._journal_failure(work, lease.attempt, event.message, final=False)
            case Outcome():
                self._running.pop(event.key, None)
                if event.failure is not None and event.work is not None:
                    message = event.failure.message
                    self._journal_failure(event.work, event.attempts, message, final=True)
        self._on_event(event)

    def _journal_failure(self, work: StageWork, attempt: int, message: str, *, final: bool) -> None:
        if self._journal is None:
            return
        self._journal.append(
            StageFailed(
                time=time.time(),
                run=self._journal.run,
                stage=StageRef(
                    sequence=work.sequence,
                    key=work.key,
                    parent=work.parent,
                    position=work.position,
                    tasks=work.tasks,
                ),
                attempt=attempt,
                message=message,
                final=final,
            )
        )
