"""What a lifelong-learning method is.

A method is one file with two classes: a frozen **config** (imports no torch, decides keys) and the
**behaviour** the stage loop calls. The loop (``had_core.stage``) owns the net, the batches, the
optimiser and all communication; a method only says which loss terms to add, what to do with
gradients and updates, and what to remember::

    begin(stage)                      once, before the first step (memory of earlier stages in)
    terms(step) -> {"new": ..., ...}  every step; the loop sums them and runs backward
    after_backward(stage)             edit the reduced gradients (SPG, SGP)
    after_step(stage)                 edit the update (projection)
    consolidate(stage) -> tensors     once, after the last step (Fisher, masks, bases, exemplars)

Contract, checked by ``tests/unit/methods/test_conformance.py`` over every method:

* ``terms`` returns scalars that already are *global-batch* losses when summed over ranks: build
  them with ``step.mean_over_images`` (per-image values, global count) or ``step.once`` (penalties
  that do not depend on data). Then 1 and N workers give the same gradients.
* ``config.effective(old_tasks)`` returns the simplest config with the same behaviour: with no old
  task, or weight 0, that is ``NaiveConfig()``. The reduced config is what is trained *and* keyed.
* A method keeps no state on itself between stages; what it needs later it returns from
  ``consolidate`` and gets back in ``begin``.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from had_core.configs import View
from had_core.tasks import DenseTask

if TYPE_CHECKING:
    from torch import Tensor

    from had_core.nets.lifelong import LifelongNet


@dataclass(frozen=True)
class StageShape:
    """One fit of a sequence, before it has data: what it starts from and what it may see.

    Attributes:
        parent: index of the stage it starts from, None for fresh weights.
        tasks: tasks whose heads exist after the fit, in the order they were grown.
        views: what the fit trains on.
        row: 1-based row of R that its evaluation fills.
    """

    parent: int | None
    tasks: tuple[str, ...]
    views: tuple[View, ...]
    row: int

    @property
    def new_tasks(self) -> tuple[str, ...]:
        return tuple(view.task for view in self.views)


class MethodConfig(abc.ABC):
    """Frozen settings of a method; subclasses are frozen dataclasses."""

    name: ClassVar[str]

    @abc.abstractmethod
    def effective(self, old_tasks: Sequence[str]) -> MethodConfig:
        """The simplest config that trains the same weights after ``old_tasks``.

        Which tasks are old decides it, not their order.
        """

    @abc.abstractmethod
    def build(self) -> Method:
        """The behaviour; torch may be imported from here on."""

    def shape(self, order: Sequence[str]) -> tuple[StageShape, ...]:
        """The fits of one sequence; by default one stage a task, each from the one before."""
        return tuple(
            StageShape(
                parent=k - 1 if k else None,
                tasks=tuple(order[: k + 1]),
                views=(View(order[k], k),),
                row=k + 1,
            )
            for k in range(len(order))
        )

    def distilled(self, old_tasks: Sequence[str]) -> tuple[str, ...]:
        """The old tasks that have a loss term of their own at this stage.

        Only their heads (and the new ones) are trained, and ``step.teacher`` answers for them
        alone; all other heads stay as they are, bit for bit.
        """
        return ()

    @property
    def pools_worker_batch(self) -> bool:
        """Whether a reduction pools the worker's own batch, so that its size decides results."""
        return False

    @property
    def reads_memory(self) -> bool:
        """Whether the parent's memory decides the fit, and so enters its key."""
        return False

    @property
    def keeps_memory(self) -> bool:
        """Whether ``consolidate`` returns anything."""
        return False


class StageView(Protocol):
    """What a method sees of its stage, outside a step."""

    @property
    def net(self) -> LifelongNet: ...
    @property
    def old_tasks(self) -> tuple[DenseTask, ...]: ...
    @property
    def new_tasks(self) -> tuple[DenseTask, ...]: ...
    @property
    def memory(self) -> Mapping[str, Tensor]:
        """The parent's memory; empty at stage 1."""
        ...


class StepView(StageView, Protocol):
    """What a method sees of one step. Outputs are float32, at input resolution, on this rank."""

    def student(self, task: DenseTask) -> Tensor:
        """The trained net's output for ``task``, ``[B,C,H,W]``, with gradient."""
        ...

    def teacher(self, task: DenseTask) -> Tensor:
        """The frozen teacher's output for an old task, ``[B,C,H,W]``, without gradient."""
        ...

    def target(self, task: DenseTask) -> Tensor:
        """The ground truth of a new task; shapes as in ``TaskKind``."""
        ...

    def mean_over_images(self, per_image_B: Tensor) -> Tensor:
        """Sum over this rank's images divided by the *global* number of images in the batch."""
        ...

    def mean_over_labelled(self, per_image_B: Tensor, task: DenseTask) -> Tensor:
        """The same, counting only images with a valid pixel of ``task`` anywhere in the batch.

        The values of images without one must be 0.
        """
        ...

    def once(self, penalty: Tensor) -> Tensor:
        """A term that does not depend on data, so that summing over ranks counts it once."""
        ...


class Method(abc.ABC):
    """Behaviour of a method during one stage; see the module's contract."""

    def begin(self, stage: StageView) -> None:
        """Called once on every rank before the first step."""
        return None

    @abc.abstractmethod
    def terms(self, step: StepView) -> dict[str, Tensor]:
        """Weighted scalar loss terms; their sum is minimised. Names: ``new/<task>``,
        ``<method term>/<old task>``."""

    def after_backward(self, stage: StageView) -> None:
        """Called after gradients are reduced over ranks, before the optimiser's step."""
        return None

    def after_step(self, stage: StageView) -> None:
        """Called after the optimiser's step."""
        return None

    def consolidate(self, stage: StageView) -> dict[str, Tensor]:
        """What later stages need to remember; empty unless ``config.keeps_memory``."""
        return {}
