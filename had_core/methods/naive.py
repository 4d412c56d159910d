"""naive: the new task's loss alone. The lower bound, and the reference of Delta_m."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from had_core.methods.base import Method, MethodConfig, StepView

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class NaiveConfig(MethodConfig):
    name: ClassVar[str] = "naive"

    def effective(self, old_tasks: Sequence[str]) -> MethodConfig:
        return self

    def build(self) -> Method:
        return Naive()


def supervised_terms(step: StepView) -> dict[str, Tensor]:
    """``L_new`` of every new task; the part that all methods share."""
    from had_core.losses.supervised import supervised_loss

    return {
        f"new/{task.name}": step.mean_over_labelled(
            supervised_loss(task, step.student(task), step.target(task)), task
        )
        for task in step.new_tasks
    }


class Naive(Method):
    def terms(self, step: StepView) -> dict[str, Tensor]:
        return supervised_terms(step)
