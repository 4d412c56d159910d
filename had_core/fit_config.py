"""Everything that one fit is told, apart from weights and data."""

from __future__ import annotations

from dataclasses import dataclass

from had_core.configs import NetConfig, SlicingConfig, TrainConfig, View
from had_core.methods.base import MethodConfig


@dataclass(frozen=True)
class FitConfig:
    """Settings of one fit.

    Attributes:
        tasks: tasks whose heads exist after the fit, in the order they were grown.
        views: what it trains on; their tasks are the new ones.
        method: the *effective* method config (``MethodConfig.effective``).
        seed: with ``tasks`` it decides batches and the initialisation of the new heads.
    """

    tasks: tuple[str, ...]
    views: tuple[View, ...]
    method: MethodConfig
    net: NetConfig
    train: TrainConfig
    slicing: SlicingConfig
    seed: int = 0

    @property
    def new_tasks(self) -> tuple[str, ...]:
        return tuple(view.task for view in self.views)

    @property
    def old_tasks(self) -> tuple[str, ...]:
        return tuple(task for task in self.tasks if task not in self.new_tasks)
