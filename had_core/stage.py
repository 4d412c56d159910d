"""Fit one stage: from a parent's weights and a slice of data to the next weights.

Plain torch and rank-aware: the same code runs in a notebook (``Solo``) and in a Ray Train worker
(``TorchParallel``). It knows no store and no tracker; an observer is handed in.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from had_core.batches import BatchSource
from had_core.building import build_net, resolve_tasks, trained_parameters
from had_core.canonical import derive_seed
from had_core.configs import Norm, TeacherCache
from had_core.data import ShardDataset
from had_core.errors import BadInput, Cancelled, NonFiniteNet
from had_core.fit_config import FitConfig
from had_core.nets.lifelong import LifelongNet
from had_core.parallel import Parallel, Solo, agree_any
from had_core.progress import OPENING_STEPS, EpochRecord, FitProgress, SilentObserver, StageObserver
from had_core.step import StageContext, StageTrainer
from had_core.tasks import DenseTask
from had_core.teacher import CachedTeacher, LiveTeacher


@dataclass(frozen=True)
class FitResult:
    """A trained stage.

    Attributes:
        state: every weight and statistic of the net, on the CPU.
        memory: what the method keeps; empty for most.
        history: one record an epoch.
        steps_run: optimiser steps that *this* call executed (fewer after a resume).
        teacher_seconds: what filling the teacher's cache took.
    """

    state: Mapping[str, Tensor]
    memory: Mapping[str, Tensor]
    history: tuple[EpochRecord, ...]
    steps_run: int
    teacher_seconds: float = 0.0


@dataclass(frozen=True)
class Runtime:
    """Where a fit runs; none of it decides the result beyond rounding.

    Attributes:
        scratch: folder for the teacher's cache; the system's temporary folder by default.
    """

    parallel: Parallel = field(default_factory=Solo)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    scratch: Path | None = None


def fit(
    config: FitConfig,
    dataset: ShardDataset,
    *,
    parent: Mapping[str, Tensor] | None = None,
    memory: Mapping[str, Tensor] | None = None,
    observer: StageObserver | None = None,
    resume: FitProgress | None = None,
    runtime: Runtime | None = None,
) -> FitResult:
    """Train one stage; every rank calls it with the same arguments.

    Args:
        config: what to train; ``config.method`` is used as it is, ``effective`` is the planner's.
        dataset: training images come from its ``train`` split.
        parent: weights to start from; None for fresh ones (stage 1, ``single``, ``joint``).
        memory: the parent's memory, for methods that read one.
        observer: told of steps and epochs; may cancel between epochs.
        resume: state at the end of an epoch of this very fit.

    Raises:
        BadInput: the batch does not fit the slice or the workers, a task is unknown, or
            ``train.eval_every`` asks for a validation part that is empty.
        NonFiniteLoss: a loss term became NaN or infinite, on every rank at once.
        NonFiniteNet: a weight is NaN or infinite after the last step.
        Cancelled: the observer of any rank said so.
    """
    runtime, observer = runtime or Runtime(), observer or SilentObserver()
    source = BatchSource(config, dataset.split("train"), runtime.parallel, runtime.device)
    trainer, teacher = prepare(config, dataset, source, parent, memory or {}, runtime)
    try:
        done = _restore(trainer, resume)
        history = _epochs(config, dataset, trainer, source, observer, done, runtime)
        _check_finite(trainer.stage.net, runtime.parallel)
        kept = trainer.consolidate()
    finally:
        if isinstance(teacher, CachedTeacher):
            teacher.close()
    return FitResult(
        state=_detached(trainer.stage.net.state_dict()),
        memory=_detached(kept),
        history=history,
        steps_run=(len(history) - len(done)) * source.steps_per_epoch,
        teacher_seconds=teacher.fill_seconds if isinstance(teacher, CachedTeacher) else 0.0,
    )


def prepare(
    config: FitConfig,
    dataset: ShardDataset,
    source: BatchSource,
    parent: Mapping[str, Tensor] | None,
    memory: Mapping[str, Tensor],
    runtime: Runtime,
) -> tuple[StageTrainer, LiveTeacher | CachedTeacher | None]:
    """Everything before the first step: net, teacher (its cache filled), optimiser, method."""
    tasks = resolve_tasks(config, dataset.split("train").tasks)
    net = _built(config, tasks, parent, runtime.parallel).to(runtime.device)
    net.set_parallel(runtime.parallel)
    distilled = config.method.distilled(config.old_tasks)
    teacher = _teacher(config, net, distilled, source, runtime)
    trained = trained_parameters(config, net, distilled)
    new = set(config.new_tasks)
    stage = StageContext(
        net=net,
        old_tasks=[task for task in tasks if task.name not in new],
        new_tasks=[task for task in tasks if task.name in new],
        memory=memory,
    )
    trainer = StageTrainer(
        stage=stage,
        method=config.method.build(),
        teacher=teacher,
        train=config.train,
        trained=trained,
        total_steps=config.train.epochs * source.steps_per_epoch,
        parallel=runtime.parallel,
    )
    return trainer, teacher


def _built(
    config: FitConfig,
    tasks: Sequence[DenseTask],
    parent: Mapping[str, Tensor] | None,
    parallel: Parallel,
) -> LifelongNet:
    """The net; BadInput on every rank where one of them (its machine's file) has no such net."""
    problem: BadInput | None = None
    try:
        net = build_net(config, tasks, parent)
    except BadInput as error:
        problem = error
    if agree_any(parallel, problem is not None):
        raise problem or BadInput("another worker of this lane cannot build the net")
    return net


def _teacher(
    config: FitConfig,
    net: LifelongNet,
    distilled: Sequence[str],
    source: BatchSource,
    runtime: Runtime,
) -> LiveTeacher | CachedTeacher | None:
    if not distilled:
        return None
    live = LiveTeacher(net.frozen_copy(), distilled, config.train.precision)
    width = config.train.teacher_cache
    if width is TeacherCache.OFF:
        return live
    return CachedTeacher(live, source, runtime.parallel, width, runtime.scratch)


def _restore(trainer: StageTrainer, resume: FitProgress | None) -> tuple[EpochRecord, ...]:
    if resume is None:
        return ()
    parts: dict[str, dict[str, Tensor]] = {"net": {}, "optim": {}}
    for name, tensor in resume.tensors.items():
        part, rest = name.split("/", 1)
        parts[part][rest] = tensor
    trainer.stage.net.load_state_dict(parts["net"])
    trainer.optimizer.load_state(parts["optim"])
    return resume.history


def _epochs(
    config: FitConfig,
    dataset: ShardDataset,
    trainer: StageTrainer,
    source: BatchSource,
    observer: StageObserver,
    history: tuple[EpochRecord, ...],
    runtime: Runtime,
) -> tuple[EpochRecord, ...]:
    for epoch in range(len(history) + 1, config.train.epochs + 1):
        if agree_any(runtime.parallel, observer.cancelled()):
            raise Cancelled(f"cancelled before epoch {epoch}")
        # Batches have their own seeds; this one serves methods that draw from torch.
        torch.manual_seed(derive_seed(config.seed, "torch", list(config.tasks), epoch))
        record = _epoch(trainer, source, observer, epoch)
        if config.net.norm is Norm.BATCH:
            _average_statistics(trainer.stage.net, runtime.parallel)
        if config.train.eval_every and epoch % config.train.eval_every == 0:
            record = replace(record, scores=_scores(config, dataset, trainer, runtime))
        history = (*history, record)
        observer.on_epoch(record, partial(_progress, trainer, history))
    return history


def _epoch(
    trainer: StageTrainer, source: BatchSource, observer: StageObserver, epoch: int
) -> EpochRecord:
    started, images = time.perf_counter(), 0
    sums: dict[str, float] = {}
    opening: list[Mapping[str, float]] = []
    first = (epoch - 1) * source.steps_per_epoch
    for index, batch in enumerate(source.epoch(epoch)):
        terms = trainer.step(batch, epoch, first + index)
        for name, value in terms.items():
            sums[name] = sums.get(name, 0.0) + value
        if epoch == 1 and index < OPENING_STEPS:
            opening.append(terms)
        images += batch.images
        observer.on_step(epoch, index + 1, source.steps_per_epoch)
    steps = first + source.steps_per_epoch
    return EpochRecord(
        epoch=epoch,
        steps=steps,
        images=images,
        seconds=time.perf_counter() - started,
        lr=trainer.optimizer.lr_at(steps - 1),
        terms={name: value / source.steps_per_epoch for name, value in sums.items()},
        opening=tuple(opening),
    )


def _scores(
    config: FitConfig, dataset: ShardDataset, trainer: StageTrainer, runtime: Runtime
) -> dict[str, dict[str, float | None]]:
    """Every task learned so far on the validation part; leaves no trace in the training."""
    from had_core.evaluation import evaluate  # it stands on this module

    cuda = [runtime.device] if runtime.device.type == "cuda" else []
    with torch.random.fork_rng(cuda):
        row = evaluate(config, trainer.stage.net.state_dict(), dataset, "val", runtime=runtime)
    return {
        task: {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        for task, metrics in row.items()
    }


def _check_finite(net: LifelongNet, parallel: Parallel) -> None:
    """Raise NonFiniteNet on every rank where the last step left any with NaN or infinity."""
    broken = next((name for name, t in net.state_dict().items() if not t.isfinite().all()), None)
    if agree_any(parallel, broken is not None):
        raise NonFiniteNet(f"{broken or 'a weight'} is not finite after the last step")


def _average_statistics(net: LifelongNet, parallel: Parallel) -> None:
    """Ranks with their own batch statistics agree on the mean, so that rank 0's net is all's."""
    if parallel.world_size == 1:
        return
    for name, buffer in sorted(net.named_buffers()):
        if name.endswith(("running_mean", "running_var")):
            parallel.all_reduce_sum(buffer)
            buffer /= parallel.world_size


def _progress(trainer: StageTrainer, history: tuple[EpochRecord, ...]) -> FitProgress:
    """The state itself: copying it cost a third of writing it down."""
    tensors = {f"net/{name}": value for name, value in trainer.stage.net.state_dict().items()}
    tensors.update({f"optim/{name}": v for name, v in trainer.optimizer.state().items()})
    return FitProgress(len(history), tensors, history)


def _detached(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
