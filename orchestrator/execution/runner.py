"""The loop of a lane: ask, execute, report; the same on every rank and with or without Ray."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from had_core.parallel import Parallel
from orchestrator.execution.messages import (
    Answer,
    Closed,
    Grant,
    Lease,
    Outcome,
    StageProgress,
    StageWork,
    from_json,
    to_json,
)
from orchestrator.execution.queue import Done, LaneSide
from orchestrator.execution.sharing import share_bytes

_SHORT_S = 0.5

Tell = Callable[[StageProgress], bool]
"""Report progress; False says that nobody wants the stage any more."""


class StageRunner(Protocol):
    """Executes one stage; every rank of a lane has one and is called in step."""

    def run(self, lease: Lease, work: StageWork, tell: Tell) -> Outcome:
        """Execute and report how it ended.

        A failure that all ranks agree on is a FAILED outcome. An exception means that the ranks
        may be out of step: the whole lane has to start again.
        """
        ...


RunnerFactory = Callable[[Parallel], StageRunner]
"""Called once a rank; must be importable where a lane's workers run."""


def serve(
    lane: str,
    queue: LaneSide | None,
    runner: StageRunner,
    parallel: Parallel,
    after_stage: Callable[[Outcome, float], None] | None = None,
) -> int:
    """Execute stages until the queue is closed and empty; how many this group executed.

    Args:
        queue: on rank 0 only; the other ranks hear rank 0's answers.
        after_stage: called on every rank with the same arguments, the seconds being rank 0's.
    """
    count = 0
    done: Done | None = None  # of a short stage, told with the next question
    while True:
        answer, done = _ask(lane, queue, parallel, done), None
        if isinstance(answer, Closed):
            return count
        if not isinstance(answer, Grant):
            continue
        started = time.perf_counter()
        outcome = runner.run(answer.lease, answer.work, _teller(queue, answer.lease))
        seconds = time.perf_counter() - started
        if seconds < _SHORT_S:
            done = answer.lease, outcome
        elif queue is not None:
            queue.finish(answer.lease, outcome)
        count += 1
        if after_stage is not None:
            mine = f"{seconds:.3f}".encode()
            after_stage(outcome, float(share_bytes(parallel, mine) or b"0"))


def _ask(lane: str, queue: LaneSide | None, parallel: Parallel, done: Done | None) -> Answer:
    raw = to_json(queue.next(lane, done)).encode() if queue is not None else None
    answer: Answer = from_json(share_bytes(parallel, raw) or b"{}")
    return answer


def _teller(queue: LaneSide | None, lease: Lease) -> Tell:
    if queue is None:
        return lambda progress: True
    return lambda progress: queue.progress(lease, progress)
