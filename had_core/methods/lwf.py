"""lwf: learning without forgetting (Li & Hoiem 2016): L_new + lambda * sum_j d_j."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from had_core.configs import require
from had_core.methods.base import Method, MethodConfig, StepView
from had_core.methods.naive import NaiveConfig, supervised_terms

if TYPE_CHECKING:
    from torch import Tensor


class Targets(enum.Enum):
    """What the student imitates: SOFT distributions, or HARD pseudo-labels (HAD's pixel maps).

    They differ for labels and binary tasks only. HARD differs from HAD in the mean over pixels
    alone, so it isolates what DB and SG contribute.
    """

    SOFT = "soft"
    HARD = "hard"


@dataclass(frozen=True)
class LwfConfig(MethodConfig):
    """Learning without forgetting.

    Attributes:
        weight: lambda, for each old task (they are summed, not averaged).
        temperature: softens both distributions of labels and binary tasks.
        targets: see Targets.
    """

    name: ClassVar[str] = "lwf"
    weight: float = field(default=1.0, metadata={"name": "lambda"})
    temperature: float = 2.0
    targets: Targets = Targets.SOFT

    def __post_init__(self) -> None:
        require(self.weight >= 0, "method.lambda", self.weight, "0 or more")
        require(self.temperature > 0, "method.temperature", self.temperature, "a number above 0")

    def effective(self, old_tasks: Sequence[str]) -> MethodConfig:
        if not old_tasks or self.weight == 0:
            return NaiveConfig()
        soft = self.targets is Targets.SOFT
        return self if soft else replace(self, temperature=LwfConfig.temperature)

    def build(self) -> Method:
        return Lwf(self)

    def distilled(self, old_tasks: Sequence[str]) -> tuple[str, ...]:
        return tuple(old_tasks) if self.weight > 0 else ()


class Lwf(Method):
    def __init__(self, config: LwfConfig) -> None:
        self._config = config

    def terms(self, step: StepView) -> dict[str, Tensor]:
        from had_core.losses.lwf import hard_loss, soft_loss

        config, terms = self._config, supervised_terms(step)
        distilled = config.distilled([task.name for task in step.old_tasks])
        for task in step.old_tasks:
            if task.name not in distilled:
                continue
            student, teacher = step.student(task), step.teacher(task)
            if config.targets is Targets.SOFT:
                loss_B = soft_loss(task, student, teacher, config.temperature)
            else:
                loss_B = hard_loss(task, student, teacher)
            terms[f"lwf/{task.name}"] = config.weight * step.mean_over_images(loss_B)
        return terms
