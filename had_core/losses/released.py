"""What the paper's released code computes, for comparison with its formulas (``losses.had``).

Written from the differences listed in the method spec (section 2) and held to recorded results of
that code. Differences that are kept on purpose, all of them over the pixels of the *whole batch*:

* DB of labels: mean over all classes of ``softmax(-L) * L``, where absent classes have L = 0 and
  the weights take no gradient; the geometric mean leaves out exact zeros.
* DB of scalars and vectors: groups by the *student's* raw value (channel mean) against a bar, sum
  of two arithmetic means; pixels equal to the bar belong to neither.
* Vectors: the cosine is divided by the number of channels, so that no loss is below 2/3.
* SG: labels average over all pixels, not the salient ones; scalars put every image under the
  mask of every other and leave out zeros; vectors subtract from 1 the sum over *all* elements over
  the number of salient ones.
* Sobel pads with zeros; valid pixels are those whose channel *sum* is not 0.

It knows labels, scalars and unit vectors. BINARY, which it does not know, is taken as labels of two
classes, as the paper variant groups it.
"""

from __future__ import annotations

import enum

import torch
from torch import Tensor
from torch.nn import functional as F

from had_core.losses.distillation import pseudo_label
from had_core.losses.pixels import unit_vectors
from had_core.losses.supervised import supervised_loss
from had_core.methods.had import HadLossConfig
from had_core.tasks import DenseTask, TaskKind


class Select(enum.Enum):
    """Which pixels the salience mask takes: above the threshold, the others, or all.

    Only ABOVE is HAD; the released code offers the others. A constant map selects nothing.
    """

    ABOVE = "above"
    REST = "rest"
    ALL = "all"


def released_had_loss(
    task: DenseTask, student_BCHW: Tensor, teacher_BCHW: Tensor, config: HadLossConfig
) -> tuple[Tensor, Tensor]:
    """Variant ``released`` of ``losses.had.had_loss``; ``delta`` is the bar on raw values.

    Returns:
        ``(db_B, sg_B)``: the pooled values, repeated for each image of the batch.
    """
    pseudo = pseudo_label(task, teacher_BCHW)
    prediction = released_prediction(task, student_BCHW)
    db, sg = released_terms(task, prediction, pseudo, bar=config.delta, k=config.k)
    images = student_BCHW.shape[0]
    return db.expand(images), sg.expand(images)


def released_prediction(task: DenseTask, output_BCHW: Tensor) -> Tensor:
    """A head's output as the released net returns it: log-probabilities, values, unit vectors."""
    if task.kind is TaskKind.LABELS:
        return output_BCHW.log_softmax(1)
    if task.kind is TaskKind.BINARY:
        return F.logsigmoid(torch.cat([-output_BCHW, output_BCHW], 1))
    return unit_vectors(output_BCHW) if task.kind is TaskKind.UNIT_VECTOR else output_BCHW


def released_supervised_loss(task: DenseTask, prediction_BCHW: Tensor, target: Tensor) -> Tensor:
    """L_new pooled over the batch, a scalar; NaN where the batch has no valid pixel.

    ``prediction_BCHW`` is as ``released_prediction`` gives it.
    """
    if task.kind is TaskKind.LABELS:
        ignored = -100 if task.invalid is None else int(task.invalid)
        return F.nll_loss(prediction_BCHW, target, ignore_index=ignored)
    if task.kind is TaskKind.BINARY:  # logits again; the batch as one tall image
        logit_B1HW = prediction_BCHW[:, 1:] - prediction_BCHW[:, :1]
        logit_11NW, target_11NW = (
            x.transpose(0, 1).flatten(1, 2)[None] for x in (logit_B1HW, target)
        )
        return supervised_loss(task, logit_11NW, target_11NW)[0]
    valid_B1HW = _valid(target)
    if task.kind is TaskKind.SCALAR:
        return ((prediction_BCHW - target).abs() * valid_B1HW).sum() / valid_B1HW.sum()
    return 1 - (prediction_BCHW * target * valid_B1HW).sum() / valid_B1HW.sum()


def released_terms(
    task: DenseTask,
    prediction_BCHW: Tensor,
    pseudo: Tensor,
    *,
    bar: float | None,
    k: float,
    select: Select = Select.ABOVE,
) -> tuple[Tensor, Tensor]:
    """Balanced and salience-guided term of one old task, scalars; HAD takes half of their sum.

    Args:
        prediction_BCHW: the student's, as ``released_prediction`` gives it.
        pseudo: as ``distillation.pseudo_label`` gives it.
        bar: None replaces the balanced term by the plain mean (the ablation without DB).
        k: threshold of the salience mask.
    """
    if task.kind in (TaskKind.LABELS, TaskKind.BINARY):
        return _label_terms(prediction_BCHW, pseudo, bar, k, select)
    if task.kind is TaskKind.SCALAR:
        return _scalar_terms(prediction_BCHW, pseudo, bar, k, select)
    return _vector_terms(prediction_BCHW, pseudo, bar, k, select)


def _label_terms(
    log_p_BCHW: Tensor, label_BHW: Tensor, bar: float | None, k: float, select: Select
) -> tuple[Tensor, Tensor]:
    loss_BHW = F.nll_loss(log_p_BCHW, label_BHW, reduction="none")
    first = loss_BHW.mean() if bar is None else balanced_labels(loss_BHW, label_BHW, log_p_BCHW)
    return first, (loss_BHW * salience_mask(loss_BHW, k, select)).mean()


def balanced_labels(loss_BHW: Tensor, label_BHW: Tensor, log_p_BCHW: Tensor) -> Tensor:
    """DB of labels: class means weighted by ``softmax(-L)`` over all classes, over their number."""
    mean_C = geometric_means(loss_BHW.flatten(), label_BHW.flatten(), log_p_BCHW.shape[1])
    return ((-mean_C.detach()).softmax(0) * mean_C).mean()


def geometric_means(value_P: Tensor, group_P: Tensor, groups: int) -> Tensor:
    """Geometric mean of each group without its zeros and NaN; 0 for a group of nothing else."""
    counted_P = (value_P != 0) & ~value_P.isnan()
    log_P = value_P.where(counted_P, 1).log().double()
    sum_G = log_P.new_zeros(groups).index_add(0, group_P, log_P)
    count_G = torch.bincount(group_P[counted_P], minlength=groups)
    mean_G = (sum_G / count_G.clamp_min(1)).exp().where(count_G > 0, 0)
    return mean_G.to(value_P.dtype)


def _scalar_terms(
    value_B1HW: Tensor, teacher_B1HW: Tensor, bar: float | None, k: float, select: Select
) -> tuple[Tensor, Tensor]:
    valid_B1HW = _valid(teacher_B1HW)
    loss_B1HW = (value_B1HW - teacher_B1HW).abs() * valid_B1HW
    counted_B1HW = loss_B1HW != 0
    if bar is None:
        first = _mean_or(loss_B1HW, counted_B1HW, empty=0.0)
    else:
        first = balanced_by_bar(loss_B1HW, value_B1HW, bar, empty=0.0)
    # Every image under every mask: the sums over [B,B,H,W] factorise.
    masks_HW = salience_mask(loss_B1HW[:, 0], k, select).sum(0)
    return first, _mean_or(loss_B1HW * masks_HW, counted_B1HW * masks_HW, empty=0.0)


def _vector_terms(
    vector_BCHW: Tensor, teacher_BCHW: Tensor, bar: float | None, k: float, select: Select
) -> tuple[Tensor, Tensor]:
    valid_B1HW = _valid(teacher_BCHW)
    product_BCHW = vector_BCHW * teacher_BCHW
    loss_B1HW = 1 - product_BCHW.mean(1, keepdim=True)
    if bar is None:  # infinite where no pixel is valid, as in the released code
        first = loss_B1HW.sum() / valid_B1HW.sum()
    else:
        mean_B1HW = vector_BCHW.mean(1, keepdim=True)
        first = balanced_by_bar(loss_B1HW, mean_B1HW, bar, empty=1.0)
    mask_BHW = salience_mask(loss_B1HW[:, 0], k, select)
    counted_BCHW = (product_BCHW != 0) & (mask_BHW[:, None] & valid_B1HW)
    return first, 1 - _mean_or(product_BCHW, counted_BCHW, empty=0.0)


def balanced_by_bar(loss_B1HW: Tensor, value_B1HW: Tensor, bar: float, *, empty: float) -> Tensor:
    """DB of scalars and vectors: mean loss above the bar plus mean loss below it.

    ``empty`` is what a side without pixels counts.
    """
    above, below = value_B1HW > bar, value_B1HW < bar
    mean_above = _mean_or(loss_B1HW * above, above, empty=empty)
    return mean_above + _mean_or(loss_B1HW * below, below, empty=empty)


def salience_mask(map_BHW: Tensor, k: float, select: Select = Select.ABOVE) -> Tensor:
    """Sobel gradient, min-max per image, against ``k``; bool ``[B,H,W]``, without gradient."""
    size_BHW = sobel_zero_padded(map_BHW.detach())
    low, high = size_BHW.amin((1, 2), keepdim=True), size_BHW.amax((1, 2), keepdim=True)
    scaled_BHW = (size_BHW - low) / (high - low)  # 0/0 in a flat image: no comparison holds
    if select is Select.ABOVE:
        return scaled_BHW > k
    return scaled_BHW <= k if select is Select.REST else scaled_BHW == scaled_BHW


def sobel_zero_padded(map_BHW: Tensor) -> Tensor:
    """Length of the Sobel gradient of maps padded with zeros, ``[B,H,W]``.

    A convolution, because its rounding decides the mask of constant maps.
    """
    rows = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]).to(map_BHW)
    kernels_2133 = torch.stack([rows, rows.T])[:, None]
    return F.conv2d(map_BHW[:, None], kernels_2133, padding=1).square().sum(1).sqrt()


def _valid(target_BCHW: Tensor) -> Tensor:
    return target_BCHW.sum(1, keepdim=True) != 0


def _mean_or(value: Tensor, counted: Tensor, *, empty: float) -> Tensor:
    """Sum of the values over the number counted; ``empty`` where none is."""
    count = counted.sum()
    return torch.where(count > 0, value.sum() / count.clamp_min(1), empty)
