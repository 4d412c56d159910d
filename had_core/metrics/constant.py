"""The best constant prediction of each task: what a net must beat, and the floor of Delta_m.

One value per task is chosen on the training split and scored on the test split by the usual
meters:

===========  ====================================================================================
LABELS       the most frequent class (best for pixel accuracy and for mIoU of one class)
SCALAR       the median (best for the absolute error; the relative error is that of the median)
UNIT_VECTOR  the normalised mean direction
BINARY       ``bce``: the share of positive pixels; ``iou``: positive everywhere, since a constant
             below 0.5 has no intersection at all
===========  ====================================================================================

Splits are read in small chunks of rows, so memory stays flat whatever their size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from had_core.errors import BadInput
from had_core.losses.pixels import valid_pixels
from had_core.metrics.meters import Meter, meter_for
from had_core.tasks import DenseTask, TaskKind

if TYPE_CHECKING:
    from had_core.data.shards import Split

Rows = NDArray[np.int64]
Scores = dict[str, dict[str, float]]

_CHUNK = 16
_HALF = 1 << 16


def constant_scores(
    train: Split,
    test: Split,
    *,
    train_rows: Rows | None = None,
    test_rows: Rows | None = None,
    tasks: Sequence[str] | None = None,
) -> Scores:
    """Scores of the best constant prediction per task, as an evaluation would report them.

    Args:
        train: where the constant is chosen, from ``train_rows`` (all by default).
        test: where it is scored, on ``test_rows`` (all by default).
        tasks: names; all of the training split's by default.

    Raises:
        BadInput: a task has no valid pixel in the training rows.
    """
    names = list(train.tasks) if tasks is None else list(tasks)
    chosen = np.arange(len(train)) if train_rows is None else train_rows
    scored = np.arange(len(test)) if test_rows is None else test_rows
    return {
        name: _score(
            train.tasks[name],
            best_constants(train.tasks[name], partial(_targets, train, name, chosen)),
            _targets(test, name, scored),
        )
        for name in names
    }


def best_constants(task: DenseTask, targets: Callable[[], Iterator[Tensor]]) -> tuple[Tensor, ...]:
    """Head outputs ``[C]`` of the constant prediction: one, or one a metric for BINARY.

    Args:
        targets: starts a pass over the training targets, in chunks shaped as in ``TaskKind``.
    """
    if task.kind is TaskKind.LABELS:
        return (_most_frequent(task, targets()),)
    if task.kind is TaskKind.SCALAR:
        return (_median(task, targets),)
    if task.kind is TaskKind.UNIT_VECTOR:
        return (_mean_direction(task, targets()),)
    return _positives(task, targets())


def _score(
    task: DenseTask, outputs: Sequence[Tensor], targets: Iterator[Tensor]
) -> dict[str, float]:
    meters = [meter_for(task) for _ in outputs]
    for target in targets:
        for meter, output_C in zip(meters, outputs, strict=True):
            _update(meter, output_C, target)
    if task.kind is TaskKind.BINARY:
        everywhere, share = (meter.compute() for meter in meters)
        return {"iou": everywhere["iou"], "bce": share["bce"]}
    return meters[0].compute()


def _update(meter: Meter, output_C: Tensor, target: Tensor) -> None:
    images, height, width = target.shape[0], target.shape[-2], target.shape[-1]
    meter.update(output_C[None, :, None, None].expand(images, -1, height, width), target)


def _targets(split: Split, name: str, rows: Rows) -> Iterator[Tensor]:
    task = split.tasks[name]
    for start in range(0, len(rows), _CHUNK):
        target = torch.from_numpy(split.targets(name, rows[start : start + _CHUNK]))
        yield target if task.kind is TaskKind.LABELS else target.permute(0, 3, 1, 2)


def _most_frequent(task: DenseTask, targets: Iterator[Tensor]) -> Tensor:
    count_C = torch.zeros(task.channels, dtype=torch.int64)
    for target in targets:
        count_C += torch.bincount(target[valid_pixels(task, target)], minlength=task.channels)
    _require_some(task, int(count_C.sum()))
    logits_C = torch.zeros(task.channels)
    logits_C[count_C.argmax()] = 1
    return logits_C


def _mean_direction(task: DenseTask, targets: Iterator[Tensor]) -> Tensor:
    sum_C, seen = torch.zeros(task.channels, dtype=torch.float64), 0
    for target in targets:
        sum_C += target.double().sum((0, 2, 3))  # invalid vectors are 0
        seen += int(valid_pixels(task, target).sum())
    _require_some(task, seen)
    length: Tensor = sum_C.norm().clamp_min(1e-12)
    return (sum_C / length).float()


def _positives(task: DenseTask, targets: Iterator[Tensor]) -> tuple[Tensor, Tensor]:
    """Logits of "positive everywhere" and of the share of positive pixels."""
    positive = seen = 0
    for target in targets:
        valid_BHW = valid_pixels(task, target)
        positive += int((target[:, 0][valid_BHW] > 0.5).sum())
        seen += int(valid_BHW.sum())
    _require_some(task, seen)
    # Half a pixel on each side keeps the logit finite where one class never occurs.
    logit = math.log((positive + 0.5) / (seen - positive + 0.5))
    return torch.tensor([1.0]), torch.tensor([logit])


def _median(task: DenseTask, targets: Callable[[], Iterator[Tensor]]) -> Tensor:
    """Exact (lower) median of the valid float32 values in two passes and 1 MiB.

    Float bits, with the sign handled, sort like integers: the first pass finds the upper half of
    the median's bits, the second the lower half.
    """
    upper = _histogram(task, targets(), lambda key: key >> 16)
    seen = int(upper.sum())
    _require_some(task, seen)
    rank = (seen - 1) // 2
    high = int(np.searchsorted(np.cumsum(upper), rank, side="right"))
    rank -= int(upper[:high].sum())
    lower = _histogram(task, targets(), lambda key: key[key >> 16 == high] & (_HALF - 1))
    low = int(np.searchsorted(np.cumsum(lower), rank, side="right"))
    return torch.tensor([_from_key((high << 16) | low)])


def _histogram(
    task: DenseTask,
    targets: Iterator[Tensor],
    half: Callable[[NDArray[np.int64]], NDArray[np.int64]],
) -> NDArray[np.int64]:
    counts = np.zeros(_HALF, np.int64)
    for target in targets:
        values = target[:, 0][valid_pixels(task, target)].float().numpy()
        counts += np.bincount(half(_to_key(values)), minlength=_HALF)
    return counts


def _to_key(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Integers in 0..2^32-1 that sort like the floats."""
    bits = values.view(np.uint32).astype(np.int64)
    return np.where(bits >> 31, (1 << 32) - 1 - bits, bits | (1 << 31))


def _from_key(key: int) -> float:
    bits = key & ~(1 << 31) if key >> 31 else (1 << 32) - 1 - key
    return float(np.uint32(bits).view(np.float32))


def _require_some(task: DenseTask, seen: int) -> None:
    if seen == 0:
        raise BadInput(
            f"task '{task.name}' has no valid pixel in the training images: at least one is needed "
            "to choose a constant prediction"
        )
