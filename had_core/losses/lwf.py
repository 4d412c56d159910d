"""Learning without forgetting (Li & Hoiem 2016), for dense prediction; per image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from had_core.losses.distillation import distillation_map
from had_core.losses.pixels import mean_per_image
from had_core.tasks import DenseTask, TaskKind


def soft_loss(
    task: DenseTask, student_BCHW: Tensor, teacher_BCHW: Tensor, temperature: float
) -> Tensor:
    """Distance of one old task's outputs, mean over all pixels of each image, ``[B]``.

    Labels: KL(teacher || student) of the class distributions, both at ``temperature``; binary: the
    same of two classes; scalars: absolute difference; unit vectors: 1 - cosine. The KL is not
    multiplied by temperature^2: lambda sets the weight.
    """
    if task.kind not in (TaskKind.LABELS, TaskKind.BINARY):
        return hard_loss(task, student_BCHW, teacher_BCHW)
    student_log_p = _log_probabilities(task, student_BCHW / temperature)
    teacher_log_p = _log_probabilities(task, teacher_BCHW.detach() / temperature)
    kl_BCHW = F.kl_div(student_log_p, teacher_log_p, reduction="none", log_target=True)
    return mean_per_image(kl_BCHW.sum(1))


def hard_loss(task: DenseTask, student_BCHW: Tensor, teacher_BCHW: Tensor) -> Tensor:
    """Mean of HAD's pixel map over all pixels of each image, ``[B]``."""
    return mean_per_image(distillation_map(task, student_BCHW, teacher_BCHW))


def _log_probabilities(task: DenseTask, logits_BCHW: Tensor) -> Tensor:
    if task.kind is TaskKind.LABELS:
        return logits_BCHW.log_softmax(1)
    return F.logsigmoid(torch.cat([-logits_BCHW, logits_BCHW], 1))
