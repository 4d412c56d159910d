"""L_new: a new task's output against its ground truth (method spec, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from had_core.losses.pixels import (
    cosine,
    mean_per_image,
    pixel_cross_entropy,
    unit_vectors,
    valid_pixels,
)
from had_core.tasks import DenseTask, TaskKind


def supervised_loss(task: DenseTask, output_BCHW: Tensor, target: Tensor) -> Tensor:
    """Mean loss over the valid pixels of each image; 0 where an image has none.

    ===========  ==========================================================================
    LABELS       cross-entropy
    SCALAR       absolute difference
    UNIT_VECTOR  1 - cosine of the angle (the output is normalised here)
    BINARY       binary cross-entropy, mean over the classes present of the mean over each
                 (edges cover few pixels: without it "no edge anywhere" would be a good answer)
    ===========  ==========================================================================

    Args:
        output_BCHW: the head's output as in ``TaskKind``; its dtype is the result's.
        target: ground truth, shaped as in ``TaskKind``.

    Returns:
        ``[B]``, finite for finite outputs whatever the invalid pixels hold.
    """
    valid_BHW = valid_pixels(task, target)
    if task.kind is TaskKind.BINARY:
        return _balanced_bce(output_BCHW[:, 0], target[:, 0], valid_BHW)
    return mean_per_image(_pixel_loss(task, output_BCHW, target, valid_BHW), valid_BHW)


def _pixel_loss(task: DenseTask, output_BCHW: Tensor, target: Tensor, valid_BHW: Tensor) -> Tensor:
    if task.kind is TaskKind.LABELS:
        # Any class will do where there is no label: the mean leaves those pixels out.
        return pixel_cross_entropy(output_BCHW, target.where(valid_BHW, 0))
    target_BCHW = target.where(valid_BHW[:, None], 0).to(output_BCHW.dtype)
    if task.kind is TaskKind.SCALAR:
        return (output_BCHW - target_BCHW).abs().mean(1)
    return 1 - cosine(output_BCHW, unit_vectors(target_BCHW))


def _balanced_bce(logit_BHW: Tensor, target_BHW: Tensor, valid_BHW: Tensor) -> Tensor:
    truth_BHW = target_BHW.where(valid_BHW, 0).to(logit_BHW.dtype)
    loss_BHW = F.binary_cross_entropy_with_logits(logit_BHW, truth_BHW, reduction="none")
    positive_BHW = valid_BHW & (truth_BHW > 0.5)
    classes = torch.stack([positive_BHW, valid_BHW & ~positive_BHW])
    means_2B = torch.stack([mean_per_image(loss_BHW, chosen) for chosen in classes])
    present_B = classes.any(3).any(2).sum(0).clamp_min(1)
    return means_2B.sum(0) / present_B
