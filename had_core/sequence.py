"""A whole lifelong sequence in one process: for notebooks and machines without Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from had_core.configs import NetConfig, SlicingConfig, TrainConfig
from had_core.data import ShardDataset
from had_core.evaluation import RRow, evaluate
from had_core.fit_config import checked_order, sequence_fits
from had_core.methods.base import MethodConfig
from had_core.progress import EpochRecord, StageObserver
from had_core.stage import FitResult, Runtime, fit


@dataclass(frozen=True)
class StageOutcome:
    """One stage of a finished sequence: its row of R, its weights, its training history."""

    tasks: tuple[str, ...]
    row: RRow
    state: Mapping[str, Tensor]
    history: tuple[EpochRecord, ...]


def run_sequence(
    dataset: ShardDataset,
    order: Sequence[str],
    method: MethodConfig,
    *,
    net: NetConfig | None = None,
    train: TrainConfig | None = None,
    slicing: SlicingConfig | None = None,
    seed: int = 0,
    split: str = "test",
    observer: StageObserver | None = None,
    runtime: Runtime | None = None,
) -> tuple[StageOutcome, ...]:
    """Train and score every stage of one sequence.

    The weights are those that the orchestrator seals for the same settings in the same numerics
    class, bit for bit.

    Example::

        from had_core import HadConfig, ShardDataset, run_sequence

        stages = run_sequence(
            ShardDataset.open("rooms"), ["semantic", "depth", "normal"], HadConfig()
        )
        print(stages[-1].row["semantic"]["miou"])

    Raises:
        BadInput: an order, batch or slice that cannot be used; nothing was trained.
        NonFiniteLoss, NonFiniteNet: training diverged.
    """
    order = checked_order(order, [task.name for task in dataset.manifest.tasks])
    slicing = slicing or SlicingConfig(slices=len(order))
    fits = sequence_fits(method, order, net or NetConfig(), train or TrainConfig(), slicing, seed)
    results: list[FitResult] = []
    outcomes: list[StageOutcome] = []
    for shape, config in fits:
        parent = None if shape.parent is None else results[shape.parent]
        result = fit(
            config,
            dataset,
            parent=parent.state if parent else None,
            memory=parent.memory if parent else None,
            observer=observer,
            runtime=runtime,
        )
        row = evaluate(config, result.state, dataset, split, runtime=runtime)
        results.append(result)
        outcomes.append(StageOutcome(config.tasks, row, result.state, result.history))
    return tuple(outcomes)
