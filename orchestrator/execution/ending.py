"""How an execution of a stage ended, collected while it runs."""

from __future__ import annotations

import time
import traceback

from orchestrator.execution.messages import Failure, FailureKind, Outcome, Status


class Ending:
    """Collects what an outcome says while the stage runs."""

    def __init__(self, key: str) -> None:
        self._key, self._started = key, time.perf_counter()
        self.steps_run = 0
        self.trained = False

    def seconds(self) -> float:
        return time.perf_counter() - self._started

    def outcome(self, status: Status, failure: Failure | None = None) -> Outcome:
        return Outcome(
            key=self._key,
            status=status,
            trained=self.trained,
            steps_run=self.steps_run,
            seconds=self.seconds(),
            failure=failure,
        )

    def failed(
        self,
        kind: FailureKind,
        error: Exception,
        epoch: int | None = None,
        step: int | None = None,
        term: str | None = None,
    ) -> Outcome:
        text = "".join(traceback.format_exception(error))
        return self.outcome(Status.FAILED, Failure(kind, str(error), text, epoch, step, term))
