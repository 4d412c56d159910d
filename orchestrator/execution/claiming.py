"""Waiting for another driver's worker that executes the very stage this lane was given."""

from __future__ import annotations

import time
from collections.abc import Callable

from orchestrator.execution.messages import Status

_PATIENCE_S, _LONGEST_S, _POLL_S = 2.0, 20.0, 0.5


def wait_for_claim(
    claim: Callable[[], bool], wanted: Callable[[], bool], attempt: int
) -> Status | None:
    """None once the claim is had.

    Args:
        wanted: tells that the stage is waited for; False where nobody wants it any more.
        attempt: of the lease. The more often the stage was put off, the longer a lane waits before
            it looks for other work: there was none.

    Returns:
        ELSEWHERE where the other worker goes on for longer than that, CANCELLED where the stage is
        not wanted any more.
    """
    began = time.monotonic()
    while not claim():
        if not wanted():
            return Status.CANCELLED
        if time.monotonic() - began >= min(_PATIENCE_S * attempt, _LONGEST_S):
            return Status.ELSEWHERE
        time.sleep(_POLL_S)
    return None
