"""A lane on Ray Train: one run, one worker group, many stages.

Starting a worker group costs 8 to 19 s on a small machine (spawn, import torch, rendezvous), a
stage may cost less. So the group stays: rank 0 asks the queue for the next stage and broadcasts
it, until the queue is closed and empty. When a worker dies, Ray Train starts the group again; what
a stage had reached lies in the store, not in Ray.
"""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
import traceback
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray.train
from ray.train.torch import TorchTrainer
from ray.train.v2.api.callback import UserCallback
from ray.train.v2.api.config import (
    CheckpointConfig,
    FailureConfig,
    LoggingConfig,
    RunConfig,
    ScalingConfig,
)

from orchestrator.execution.cluster import Cluster
from orchestrator.execution.lane_thread import LaneThread
from orchestrator.execution.messages import Outcome
from orchestrator.execution.ray_queue import RayQueue
from orchestrator.execution.rendezvous import LaneTorchConfig
from orchestrator.execution.runner import RunnerFactory

if TYPE_CHECKING:
    from ray.train.v2._internal.execution.context import TrainRunContext

_COLLECTIVE_TIMEOUT_S = 1800
# Ray Train's controller takes one report every 2 s, at its look at the workers, and a second one
# waits for it: stages of one second would take two. A report is a barrier of the ranks as well.
_REPORT_ABOVE_S = 4.0
_START_FAILURES = 10  # a minute each: a cluster that stays full that long is an error


@dataclass(frozen=True)
class _LaneArguments:
    """What every worker of the lane gets; travels in memory, by reference to this code."""

    lane: str
    queue: RayQueue
    make_runner: RunnerFactory
    threads: int


class RayLane(LaneThread):
    """Serves a queue from a Ray Train run until the queue is closed and empty.

    Args:
        cluster: connected; decides the number of workers and their resources.
        make_runner: called in every worker; must be importable there.
    """

    def __init__(
        self, name: str, queue: RayQueue, make_runner: RunnerFactory, cluster: Cluster
    ) -> None:
        super().__init__(name)
        self._queue, self._make_runner, self._cluster = queue, make_runner, cluster

    def _serve(self) -> None:
        run = f"{self.name}-{uuid.uuid4().hex[:12]}"  # a repeated name would restore itself
        try:
            self._trainer(run).fit()
        finally:
            shutil.rmtree(Path(self._cluster.scratch, run), ignore_errors=True)

    def _trainer(self, run: str) -> TorchTrainer:
        settings = self._cluster.settings
        threads = settings.threads or 1
        resources = {"CPU": float(threads), **({"GPU": 1.0} if settings.gpu else {})}
        arguments = _LaneArguments(self.name, self._queue, self._make_runner, threads)
        return TorchTrainer(
            functools.partial(_work, arguments),
            torch_config=LaneTorchConfig(
                # Weights and messages are broadcast from the CPU, gradients reduced on the device.
                backend="cpu:gloo,cuda:nccl" if settings.gpu else "gloo",
                timeout_s=_COLLECTIVE_TIMEOUT_S,
            ),
            scaling_config=ScalingConfig(
                num_workers=settings.workers,
                use_gpu=settings.gpu,
                resources_per_worker=resources,
            ),
            run_config=self._run_config(run, threads),
        )

    def _run_config(self, run: str, threads: int) -> Any:  # Ray's stubs mean its version 1
        return RunConfig(
            name=run,
            storage_path=self._cluster.scratch,
            failure_config=FailureConfig(
                max_failures=-1,  # the queue bounds attempts, per stage
                controller_failure_limit=_START_FAILURES,
            ),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            callbacks=[_TellQueue(self.name, self._queue)],
            worker_runtime_env={"env_vars": _worker_environment(threads)},
            logging_config=LoggingConfig(log_level="WARNING"),
        )


def _worker_environment(threads: int) -> dict[str, str]:
    return {
        "OMP_NUM_THREADS": str(threads),
        # On a contended core spinning made 2 threads 27 times slower.
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def _work(arguments: _LaneArguments) -> None:
    """What every rank executes; Ray Train has set up torch.distributed."""
    import torch

    from had_core.parallel import default_group
    from orchestrator.execution.runner import serve

    torch.set_num_threads(arguments.threads)
    try:
        parallel = default_group()
        queue = arguments.queue if parallel.rank == 0 else None
        serve(arguments.lane, queue, arguments.make_runner(parallel), parallel, _report)
    except Exception as error:
        raise WorkerFailed(f"{type(error).__name__}: {error}", traceback.format_exc()) from None


class WorkerFailed(Exception):
    """An exception of a worker with its own traceback, which Ray Train would drop."""

    def __init__(self, message: str, traceback_text: str) -> None:
        super().__init__(message, traceback_text)
        self.message, self.traceback_text = message, traceback_text

    def __str__(self) -> str:
        return self.message


def _report(outcome: Outcome, seconds: float) -> None:
    """Tell Ray Train where the stage's result lies; every rank calls it equally often."""
    if seconds < _REPORT_ABOVE_S:
        return
    metrics = {"stage": outcome.key, "status": outcome.status.value, "seconds": seconds}
    if ray.train.get_context().get_world_rank() != 0:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pointer.json").write_text(json.dumps(metrics))
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


class _TellQueue(UserCallback):
    """Runs in the lane's controller: a broken worker group is news for the queue."""

    def __init__(self, lane: str, queue: RayQueue) -> None:
        self._lane, self._queue = lane, queue

    def after_exception(
        self, run_context: TrainRunContext, worker_exceptions: Mapping[int, Exception]
    ) -> None:
        rank, error = _cause(worker_exceptions)
        own = error.traceback_text if isinstance(error, WorkerFailed) else ""
        message = f"worker {rank}: {_sentence(error)}"
        if not self._queue.lost(self._lane, message, own):
            raise RuntimeError(f"{self._lane} cannot start its workers: {message}")


def _cause(errors: Mapping[int, Exception]) -> tuple[int, Exception]:
    """The error that explains the others: a vanished worker, else the lowest rank's exception."""
    vanished = {rank: e for rank, e in errors.items() if not isinstance(e, WorkerFailed)}
    rank = min(vanished or errors)
    return rank, errors[rank]


def _sentence(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
