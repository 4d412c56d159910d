"""HAD: heterogeneity-aware distillation of one old task (arXiv 2603.26192).

::

    student ┐                        ┌─ groups by the teacher ─> means ─> mean of means   DB
            ├─> pixel map I[m,n] ────┤
    teacher ┘                        └─ Sobel ─> where I changes most ─> mean of I there  SG

DB keeps frequent values from deciding the loss alone, SG keeps object borders sharp. Everything is
per image; there is no loop over classes, groups or pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from had_core.losses.distillation import pseudo_label, pseudo_label_map
from had_core.losses.pixels import mean_per_image
from had_core.losses.released import released_had_loss
from had_core.methods.had import GroupMean, HadLossConfig, Variant
from had_core.tasks import DenseTask, TaskKind


def had_loss(
    task: DenseTask, student_BCHW: Tensor, teacher_BCHW: Tensor, config: HadLossConfig
) -> tuple[Tensor, Tensor]:
    """The distribution-balanced and the salience-guided loss of every image, unweighted.

    Args:
        student_BCHW: head output with gradient, as in ``TaskKind``; its dtype is the result's.
        teacher_BCHW: output of the frozen teacher, same shape.

    Returns:
        ``(db_B, sg_B)``, finite with finite gradients for finite inputs in float32 or wider
        (training widens bf16's). Variant ``released`` pools the pixels of the batch: its value is
        repeated for every image.
    """
    if config.variant is Variant.RELEASED:
        return released_had_loss(task, student_BCHW, teacher_BCHW, config)
    pseudo = pseudo_label(task, teacher_BCHW)
    loss_BHW = pseudo_label_map(task, student_BCHW, pseudo)
    group_BHW, groups = pixel_groups(task, pseudo, config)
    db_B = mean_of_group_means(loss_BHW, group_BHW, groups, config)
    sg_B = mean_per_image(loss_BHW, salient_pixels(loss_BHW, config.k))
    return db_B, sg_B


def pixel_groups(task: DenseTask, pseudo: Tensor, config: HadLossConfig) -> tuple[Tensor, int]:
    """Group of every pixel by the teacher's prediction, int64 ``[B,H,W]``, and how many there are.

    Classes are groups. Continuous predictions are averaged over channels and scaled to [0,1] per
    image, then cut at ``delta`` or, where ``bins`` is not 2, into bins of equal width. A constant
    prediction is one group.
    """
    if task.kind is TaskKind.LABELS:
        return pseudo, task.channels
    if task.kind is TaskKind.BINARY:
        return pseudo, 2
    scaled_BHW = _min_max(pseudo.mean(1))
    if config.bins == 2:
        return (scaled_BHW > config.delta).long(), 2
    return (scaled_BHW * config.bins).long().clamp_(0, config.bins - 1), config.bins


def mean_of_group_means(
    loss_BHW: Tensor, group_BHW: Tensor, groups: int, config: HadLossConfig
) -> Tensor:
    """Mean inside each group, then the arithmetic mean over the groups that have pixels. ``[B]``.

    Sums run in float64: a group can hold 100,000 pixels, more than float32 adds up exactly.
    """
    images, device = loss_BHW.shape[0], loss_BHW.device
    first_B11 = torch.arange(images, device=device)[:, None, None] * groups
    bin_P = (group_BHW + first_B11).flatten()
    geometric = config.mean is GroupMean.GEOMETRIC
    value_BHW = (loss_BHW + config.eps).log() if geometric else loss_BHW
    value_P = value_BHW.flatten().double()
    sum_N = value_P.new_zeros(images * groups).index_add(0, bin_P, value_P)
    count_N = torch.bincount(bin_P, minlength=images * groups)
    mean_N = sum_N / count_N.clamp_min(1)
    if geometric:
        mean_N = mean_N.exp()
    present_BG = (count_N > 0).view(images, groups)
    total_B = mean_N.view(images, groups).where(present_BG, 0).sum(1)
    return (total_B / present_BG.sum(1).clamp_min(1)).to(loss_BHW.dtype)


def salient_pixels(loss_BHW: Tensor, k: float) -> Tensor:
    """Where the loss map's gradient, scaled to [0,1] per image, is above ``k``; bool ``[B,H,W]``.

    No pixel of a constant map is salient.
    """
    return _min_max(sobel_magnitude(loss_BHW.detach())) > k


def sobel_magnitude(map_BHW: Tensor) -> Tensor:
    """Length of the Sobel gradient, ``[B,H,W]``.

    Borders are reflected: zero padding would make the image's own border its strongest edge.
    """
    padded = _reflect(map_BHW)
    smooth_rows = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    smooth_columns = padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]
    across = smooth_rows[:, :, 2:] - smooth_rows[:, :, :-2]
    down = smooth_columns[:, 2:] - smooth_columns[:, :-2]
    return across.square_().add_(down.square_()).sqrt_()


def _reflect(map_BHW: Tensor) -> Tensor:
    """One pixel more on every side. A side of one pixel has none to reflect but itself."""
    map_B1HW = map_BHW[:, None]
    for size, pad in ((map_BHW.shape[2], (1, 1, 0, 0)), (map_BHW.shape[1], (0, 0, 1, 1))):
        map_B1HW = F.pad(map_B1HW, pad, mode="reflect" if size > 1 else "replicate")
    return map_B1HW[:, 0]


def _min_max(value_BHW: Tensor) -> Tensor:
    """Each image scaled to [0,1]; a constant image becomes 0."""
    low, high = value_BHW.amin((1, 2), keepdim=True), value_BHW.amax((1, 2), keepdim=True)
    span = high - low
    return (value_BHW - low) / span.where(span > 0, 1)
