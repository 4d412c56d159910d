"""Lanes without workers: threads that answer for a lane as a test wants it."""

from __future__ import annotations

import threading

from orchestrator.execution.messages import Closed, Grant, Outcome, Status


class FakeLane:
    """Answers for a lane: does what ``script`` says, in its own thread."""

    def __init__(self, name, script):
        self.name, self.error = name, None
        self._script = script
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self._thread.start()

    def _run(self):
        try:
            self._script()
        except Exception as error:
            self.error = error

    @property
    def alive(self):
        return self._thread.is_alive()

    def join(self, timeout_s=None):
        self._thread.join(timeout_s)


def seal_all(queue, name):
    """A script that seals whatever the queue grants, until it is closed and empty."""

    def script():
        while not isinstance(answer := queue.next(name), Closed):
            if isinstance(answer, Grant):
                queue.finish(answer.lease, Outcome(answer.lease.key, Status.SEALED, trained=True))

    return script
