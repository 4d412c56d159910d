"""One training step of one stage: what a method sees, and the loop body.

::

    batch ─> student encoder ─> heads (lazily, only those a term asks for) ─┐
        └──> teacher (one shared encoder pass, or its cache) ───────────────┴─> terms ─> backward
             ─> one all-reduce (gradients + terms) ─> method edits ─> optimiser
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from had_core.batches import Batch
from had_core.configs import TrainConfig
from had_core.errors import NonFiniteLoss
from had_core.methods.base import Method
from had_core.nets.lifelong import LifelongNet
from had_core.optim import GradBuffer, StageOptimizer
from had_core.parallel import Parallel
from had_core.tasks import DenseTask
from had_core.teacher import Teacher, autocast, widen

MAX_TERMS_PER_TASK = 4


class StageContext:
    """The stage as a method sees it (``methods.base.StageView``)."""

    def __init__(
        self,
        net: LifelongNet,
        old_tasks: Sequence[DenseTask],
        new_tasks: Sequence[DenseTask],
        memory: Mapping[str, Tensor],
    ) -> None:
        self.net = net
        self.old_tasks = tuple(old_tasks)
        self.new_tasks = tuple(new_tasks)
        self.memory = memory


class StepContext(StageContext):
    """One step as a method sees it (``methods.base.StepView``)."""

    def __init__(
        self,
        stage: StageContext,
        batch: Batch,
        teacher: Teacher | None,
        train: TrainConfig,
        world_size: int,
    ) -> None:
        super().__init__(stage.net, stage.old_tasks, stage.new_tasks, stage.memory)
        self._batch, self._train, self._world = batch, train, world_size
        self._size = (batch.image_B3HW.shape[-2], batch.image_B3HW.shape[-1])
        with autocast(train.precision, batch.image_B3HW.device):
            self._features = stage.net.encode(batch.image_B3HW)
        self._teacher = teacher.outputs(batch.rows, batch.image_B3HW) if teacher else {}
        self._students: dict[str, Tensor] = {}

    def student(self, task: DenseTask) -> Tensor:
        if task.name not in self._students:
            with autocast(self._train.precision, self._batch.image_B3HW.device):
                head = self.net.decode(self._features, [task.name])[task.name]
            self._students[task.name] = self.net.upsample(widen(head), self._size)
        return self._students[task.name]

    def teacher(self, task: DenseTask) -> Tensor:
        with torch.no_grad():
            return self.net.upsample(self._teacher[task.name], self._size)

    def target(self, task: DenseTask) -> Tensor:
        return self._batch.target[task.name]

    def mean_over_images(self, per_image_B: Tensor) -> Tensor:
        return per_image_B.sum() / self._batch.images

    def mean_over_labelled(self, per_image_B: Tensor, task: DenseTask) -> Tensor:
        visible = per_image_B * self._batch.visible_B[task.name]
        return visible.sum() / max(1, self._batch.labelled[task.name])

    def once(self, penalty: Tensor) -> Tensor:
        return penalty / self._world


class StageTrainer:
    """Owns the net, gradients and optimiser of one stage; ``step`` is the loop body."""

    def __init__(
        self,
        stage: StageContext,
        method: Method,
        teacher: Teacher | None,
        train: TrainConfig,
        trained: Mapping[str, nn.Parameter],
        total_steps: int,
        parallel: Parallel,
    ) -> None:
        self.stage, self.optimizer = stage, StageOptimizer(train, trained, total_steps)
        self._method, self._teacher, self._train, self._parallel = method, teacher, train, parallel
        tasks = len(stage.old_tasks) + len(stage.new_tasks)
        self._grads = GradBuffer(trained, MAX_TERMS_PER_TASK * tasks)
        method.begin(stage)

    def step(self, batch: Batch, epoch: int, step: int) -> dict[str, float]:
        """Train on one batch; ``step`` counts from 0 over the whole fit.

        Returns:
            The global value of every loss term.

        Raises:
            NonFiniteLoss: a term is NaN or infinite on any rank; raised on all of them, before
                any weight changes.
        """
        self._grads.zero()
        context = StepContext(
            self.stage, batch, self._teacher, self._train, self._parallel.world_size
        )
        terms = self._method.terms(context)
        values = list(terms.values())
        torch.stack(values).sum().backward()
        reduced = dict(zip(terms, self._grads.reduce(values, self._parallel), strict=True))
        for name, value in reduced.items():
            if value != value or value in (float("inf"), float("-inf")):
                raise NonFiniteLoss(epoch, step, name)
        self._method.after_backward(self.stage)
        self.optimizer.step(step)
        self._method.after_step(self.stage)
        return reduced

    def consolidate(self) -> dict[str, Tensor]:
        """What the method keeps for later stages, after the last step."""
        return self._method.consolidate(self.stage)
