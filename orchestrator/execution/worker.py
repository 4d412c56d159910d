"""Execute one stage against the store: what is sealed is not made again, what is partial goes on.

Every rank runs the same code in step. Rank 0 alone looks at the store and shares what it saw, so
that ranks cannot disagree; an exception on one rank alone ends the lane's worker group, which
starts again and goes on from the last finished epoch.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from had_core.building import load_net, resolve_tasks
from had_core.data import ShardDataset
from had_core.errors import BadInput, Cancelled, CorruptArtifact, NonFiniteLoss, NonFiniteNet
from had_core.evaluation import Example, evaluate, examples
from had_core.fit_config import FitConfig
from had_core.parallel import Parallel, agree_any
from had_core.progress import EpochRecord, FitProgress, SilentObserver, StageObserver
from had_core.stage import FitResult, Runtime, fit
from had_core.tasks import DenseTask
from had_core.tensors import from_bytes
from orchestrator.execution.claiming import wait_for_claim
from orchestrator.execution.desk import Desk
from orchestrator.execution.ending import Ending
from orchestrator.execution.machine import MachineSampler
from orchestrator.execution.messages import (
    FailureKind,
    Lease,
    Outcome,
    StageProgress,
    StageWork,
    Status,
)
from orchestrator.execution.observer import Reporter
from orchestrator.execution.provenance import trained_on, versions
from orchestrator.execution.runner import StageRunner, Tell
from orchestrator.execution.sharing import share_bytes, share_json
from orchestrator.plan.numerics import NumericsClass
from orchestrator.plan.specs import EvalSpec, StageSpec
from orchestrator.store import Store
from orchestrator.tracking.journal import Journal
from orchestrator.tracking.pictures import render_examples

_PICTURES = 3  # images in the example picture of a task

_Tensors = Mapping[str, Tensor] | None


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker is told when its lane starts; the rest comes with each stage.

    Attributes:
        store: root of the store, absolute path or URI.
        dataset: folder of the data set, absolute, on every node.
        threads: torch threads of a worker.
        device: ``cpu`` or ``cuda``.
        commit: git commit of the driver's code, for manifests.
        scratch: folder for caches that may vanish; the system's temporary folder by default.
        sample_every: seconds between looks at the machine's load; 0 for none.
    """

    store: str
    dataset: str
    threads: int = 1
    device: str = "cpu"
    commit: str = ""
    scratch: str | None = None
    sample_every: float = 0.0


@dataclass(frozen=True)
class _Job:
    """One stage in execution; ``desk`` on rank 0 only."""

    lease: Lease
    work: StageWork
    stage: StageSpec
    desk: Desk | None
    tell: Tell


def open_worker(settings: WorkerSettings, parallel: Parallel) -> StageRunner:
    """The runner of one rank; a ``RunnerFactory`` once the settings are bound.

    Raises:
        BadInput: the data set or the store cannot be used.
    """
    torch.set_num_threads(settings.threads)
    device = torch.device(settings.device)
    if device.type == "cuda":
        device = torch.device("cuda", torch.cuda.current_device())
    scratch = Path(settings.scratch) if settings.scratch else None
    dataset = ShardDataset.open(Path(settings.dataset))
    store = Store.open(settings.store) if parallel.rank == 0 else None
    return StageWorker(settings, dataset, store, Runtime(parallel, device, scratch))


class StageWorker:
    """A StageRunner over had_core and the store; ``store`` is for rank 0 alone."""

    def __init__(
        self,
        settings: WorkerSettings,
        dataset: ShardDataset,
        store: Store | None,
        runtime: Runtime,
    ) -> None:
        self._settings, self._dataset = settings, dataset
        self._store, self._runtime = store, runtime
        self._parallel = runtime.parallel
        self._journals: dict[str, Journal] = {}
        self._machine = MachineSampler(settings.sample_every)

    def run(self, lease: Lease, work: StageWork, tell: Tell) -> Outcome:
        ended = Ending(lease.key)
        try:
            stage = self._stage(work)
            desk = self._desk(lease, work, stage)
            try:
                job = _Job(lease, work, stage, desk, tell)
                return self._wait_for_claim(job, ended) or self._execute(job, ended)
            finally:
                if desk is not None:
                    desk.pause()
                    desk.release()
        except NonFiniteLoss as error:
            return ended.failed(FailureKind.NON_FINITE, error, error.epoch, error.step, error.term)
        except NonFiniteNet as error:
            return ended.failed(FailureKind.NON_FINITE, error)
        except BadInput as error:
            return ended.failed(FailureKind.BAD_INPUT, error)
        except Cancelled:
            return ended.outcome(Status.CANCELLED)

    def _stage(self, work: StageWork) -> StageSpec:
        """The stage's spec; BadInput on every rank where one of them cannot execute it."""
        problem: BadInput | None = None
        try:
            stage = StageSpec.from_json(work.spec)
            self._check(work, stage)
        except BadInput as error:
            problem = error
        if agree_any(self._parallel, problem is not None):
            raise problem or BadInput("another worker of this lane cannot execute the stage")
        return stage

    def _check(self, work: StageWork, stage: StageSpec) -> None:
        if stage.key != work.key:
            raise BadInput(
                f"stage {work.key[:12]} has the key {stage.key[:12]} here: driver and workers must "
                "run the same version of had-orchestrator"
            )
        found, planned = self._dataset.split("train").fingerprint, stage.fit.data_fingerprint
        if found != planned:
            raise BadInput(
                f"dataset {self._settings.dataset} has the fingerprint {found[:12]} here, the plan "
                f"was made for {planned[:12]}"
            )

    def _desk(self, lease: Lease, work: StageWork, stage: StageSpec) -> Desk | None:
        if self._store is None:
            return None
        if work.run not in self._journals:
            self._journals[work.run] = Journal(self._settings.store, work.run)
        journal = self._journals[work.run]
        return Desk(self._store, journal, work, stage, lease.attempt, self._provenance())

    def _wait_for_claim(self, job: _Job, ended: Ending) -> Outcome | None:
        """None once this lane may execute the stage; how it ended where it may not."""
        found: Status | None = None
        with self._alone():
            if job.desk is not None:
                waiting = self._start(job, job.desk, 0)
                wanted = functools.partial(job.tell, waiting)
                found = wait_for_claim(job.desk.claim, wanted, job.lease.attempt)
        status = share_json(self._parallel, found.value if found else None)
        return None if status is None else ended.outcome(Status(status))

    def _execute(self, job: _Job, ended: Ending) -> Outcome:
        stage, desk = job.stage, job.desk
        net = self._share(desk, Desk.net)
        if net is None or share_json(self._parallel, desk.needs_memory() if desk else None):
            parents = self._parents(stage, desk)
            if parents is None:
                return ended.outcome(Status.PARENT_MISSING)
            result = self._fit(job, *parents)
            ended.steps_run = result.steps_run
            state = self._seal(desk, result)
        else:
            self._share(desk, Desk.partial)  # so that the desk knows of unfinished business
            state, _ = from_bytes(net)
        for index in share_json(self._parallel, desk.missing_evals() if desk else None):
            self._evaluate(stage.fit.config, stage.evals[index], desk, state)
        with self._alone():
            if desk is not None:
                ended.trained = desk.close(ended.seconds(), ended.steps_run)
        return ended.outcome(Status.SEALED)

    # Training -----------------------------------------------------------------------------------

    def _parents(self, stage: StageSpec, desk: Desk | None) -> tuple[_Tensors, _Tensors] | None:
        """Weights and memory to start from; None where the store cannot give them."""
        weights: _Tensors = None
        memory: _Tensors = None
        if stage.fit.parent is not None:
            weights = self._tensors(self._share(desk, Desk.parent_net))
            if weights is None:
                return None
        if stage.fit.parent_memory is not None:
            memory = self._tensors(self._share(desk, Desk.parent_memory))
            if memory is None:
                return None
        return weights, memory

    @staticmethod
    def _tensors(raw: bytes | None) -> Mapping[str, Tensor] | None:
        try:
            return None if raw is None else from_bytes(raw)[0]
        except CorruptArtifact:  # sealed as such: the parent has to be made again
            return None

    def _fit(self, job: _Job, weights: _Tensors, memory: _Tensors) -> FitResult:
        raw = self._share(job.desk, Desk.partial)
        resume = None if raw is None else FitProgress.from_bytes(raw)
        config, kept = job.stage.fit.config, job.stage.memory
        if kept is not None:
            # A method that was reduced to a simpler one trains the same weights, but the simpler
            # one remembers nothing.
            config = replace(config, method=kept.method)
        with self._alone():
            if job.desk is not None:
                job.desk.announce()
        with self._machine.running() if job.desk else contextlib.nullcontext():
            return fit(
                config,
                self._dataset,
                parent=weights,
                memory=memory,
                observer=self._observer(job, resume.epoch if resume else 0),
                resume=resume,
                runtime=self._runtime,
            )

    def _observer(self, job: _Job, done: int) -> StageObserver:
        """Rank 0 reports and saves; ``done`` epochs are finished already."""
        if job.desk is None:
            return SilentObserver()
        desk = job.desk

        def save(record: EpochRecord, progress: Callable[[], FitProgress]) -> None:
            with self._alone():
                desk.save_epoch(record, progress, self._machine.take())

        batch_size = job.stage.fit.config.train.batch_size
        return Reporter(self._start(job, desk, done), batch_size, job.tell, save)

    def _start(self, job: _Job, desk: Desk, done: int) -> StageProgress:
        """Where the stage stands before the first step here."""
        work = job.work
        return StageProgress(
            key=work.key,
            lane=job.lease.lane,
            attempt=desk.attempt,
            position=work.position,
            tasks=work.tasks,
            method=work.method,
            order=work.order,
            epoch=done,
            epochs=job.stage.fit.config.train.epochs,
            step=0,
            steps_per_epoch=0,
            workers=self._parallel.world_size,
        )

    def _seal(self, desk: Desk | None, result: FitResult) -> Mapping[str, Tensor]:
        """Seal what was trained; the weights that the store holds from now on."""
        theirs = None
        with self._alone():
            if desk is not None:
                if desk.needs_memory():
                    desk.seal_memory(result)
                data = trained_on(self._dataset.manifest, desk.stage.fit.config.tasks)
                theirs = desk.seal_fit(result, data)
        theirs = share_bytes(self._parallel, theirs)
        return result.state if theirs is None else from_bytes(theirs)[0]

    # Scoring ------------------------------------------------------------------------------------

    def _evaluate(
        self, config: FitConfig, spec: EvalSpec, desk: Desk | None, state: Mapping[str, Tensor]
    ) -> None:
        started = time.perf_counter()
        tasks, device = self._dataset.split("train").tasks, self._runtime.device
        net = load_net(config, resolve_tasks(config, tasks), state)
        row = evaluate(config, net, self._dataset, spec.split, runtime=self._runtime)
        seconds = time.perf_counter() - started
        if desk is None:
            return
        shown = examples(config, net, self._dataset, spec.split, _PICTURES, device=device)
        pictures = {name: _picture(tasks[name], found) for name, found in shown.items()}
        with self._alone():
            desk.seal_eval(spec, row, pictures, seconds)

    # Ranks --------------------------------------------------------------------------------------

    def _share(self, desk: Desk | None, look: Callable[[Desk], bytes | None]) -> bytes | None:
        return share_bytes(self._parallel, look(desk) if desk is not None else None)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Around what rank 0 does by itself: its trouble must not pass for an agreed failure."""
        try:
            yield
        except BadInput as error:
            if self._parallel.world_size == 1:
                raise
            raise RuntimeError(str(error)) from error

    def _provenance(self) -> dict[str, Any]:
        numerics = NumericsClass(
            workers=self._parallel.world_size,
            threads=self._settings.threads,
            device=_device_name(self._runtime.device),
            torch=torch.__version__,
            cpu_capability=torch.backends.cpu.get_cpu_capability(),
        )
        return {
            "numerics": numerics.to_json(),
            "versions": versions(),
            "commit": self._settings.commit,
        }


def _picture(task: DenseTask, found: Sequence[Example]) -> bytes:
    return render_examples(
        task,
        np.stack([example.image for example in found]),
        np.stack([example.truth for example in found]),
        np.stack([example.prediction for example in found]),
    )


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
