"""A real worker whose store kills another process (the driver) at a chosen write."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from had_core.data import ShardDataset
from had_core.parallel import Parallel
from had_core.stage import Runtime
from orchestrator.execution.runner import StageRunner
from orchestrator.execution.worker import StageWorker, WorkerSettings
from orchestrator.store import LocalFs, Store


@dataclass(frozen=True)
class Target:
    """Kill ``pid`` at the first write that begins with ``what``, after it or before.

    Each worker leaves a file with its own pid as name in ``workers``.
    """

    pid: int
    workers: str
    what: str
    after: bool


class DeadlyFs(LocalFs):
    def __init__(self, root: str, target: Target) -> None:
        super().__init__(root)
        self._target = target

    def write(self, path: str, data: bytes, *, durable: bool = True) -> None:
        write = super().write
        self._step(f"write {path}", lambda: write(path, data, durable=durable))

    def create_if_absent(self, path: str, data: bytes, *, durable: bool = True) -> bool:
        create = super().create_if_absent
        return self._step(f"create {path}", lambda: create(path, data, durable=durable))

    def _step(self, what, act):
        hit = what.startswith(self._target.what)
        if hit and not self._target.after:
            self._kill()
        result = act()
        if hit:
            self._kill()
        return result

    def _kill(self) -> None:
        os.kill(self._target.pid, signal.SIGKILL)
        time.sleep(120)  # the driver's end has to reach this worker by itself


def open_deadly(settings: WorkerSettings, target: Target, parallel: Parallel) -> StageRunner:
    Path(target.workers, str(os.getpid())).touch()
    dataset = ShardDataset.open(Path(settings.dataset))
    store = Store(DeadlyFs(settings.store, target)) if parallel.rank == 0 else None
    return StageWorker(settings, dataset, store, Runtime(parallel))
