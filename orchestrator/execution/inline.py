"""A lane in this process: no Ray, one rank, one thread. For tests, notebooks and small machines."""

from __future__ import annotations

import threading
import traceback

from had_core.parallel import Solo
from orchestrator.execution.queue import LaneSide
from orchestrator.execution.runner import RunnerFactory, serve


class InlineLane:
    """Serves a queue from a thread of this process until the queue is closed and empty.

    A stage that raises is reported as lost with its traceback and tried again like the stage of a
    lost Ray worker.
    """

    def __init__(self, name: str, queue: LaneSide, make_runner: RunnerFactory) -> None:
        self.name = name
        self._queue, self._make_runner = queue, make_runner
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def error(self) -> BaseException | None:
        """Why the lane ended, None while it runs and where it ended by itself."""
        return self._error

    def join(self, timeout_s: float | None = None) -> None:
        self._thread.join(timeout_s)

    def _run(self) -> None:
        parallel = Solo()
        try:
            runner = self._make_runner(parallel)
            while True:
                try:
                    serve(self.name, self._queue, runner, parallel)
                    return
                except Exception as error:
                    if not self._queue.lost(self.name, str(error), traceback.format_exc()):
                        raise
        except BaseException as error:
            self._error = error
