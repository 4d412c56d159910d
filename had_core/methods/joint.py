"""joint: all tasks in one fit. The upper bound."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from had_core.configs import View
from had_core.methods.base import Method, MethodConfig, StageShape
from had_core.methods.naive import NaiveConfig


class JointSetting(enum.Enum):
    """MTL: every task on all images. JOINT: every task on the slice of its position only."""

    MTL = "mtl"
    JOINT = "joint"


@dataclass(frozen=True)
class JointConfig(MethodConfig):
    """Joint training: the sum of ``L_new`` over all tasks, from fresh weights.

    One fit, whose evaluation is the last row of R. Tasks are sorted, so that every order of
    setting ``mtl`` is the same fit; in ``joint`` the order still decides who sees which slice.
    """

    name: ClassVar[str] = "joint"
    setting: JointSetting = JointSetting.JOINT

    def effective(self, old_tasks: Sequence[str]) -> MethodConfig:
        """Its fit is plain supervision of several tasks; the views say which."""
        return NaiveConfig()

    def shape(self, order: Sequence[str]) -> tuple[StageShape, ...]:
        own_slice = self.setting is JointSetting.JOINT
        views = [View(task, k if own_slice else None) for k, task in enumerate(order)]
        views.sort(key=lambda view: view.task)
        return (
            StageShape(
                parent=None,
                tasks=tuple(view.task for view in views),
                views=tuple(views),
                row=len(order),
            ),
        )

    def build(self) -> Method:
        return NaiveConfig().build()
