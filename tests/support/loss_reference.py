"""The losses as slow float64 loops over images and pixels, written from the paper's formulas.

Nothing is shared with ``had_core.losses``: groups are dictionaries, Sobel is nine products a pixel,
summed exactly. Gradients come from autograd through the loops.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from had_core.methods.had import GroupMean, HadLossConfig
from had_core.tasks import DenseTask, TaskKind

Pixels = list[list[Any]]


def had(
    task: DenseTask, student: Tensor, teacher: Tensor, config: HadLossConfig
) -> tuple[Tensor, Tensor]:
    """``(db_B, sg_B)`` of the paper variant."""
    both = [_had_image(task, s, t, config) for s, t in zip(student, teacher, strict=True)]
    return torch.stack([db for db, _ in both]), torch.stack([sg for _, sg in both])


def _had_image(
    task: DenseTask, student: Tensor, teacher: Tensor, config: HadLossConfig
) -> tuple[Tensor, Tensor]:
    losses = distillation_image(task, student, teacher)
    return _balanced(losses, _groups(task, teacher, config), config), _salient(losses, config.k)


def distillation_image(task: DenseTask, student: Tensor, teacher: Tensor) -> Pixels:
    """I[m][n] of one image; ``student`` and ``teacher`` are ``[C,H,W]``."""
    _, height, width = student.shape
    return [
        [_distance(task, student[:, m, n], teacher[:, m, n]) for n in range(width)]
        for m in range(height)
    ]


def _distance(task: DenseTask, student: Tensor, teacher: Tensor) -> Tensor:
    if task.kind is TaskKind.LABELS:
        return _cross_entropy(student, _label(teacher))
    if task.kind is TaskKind.BINARY:
        two = torch.stack([torch.zeros_like(student[0]), student[0]])
        return _cross_entropy(two, int(_sigmoid(teacher[0].item()) > 0.5))
    if task.kind is TaskKind.SCALAR:
        return (student[0] - teacher[0]).abs()
    return (1 - _dot(_unit(student), _unit(teacher))).clamp_min(0)


def _groups(task: DenseTask, teacher: Tensor, config: HadLossConfig) -> list[list[int]]:
    _, height, width = teacher.shape
    pixels = [[teacher[:, m, n] for n in range(width)] for m in range(height)]
    if task.kind is TaskKind.LABELS:
        return [[_label(p) for p in row] for row in pixels]
    if task.kind is TaskKind.BINARY:
        return [[int(_sigmoid(p[0].item()) > 0.5) for p in row] for row in pixels]
    if task.kind is TaskKind.SCALAR:
        values = [[p[0].item() for p in row] for row in pixels]
    else:
        values = [[(_unit(p).sum() / 3).item() for p in row] for row in pixels]
    low, high = min(map(min, values)), max(map(max, values))
    if low == high:
        return [[0] * width for _ in range(height)]
    scaled = [[(v - low) / (high - low) for v in row] for row in values]
    if config.bins == 2:
        return [[int(v > config.delta) for v in row] for row in scaled]
    return [[min(int(v * config.bins), config.bins - 1) for v in row] for row in scaled]


def _balanced(losses: Pixels, groups: list[list[int]], config: HadLossConfig) -> Tensor:
    members: dict[int, list[Tensor]] = {}
    for loss_row, group_row in zip(losses, groups, strict=True):
        for loss, group in zip(loss_row, group_row, strict=True):
            members.setdefault(group, []).append(loss)
    means = []
    for group in members.values():
        if config.mean is GroupMean.GEOMETRIC:
            logs = [torch.log(loss + config.eps) for loss in group]
            means.append(torch.exp(sum(logs) / len(logs)))
        else:
            means.append(sum(group) / len(group))
    return sum(means) / len(means)


def _salient(losses: Pixels, k: float) -> Tensor:
    values = [[loss.item() for loss in row] for row in losses]
    size = sobel(values)
    low, high = min(map(min, size)), max(map(max, size))
    chosen = [
        loss
        for loss_row, size_row in zip(losses, size, strict=True)
        for loss, g in zip(loss_row, size_row, strict=True)
        if high > low and (g - low) / (high - low) > k
    ]
    return sum(chosen) / len(chosen) if chosen else losses[0][0] * 0


def sobel(values: list[list[float]]) -> list[list[float]]:
    """Gradient length; one pixel beyond the border is the one as far inside."""
    height, width = len(values), len(values[0])
    kernel = ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1))

    def at(m: int, n: int) -> float:
        return values[_mirror(m, height)][_mirror(n, width)]

    around = [(i, j) for i in range(3) for j in range(3)]
    result = []
    for m in range(height):
        row = []
        for n in range(width):
            across = math.fsum(kernel[i][j] * at(m + i - 1, n + j - 1) for i, j in around)
            down = math.fsum(kernel[j][i] * at(m + i - 1, n + j - 1) for i, j in around)
            row.append(math.sqrt(across * across + down * down))
        result.append(row)
    return result


def _mirror(index: int, size: int) -> int:
    if size == 1:
        return 0
    if index < 0:
        return -index
    return 2 * (size - 1) - index if index >= size else index


def supervised(task: DenseTask, output: Tensor, target: Tensor) -> Tensor:
    """L_new per image, ``[B]``; 0 for an image without a valid pixel."""
    return torch.stack([_supervised_image(task, o, t) for o, t in zip(output, target, strict=True)])


def _supervised_image(task: DenseTask, output: Tensor, target: Tensor) -> Tensor:
    _, height, width = output.shape
    by_class: dict[int, list[Tensor]] = {}
    for m in range(height):
        for n in range(width):
            predicted = output[:, m, n]
            if task.kind is TaskKind.LABELS:
                truth = int(target[m, n])
                if task.invalid is None or truth != task.invalid:
                    by_class.setdefault(0, []).append(_cross_entropy(predicted, truth))
                continue
            truth = target[:, m, n]
            if task.kind is TaskKind.UNIT_VECTOR:
                if truth.abs().max() > 0:
                    loss = 1 - _dot(_unit(predicted), _unit(truth))
                    by_class.setdefault(0, []).append(loss)
            elif task.invalid is None or truth[0] != task.invalid:
                if task.kind is TaskKind.SCALAR:
                    by_class.setdefault(0, []).append((predicted[0] - truth[0]).abs())
                else:
                    two = torch.stack([torch.zeros_like(predicted[0]), predicted[0]])
                    label = int(truth[0])
                    by_class.setdefault(label, []).append(_cross_entropy(two, label))
    means = [sum(losses) / len(losses) for losses in by_class.values()]
    return sum(means) / len(means) if means else output.new_zeros(())


def _cross_entropy(logits: Tensor, label: int) -> Tensor:
    largest = logits.max().detach()
    return largest + torch.log(torch.exp(logits - largest).sum()) - logits[label]


def _label(logits: Tensor) -> int:
    values = logits.tolist()
    return values.index(max(values))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _unit(vector: Tensor) -> Tensor:
    length = torch.sqrt((vector * vector).sum())
    return vector / length if length > 1e-6 else vector * 0


def _dot(left: Tensor, right: Tensor) -> Tensor:
    return (left * right).sum()
