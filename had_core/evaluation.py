"""Score a net on a split: one row of R.

Batches are fixed (rows in order) and handed out whole to the ranks, so every pixel goes through
the same arithmetic whatever the number of ranks; counts are then exactly equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from had_core.batches import Rows, target_tensor
from had_core.building import load_net, resolve_tasks
from had_core.data import ShardDataset, Split
from had_core.data.slices import Slicing
from had_core.errors import BadInput, NonFiniteNet
from had_core.fit_config import FitConfig
from had_core.metrics.meters import meter_for
from had_core.nets.lifelong import LifelongNet
from had_core.parallel import agree_any
from had_core.stage import Runtime
from had_core.tasks import DenseTask

EVAL_BATCH = 8

RRow = dict[str, dict[str, float]]


def split_rows(dataset: ShardDataset, config: FitConfig, split: str) -> tuple[Split, Rows]:
    """Images of ``test`` (all of the test split) or ``val`` (held out of the training split)."""
    if split == "test":
        test = dataset.split("test")
        return test, np.arange(len(test))
    if split == "val":
        train = dataset.split("train")
        rows = Slicing(len(train), config.slicing).val()
        if len(rows) == 0:
            raise BadInput(
                f"data.val_fraction={config.slicing.val_fraction} is not allowed: above 0 where "
                "the validation part is scored"
            )
        return train, rows
    raise BadInput(f"split={split} is not allowed: test or val")


def evaluate(
    config: FitConfig,
    weights: Mapping[str, Tensor] | LifelongNet,
    dataset: ShardDataset,
    split: str,
    *,
    tasks: Sequence[str] | None = None,
    runtime: Runtime | None = None,
) -> RRow:
    """Metrics of every task (or of ``tasks``), pooled over all pixels of the split.

    Every rank gets the same result. Weights and arithmetic are float32 whatever the training
    precision was.

    Args:
        weights: after the fit, or the net that holds them.

    Raises:
        BadInput: a task or the split is unknown, or the split is empty.
        NonFiniteNet: an output is NaN or infinite, on every rank at once.
    """
    runtime = runtime or Runtime()
    source, rows = split_rows(dataset, config, split)
    known = resolve_tasks(config, source.tasks)
    scored = [task for task in known if tasks is None or task.name in tasks]
    net = _net(config, known, weights).to(runtime.device)
    meters = {task.name: meter_for(task) for task in scored}
    finite = torch.ones((), dtype=torch.bool, device=runtime.device)
    chunks = [rows[k : k + EVAL_BATCH] for k in range(0, len(rows), EVAL_BATCH)]
    for chunk in chunks[runtime.parallel.rank :: runtime.parallel.world_size]:
        outputs = _outputs(net, source, chunk, list(meters), runtime.device)
        for task in scored:
            finite &= outputs[task.name].isfinite().all()
            target = target_tensor(task, source.targets(task.name, chunk), runtime.device)
            meters[task.name].update(outputs[task.name], target)
    # Counting NaN as any class, or as no angle, could pass for a perfect score.
    if agree_any(runtime.parallel, not finite):
        raise NonFiniteNet(f"the net's outputs are not finite on the {split} images")
    for task in scored:
        states = meters[task.name].state()
        for name in sorted(states):
            runtime.parallel.all_reduce_sum(states[name])
        meters[task.name].load_state(states)
    return {name: meter.compute() for name, meter in meters.items()}


@dataclass(frozen=True)
class Example:
    """One image with truth and prediction of one task, for pictures.

    Arrays are ``[H,W,3]`` float32 (image), ``[H,W]`` int64 (labels) or ``[H,W,C]`` float32.
    Predictions are decoded: class indices, values, unit vectors, probabilities.
    """

    task: str
    image: npt.NDArray[np.float32]
    truth: npt.NDArray[np.generic]
    prediction: npt.NDArray[np.generic]


def examples(
    config: FitConfig,
    weights: Mapping[str, Tensor] | LifelongNet,
    dataset: ShardDataset,
    split: str,
    count: int,
    *,
    device: torch.device | None = None,
) -> dict[str, list[Example]]:
    """Predictions on ``count`` images spread evenly over the split, per task."""
    from had_core.predict import decode

    device = device or torch.device("cpu")
    source, rows = split_rows(dataset, config, split)
    chosen = rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(np.int64)]
    known = resolve_tasks(config, source.tasks)
    net = _net(config, known, weights).to(device)
    outputs = _outputs(net, source, chosen, [task.name for task in known], device)
    images = source.images(chosen)
    result: dict[str, list[Example]] = {}
    for task in known:
        truth = source.targets(task.name, chosen)
        prediction = decode(task, outputs[task.name])
        result[task.name] = [
            Example(task.name, images[k], truth[k], prediction[k]) for k in range(len(chosen))
        ]
    return result


def _net(
    config: FitConfig, tasks: Sequence[DenseTask], weights: Mapping[str, Tensor] | LifelongNet
) -> LifelongNet:
    return weights if isinstance(weights, LifelongNet) else load_net(config, tasks, weights)


def _outputs(
    net: LifelongNet, source: Split, rows: Rows, names: Sequence[str], device: torch.device
) -> dict[str, Tensor]:
    image_B3HW = torch.from_numpy(source.images(rows)).permute(0, 3, 1, 2).to(device)
    with torch.inference_mode():
        return {name: out.float() for name, out in net(image_B3HW, names).items()}
