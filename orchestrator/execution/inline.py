"""A lane in this process: no Ray, one rank, one thread. For tests, notebooks and small machines."""

from __future__ import annotations

import traceback

from had_core.parallel import Solo
from orchestrator.execution.lane_thread import LaneThread
from orchestrator.execution.queue import LaneSide
from orchestrator.execution.runner import RunnerFactory, serve


class InlineLane(LaneThread):
    """Serves a queue from a thread of this process until the queue is closed and empty.

    A stage that raises is reported as lost with its traceback and tried again like the stage of a
    lost Ray worker.
    """

    def __init__(self, name: str, queue: LaneSide, make_runner: RunnerFactory) -> None:
        super().__init__(name)
        self._queue, self._make_runner = queue, make_runner

    def _serve(self) -> None:
        parallel = Solo()
        runner = self._make_runner(parallel)
        while True:
            try:
                serve(self.name, self._queue, runner, parallel)
                return
            except Exception as error:
                if not self._queue.lost(self.name, str(error), traceback.format_exc()):
                    raise
