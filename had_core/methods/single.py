"""single: one net per task. The reference for plasticity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from had_core.configs import View
from had_core.methods.base import Method, MethodConfig, StageShape
from had_core.methods.naive import NaiveConfig


@dataclass(frozen=True)
class SingleConfig(MethodConfig):
    """A fresh net for every task, on the slice of its position; row i of R holds only task i.

    Its first fit is the one every other method starts with.
    """

    name: ClassVar[str] = "single"

    def effective(self, old_tasks: Sequence[str]) -> MethodConfig:
        """Every fit is plain supervision of one task."""
        return NaiveConfig()

    def shape(self, order: Sequence[str]) -> tuple[StageShape, ...]:
        return tuple(
            StageShape(parent=None, tasks=(task,), views=(View(task, k),), row=k + 1)
            for k, task in enumerate(order)
        )

    def build(self) -> Method:
        return NaiveConfig().build()
