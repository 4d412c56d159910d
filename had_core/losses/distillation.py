"""Pixel maps of the distillation loss: how far the student is from the teacher's pseudo-label.

===========  ================================  ============================================
kind         pseudo-label, from the teacher    loss of a pixel
===========  ================================  ============================================
LABELS       class with the largest logit      cross-entropy of the student against it
SCALAR       the value                         absolute difference
UNIT_VECTOR  the unit vector                   1 - cosine of the angle
BINARY       p > 0.5                           binary cross-entropy of the student against it
===========  ================================  ============================================
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from had_core.losses.pixels import argmax_class, cosine, pixel_cross_entropy, unit_vectors
from had_core.tasks import DenseTask, TaskKind


def pseudo_label(task: DenseTask, teacher_BCHW: Tensor) -> Tensor:
    """What the teacher says, without gradient.

    Returns:
        LABELS and BINARY: int64 ``[B,H,W]``; SCALAR ``[B,1,H,W]``; UNIT_VECTOR ``[B,3,H,W]``.
    """
    teacher_BCHW = teacher_BCHW.detach()
    if task.kind is TaskKind.LABELS:
        return argmax_class(teacher_BCHW)
    if task.kind is TaskKind.BINARY:
        return (teacher_BCHW[:, 0] > 0).long()
    return unit_vectors(teacher_BCHW) if task.kind is TaskKind.UNIT_VECTOR else teacher_BCHW


def pseudo_label_map(task: DenseTask, student_BCHW: Tensor, pseudo: Tensor) -> Tensor:
    """Loss of every pixel against a pseudo-label, ``[B,H,W]``, never below 0."""
    if task.kind is TaskKind.LABELS:
        return pixel_cross_entropy(student_BCHW, pseudo)
    if task.kind is TaskKind.BINARY:
        logit_BHW = student_BCHW[:, 0]
        truth_BHW = pseudo.to(logit_BHW.dtype)
        return F.binary_cross_entropy_with_logits(logit_BHW, truth_BHW, reduction="none")
    if task.kind is TaskKind.SCALAR:
        return (student_BCHW - pseudo).abs()[:, 0]
    # Rounding may put a cosine above 1, and a loss below 0 has no logarithm.
    return (1 - cosine(student_BCHW, pseudo)).clamp_min(0)


def distillation_map(task: DenseTask, student_BCHW: Tensor, teacher_BCHW: Tensor) -> Tensor:
    """``I[m,n]`` of every image, ``[B,H,W]``; gradient flows to the student only.

    Source: HAD (arXiv 2603.26192), the distillation loss per task.
    """
    return pseudo_label_map(task, student_BCHW, pseudo_label(task, teacher_BCHW))
