"""Following one run from the driver's side: events, dead lanes, Ctrl-C, a restarted queue."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from had_core.errors import BadInput, HadError
from orchestrator.execution.messages import (
    Event,
    LaneFault,
    Outcome,
    StageLeased,
    StageProgress,
    StageWork,
    Status,
)
from orchestrator.execution.queue import StageQueue
from orchestrator.tracking.events import StageFailed, StageRef

if TYPE_CHECKING:
    from orchestrator.tracking.journal import Journal

_log = logging.getLogger(__name__)
_POLL_S = 0.5
_FAREWELL_S = 60.0  # lanes leave within seconds once the queue is closed and empty


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


@dataclass(frozen=True)
class Backlog:
    """A tree against a store.

    Attributes:
        works: every stage of the tree, parents before children.
        sealed: keys of those that are complete in the store.
    """

    works: tuple[StageWork, ...]
    sealed: frozenset[str]

    @property
    def open(self) -> tuple[StageWork, ...]:
        return tuple(work for work in self.works if work.key not in self.sealed)


@dataclass(frozen=True)
class TreeResult:
    """How a run over a tree ended.

    Attributes:
        outcomes: of every stage that was open when it began, by key.
        reused: keys that the store held complete from the start.
        interrupted: whether someone pressed Ctrl-C; what was not sealed is CANCELLED or missing.
    """

    outcomes: Mapping[str, Outcome]
    reused: frozenset[str]
    interrupted: bool = False

    @property
    def failed(self) -> tuple[Outcome, ...]:
        return tuple(o for o in self.outcomes.values() if o.status is Status.FAILED)


OnEvent = Callable[[Event], None]


@dataclass
class Watch:
    """Follows one run from the driver's side."""

    backlog: Backlog
    run: str
    on_event: OnEvent
    journal: Journal | None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    progress: dict[str, StageProgress] = field(default_factory=dict)
    fault: LaneFault | None = None
    dead: set[str] = field(default_factory=set)
    incarnation: str | None = None
    cursor: int = 0

    def drive(self, queue: StageQueue, lanes: Sequence[Lane]) -> TreeResult:
        """Until nothing is open."""
        self._submit(queue)
        for lane in lanes:
            lane.start()
        interrupted = False
        while True:
            try:
                if self._poll(queue) == 0:
                    break
                self._check(queue, lanes)
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                _log.warning("stopping after this epoch; Ctrl-C again stops at once")
                queue.cancel()
        for lane in lanes:
            lane.join(_FAREWELL_S)
        return TreeResult(dict(self.outcomes), self.backlog.sealed, interrupted)

    def _submit(self, queue: StageQueue) -> None:
        sealed = set(self.backlog.sealed)
        sealed |= {key for key, o in self.outcomes.items() if o.status is Status.SEALED}
        queue.submit(self.run, self.backlog.works, sealed)
        queue.close()

    def _poll(self, queue: StageQueue) -> int:
        """Hear what is new; how many stages are open."""
        poll = queue.poll(self.cursor, _POLL_S)
        if self.incarnation not in (None, poll.incarnation):
            _log.warning("the queue was restarted: everything that is open is submitted again")
            self._submit(queue)
            poll = queue.poll(0)
        self.incarnation, self.cursor = poll.incarnation, poll.cursor
        for event in poll.events:
            self._hear(event)
        for progress in poll.progress:
            if self.progress.get(progress.lane) != progress:
                self.progress[progress.lane] = progress
                self.on_event(progress)
        return poll.open

    def _hear(self, event: Event) -> None:
        match event:
            case StageLeased():
                self.attempts[event.lease.key] = event.lease.attempt
            case LaneFault():
                self.fault = event
                if event.key is not None:
                    self._journal_failure(event.key, event.message, final=False)
            case Outcome():
                self.outcomes[event.key] = event
                if event.failure is not None:
                    self._journal_failure(event.key, event.failure.message, final=True)
        self.on_event(event)

    def _check(self, queue: StageQueue, lanes: Sequence[Lane]) -> None:
        """A lane that died takes no stage with it; without any lane there is no going on."""
        for lane in lanes:
            if lane.error is not None and not lane.alive and lane.name not in self.dead:
                self.dead.add(lane.name)
                queue.lost(lane.name, str(lane.error))
        if any(lane.alive for lane in lanes) or self._poll(queue) == 0:
            return
        for lane in lanes:
            if isinstance(lane.error, BadInput):
                raise lane.error
        why = ""
        if self.fault is not None:
            why = "\n".join(filter(None, [self.fault.message, self.fault.traceback]))
        raise LanesFailed(f"no lane is left to execute the open stages: {why}")

    def _journal_failure(self, key: str, message: str, *, final: bool) -> None:
        if self.journal is None:
            return
        work = next(work for work in self.backlog.works if work.key == key)
        self.journal.append(
            StageFailed(
                time=time.time(),
                run=self.run,
                stage=StageRef(
                    sequence=work.sequence,
                    key=key,
                    parent=work.parent,
                    position=work.position,
                    tasks=work.tasks,
                ),
                attempt=self.attempts.get(key, 0),
                message=message,
                final=final,
            )
        )
