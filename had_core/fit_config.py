"""Everything that one fit is told, apart from weights and data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from had_core.configs import NetConfig, SlicingConfig, TrainConfig, View, require
from had_core.errors import BadInput
from had_core.methods.base import MethodConfig, StageShape


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
        new = self.new_tasks
        return tuple(task for task in self.tasks if task not in new)


def checked_order(order: Sequence[str], available: Sequence[str]) -> tuple[str, ...]:
    """The order as a tuple.

    Raises:
        BadInput: it is not a list of one or more tasks that are there, each named once.
    """
    names = () if isinstance(order, str) else tuple(order)
    if not names or len(set(names)) < len(names) or not set(names) <= set(available):
        raise BadInput(
            f"order={order!r} is not allowed: one or more of {', '.join(available)}, each named "
            "once, in a list"
        )
    return names


def sequence_fits(
    method: MethodConfig,
    order: Sequence[str],
    net: NetConfig,
    train: TrainConfig,
    slicing: SlicingConfig,
    seed: int,
) -> tuple[tuple[StageShape, FitConfig], ...]:
    """The fits of one sequence in the order they can run; a shape's parent is an index into it.

    The one place where a method and a task order become stages: notebooks, plans and keys all
    start here.
    """
    require(
        slicing.slices >= len(order),
        "data.slices",
        slicing.slices,
        f"at least the {len(order)} tasks of the order",
    )
    fits = []
    for shape in method.shape(order):
        old = [task for task in shape.tasks if task not in shape.new_tasks]
        config = FitConfig(
            tasks=shape.tasks,
            views=shape.views,
            method=method.effective(old),
            net=net,
            train=train,
            slicing=slicing,
            seed=seed,
        )
        fits.append((shape, config))
    return tuple(fits)
