"""A StageRunner that trains nothing: for tests of lanes, and what a lane costs by itself."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from had_core.errors import NonFiniteLoss
from had_core.parallel import Parallel
from orchestrator.execution.messages import (
    Failure,
    FailureKind,
    Lease,
    Outcome,
    StageProgress,
    StageWork,
    Status,
)
from orchestrator.execution.runner import StageRunner, Tell


@dataclass(frozen=True)
class NoopSettings:
    """What to pretend.

    Attributes:
        seconds: a stage takes this long.
        ledger: folder where every execution leaves ``<key>.<attempt>.<rank>``.
        kill: key whose first attempt is killed, on the last rank.
        raise_: key whose every attempt raises, on every rank.
        diverge: key that fails as a diverged one does.
    """

    seconds: float = 0.0
    ledger: str | None = None
    kill: str | None = None
    raise_: str | None = None
    diverge: str | None = None


def open_noop(settings: NoopSettings, parallel: Parallel) -> StageRunner:
    return NoopRunner(settings, parallel)


class NoopRunner:
    """Executes nothing, in step: one collective a stage."""

    def __init__(self, settings: NoopSettings, parallel: Parallel) -> None:
        self._settings, self._parallel = settings, parallel

    def run(self, lease: Lease, work: StageWork, tell: Tell) -> Outcome:
        settings, rank = self._settings, self._parallel.rank
        if settings.ledger is not None:
            Path(settings.ledger, f"{lease.key}.{lease.attempt}.{rank}").touch()
        deadline = time.monotonic() + settings.seconds
        while True:
            wanted = tell(_progress(lease, work, self._parallel.world_size))
            votes = torch.tensor([float(not wanted)])
            self._parallel.all_reduce_sum(votes)
            if votes.item() > 0:
                return Outcome(lease.key, Status.CANCELLED)
            if time.monotonic() >= deadline:
                break
            time.sleep(0.05)
        if lease.key == settings.kill and lease.attempt == 1:
            if rank == self._parallel.world_size - 1:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)
        if lease.key == settings.raise_:
            raise RuntimeError(f"stage {lease.key} raises")
        if lease.key == settings.diverge:
            error = NonFiniteLoss(1, 1, "new/x")
            failure = Failure(FailureKind.NON_FINITE, str(error), "", 1, 1, "new/x")
            return Outcome(lease.key, Status.FAILED, failure=failure)
        return Outcome(lease.key, Status.SEALED, trained=True, seconds=settings.seconds)


def _progress(lease: Lease, work: StageWork, workers: int) -> StageProgress:
    return StageProgress(
        key=lease.key,
        lane=lease.lane,
        attempt=lease.attempt,
        position=work.position,
        tasks=work.tasks,
        method=work.method,
        order=work.order,
        epoch=1,
        epochs=1,
        step=1,
        steps_per_epoch=1,
        workers=workers,
    )
