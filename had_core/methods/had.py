"""had: heterogeneity-aware distillation (HAD, CVPR 2026): L_new + lambda/(t-1) sum_j L_had,j."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from had_core.configs import require
from had_core.methods.base import Method, MethodConfig, StepView
from had_core.methods.naive import NaiveConfig, supervised_terms

if TYPE_CHECKING:
    from torch import Tensor


class Variant(enum.Enum):
    """PAPER follows the paper's formulas; RELEASED does what the released code computes.

    RELEASED also pools L_new over the batch, in every stage that distils. Stages without
    distillation are plain supervision in both, and shared with all other methods.
    """

    PAPER = "paper"
    RELEASED = "released"


class GroupMean(enum.Enum):
    """Mean inside a group of pixels; ARITHMETIC is the paper's ablation."""

    GEOMETRIC = "geometric"
    ARITHMETIC = "arithmetic"


@dataclass(frozen=True)
class HadLossConfig:
    """What the loss of one old task is made of.

    Attributes:
        delta: threshold between the two groups of a regression task, on [0, 1].
        k: salience threshold on the normalised gradient of the loss map.
        beta: share of the salience-guided term; 0.5 is the paper's lambda/2 (DB + SG).
        eps: added inside the logarithm; scales the gradient of a pixel by L_group / (I + eps).
        mean: mean inside a group.
        bins: groups of a regression task; 2 uses ``delta``, more are of equal width.
        variant: see Variant.
    """

    delta: float = 0.5
    k: float = 0.9
    beta: float = 0.5
    eps: float = 1e-3
    mean: GroupMean = GroupMean.GEOMETRIC
    bins: int = 2
    variant: Variant = Variant.PAPER

    def __post_init__(self) -> None:
        require(0 < self.delta < 1, "method.loss.delta", self.delta, "0 < delta < 1")
        require(0 <= self.k < 1, "method.loss.k", self.k, "0 <= k < 1")
        require(0 <= self.beta <= 1, "method.loss.beta", self.beta, "0 <= beta <= 1")
        require(self.eps > 0, "method.loss.eps", self.eps, "a number above 0")
        require(2 <= self.bins <= 10_000, "method.loss.bins", self.bins, "2 to 10000")

    def effective(self) -> HadLossConfig:
        """The same loss with every setting that cannot matter at its default."""
        released = self.variant is Variant.RELEASED
        unused = {
            "k": self.beta == 0,
            "delta": self.beta == 1 or (self.bins != 2 and not released),
            "bins": self.beta == 1 or released,
            "mean": self.beta == 1 or released,
            "eps": self.beta == 1 or released or self.mean is GroupMean.ARITHMETIC,
        }
        default = HadLossConfig()
        reset = {name: getattr(default, name) for name, is_unused in unused.items() if is_unused}
        return replace(self, **reset)


@dataclass(frozen=True)
class HadConfig(MethodConfig):
    """HAD.

    Attributes:
        weight: the paper's lambda, one for all old tasks or one per task name
            (``method.lambda=3`` or ``method.lambda={depth:3,semantic:1}``).
        loss: the rest.
    """

    name: ClassVar[str] = "had"
    weight: float | Mapping[str, float] = field(default=3.0, metadata={"name": "lambda"})
    loss: HadLossConfig = HadLossConfig()

    def __post_init__(self) -> None:
        values = self.weight.values() if isinstance(self.weight, Mapping) else [self.weight]
        for value in values:
            require(value >= 0, "method.lambda", value, "0 or more")

    def weight_of(self, task: str) -> float:
        if not isinstance(self.weight, Mapping):
            return self.weight
        require(task in self.weight, "method.lambda", dict(self.weight), f"a weight for '{task}'")
        return self.weight[task]

    def effective(self, old_tasks: Sequence[str]) -> MethodConfig:
        weights = {task: self.weight_of(task) for task in old_tasks}
        if not any(weights.values()):
            return NaiveConfig()
        same = set(weights.values())
        weight = same.pop() if len(same) == 1 else weights
        return replace(self, weight=weight, loss=self.loss.effective())

    def build(self) -> Method:
        return Had(self)

    def distilled(self, old_tasks: Sequence[str]) -> tuple[str, ...]:
        return tuple(task for task in old_tasks if self.weight_of(task) > 0)

    @property
    def pools_worker_batch(self) -> bool:
        return self.loss.variant is Variant.RELEASED


class Had(Method):
    def __init__(self, config: HadConfig) -> None:
        self._config = config

    def terms(self, step: StepView) -> dict[str, Tensor]:
        from had_core.losses.had import had_loss

        loss, old = self._config.loss, step.old_tasks
        distilled = self._config.distilled([task.name for task in old])
        pooled = distilled and loss.variant is Variant.RELEASED
        terms = _pooled_terms(step) if pooled else supervised_terms(step)
        for task in old:
            if task.name not in distilled:
                continue
            weight = self._config.weight_of(task.name)
            if loss.variant is Variant.PAPER:
                weight /= len(old)
            db_B, sg_B = had_loss(task, step.student(task), step.teacher(task), loss)
            if loss.beta < 1:
                terms[f"db/{task.name}"] = weight * (1 - loss.beta) * step.mean_over_images(db_B)
            if loss.beta > 0:
                terms[f"sg/{task.name}"] = weight * loss.beta * step.mean_over_images(sg_B)
        return terms


def _pooled_terms(step: StepView) -> dict[str, Tensor]:
    """``L_new`` of every new task as the released code computes it: over this rank's batch."""
    from had_core.losses.released import released_prediction, released_supervised_loss

    terms = {}
    for task in step.new_tasks:
        prediction_BCHW = released_prediction(task, step.student(task))
        value = released_supervised_loss(task, prediction_BCHW, step.target(task))
        terms[f"new/{task.name}"] = step.mean_over_images(value.expand(len(prediction_BCHW)))
    return terms
