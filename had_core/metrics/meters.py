"""Meters: the metrics of one task, pooled exactly over the valid pixels of all images.

A meter's state is a handful of counts (int64) and sums (float64). Adding the states of two meters
gives the state of a meter that saw all images of both, so the result depends neither on the batch
size nor on how images are spread over ranks: counts agree exactly, sums up to float64 rounding.

A metric that the data leave undefined is NaN: every metric of a meter that saw no valid pixel, and
``rel_err`` without a positive target.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from had_core.losses.pixels import argmax_class, cosine, unit_vectors, valid_pixels
from had_core.tasks import DenseTask, TaskKind

# Degrees of the histogram behind the median; 36,000 bins.
ANGLE_BIN = 0.005
WITHIN_DEGREES = (11.25, 22.5, 30.0)


class Meter(abc.ABC):
    """Accumulates one task's outputs; see the module for what its state promises."""

    def __init__(self, task: DenseTask, state: Mapping[str, Tensor]) -> None:
        self.task = task
        self._state = dict(state)

    @abc.abstractmethod
    def update(self, output_BCHW: Tensor, target: Tensor) -> None:
        """Count a batch: the head's output and the ground truth, shaped as in ``TaskKind``."""

    @abc.abstractmethod
    def compute(self) -> dict[str, float]:
        """The value of each of ``task.metrics``, in their order; NaN where undefined."""

    def state(self) -> dict[str, Tensor]:
        """A copy of the counts and sums, on the CPU; to be added up over ranks, by name."""
        return {name: value.clone() for name, value in self._state.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Replace the counts and sums by those of ``state()``, or by a sum of several."""
        for name, value in self._state.items():
            value.copy_(state[name])

    def merge(self, other: Meter) -> None:
        """Count everything that ``other``, a meter of the same task, has seen."""
        for name, value in self._state.items():
            value += other._state[name]

    def _add(self, **amounts: Tensor) -> None:
        for name, amount in amounts.items():
            self._state[name] += amount.detach().to("cpu")


def meter_for(task: DenseTask) -> Meter:
    """An empty meter for ``task``."""
    return _METERS[task.kind](task)


class LabelsMeter(Meter):
    """``miou`` over the classes that occur in truth or prediction, ``pixel_acc``.

    State: ``confusion`` ``[C,C]``, rows are truth, columns prediction.
    """

    def __init__(self, task: DenseTask) -> None:
        super().__init__(task, {"confusion": _counts(task.channels, task.channels)})

    def update(self, output_BCHW: Tensor, target: Tensor) -> None:
        valid_BHW, classes = valid_pixels(self.task, target), self.task.channels
        pair_P = target[valid_BHW] * classes + argmax_class(output_BCHW)[valid_BHW]
        counts = torch.bincount(pair_P, minlength=classes**2)
        self._add(confusion=counts.view(classes, classes))

    def compute(self) -> dict[str, float]:
        confusion = self._state["confusion"].double()
        hits_C = confusion.diagonal()
        union_C = confusion.sum(0) + confusion.sum(1) - hits_C
        iou_C = (hits_C / union_C)[union_C > 0]
        return {
            "miou": float(iou_C.mean()),
            "pixel_acc": _ratio(hits_C.sum(), confusion.sum()),
        }


class ScalarMeter(Meter):
    """``abs_err``; ``rel_err`` = error / target over positive targets, if the task reports it."""

    def __init__(self, task: DenseTask) -> None:
        super().__init__(
            task,
            {
                "pixels": _counts(),
                "abs_sum": _sums(),
                "positive_pixels": _counts(),
                "rel_sum": _sums(),
            },
        )

    def update(self, output_BCHW: Tensor, target: Tensor) -> None:
        valid_BHW = valid_pixels(self.task, target)
        truth_P = target[:, 0][valid_BHW].double()
        error_P = (output_BCHW[:, 0][valid_BHW].double() - truth_P).abs()
        positive_P = truth_P > 0
        self._add(
            pixels=valid_BHW.sum(),
            abs_sum=error_P.sum(),
            positive_pixels=positive_P.sum(),
            rel_sum=(error_P[positive_P] / truth_P[positive_P]).sum(),
        )

    def compute(self) -> dict[str, float]:
        values = {"abs_err": _ratio(self._state["abs_sum"], self._state["pixels"])}
        if self.task.relative_error:
            positive = self._state["positive_pixels"]
            values["rel_err"] = _ratio(self._state["rel_sum"], positive)
        return values


class UnitVectorMeter(Meter):
    """Angle to the truth in degrees: mean, median, shares strictly below 11.25, 22.5 and 30.

    The median comes from a histogram of bins ``ANGLE_BIN`` wide, interpolated inside its bin, so
    it is off by less than one bin. An output without direction counts as 90 degrees.
    """

    def __init__(self, task: DenseTask) -> None:
        super().__init__(
            task,
            {
                "pixels": _counts(),
                "degree_sum": _sums(),
                "within": _counts(len(WITHIN_DEGREES)),
                "histogram": _counts(round(180 / ANGLE_BIN)),
            },
        )

    def update(self, output_BCHW: Tensor, target: Tensor) -> None:
        valid_BHW = valid_pixels(self.task, target)
        # float64, because the arc cosine magnifies rounding near 0 degrees.
        truth_BCHW = unit_vectors(target.double())
        degree_P = cosine(output_BCHW.double(), truth_BCHW)[valid_BHW].clamp(-1, 1).acos().rad2deg()
        bins = len(self._state["histogram"])
        bin_P = (degree_P / ANGLE_BIN).long().clamp_(0, bins - 1)
        self._add(
            pixels=valid_BHW.sum(),
            degree_sum=degree_P.sum(),
            within=torch.stack([(degree_P < limit).sum() for limit in WITHIN_DEGREES]),
            histogram=torch.bincount(bin_P, minlength=bins),
        )

    def compute(self) -> dict[str, float]:
        pixels = self._state["pixels"]
        shares = {
            f"within_{limit:g}": _ratio(count, pixels)
            for limit, count in zip(WITHIN_DEGREES, self._state["within"], strict=True)
        }
        return {
            "mean_deg": _ratio(self._state["degree_sum"], pixels),
            "median_deg": histogram_median(self._state["histogram"], ANGLE_BIN),
            **shares,
        }


class BinaryMeter(Meter):
    """``iou`` of the positive class at p > 0.5, ``bce`` (mean binary cross-entropy, unbalanced).

    Where neither truth nor prediction has a positive pixel, they agree: ``iou`` is 1.
    """

    def __init__(self, task: DenseTask) -> None:
        super().__init__(
            task,
            {"pixels": _counts(), "both": _counts(), "either": _counts(), "bce_sum": _sums()},
        )

    def update(self, output_BCHW: Tensor, target: Tensor) -> None:
        valid_BHW = valid_pixels(self.task, target)
        logit_P = output_BCHW[:, 0][valid_BHW].double()
        truth_P = target[:, 0][valid_BHW].double()
        positive_P, predicted_P = truth_P > 0.5, logit_P > 0
        self._add(
            pixels=valid_BHW.sum(),
            both=(positive_P & predicted_P).sum(),
            either=(positive_P | predicted_P).sum(),
            bce_sum=F.binary_cross_entropy_with_logits(logit_P, truth_P, reduction="sum"),
        )

    def compute(self) -> dict[str, float]:
        state = self._state
        seen, union = int(state["pixels"]), int(state["either"])
        agree = 1.0 if seen else math.nan
        return {
            "iou": _ratio(state["both"], state["either"]) if union else agree,
            "bce": _ratio(state["bce_sum"], state["pixels"]),
        }


def histogram_median(counts: Tensor, width: float) -> float:
    """Median of values counted in bins ``[i * width, (i + 1) * width)``; NaN without values.

    Values are taken to lie evenly inside their bin (the median of grouped data).
    """
    total = int(counts.sum())
    if total == 0:
        return math.nan
    below = counts.cumsum(0)
    index = int(torch.searchsorted(below, (total + 1) // 2))
    inside = int(counts[index])
    before = int(below[index]) - inside
    return (index + (total / 2 - before) / inside) * width


_METERS: Mapping[TaskKind, type[LabelsMeter | ScalarMeter | UnitVectorMeter | BinaryMeter]] = {
    TaskKind.LABELS: LabelsMeter,
    TaskKind.SCALAR: ScalarMeter,
    TaskKind.UNIT_VECTOR: UnitVectorMeter,
    TaskKind.BINARY: BinaryMeter,
}


def _counts(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.int64)


def _sums(*shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64)


def _ratio(total: Tensor, count: Tensor) -> float:
    """``total / count`` in float64; NaN where nothing was counted."""
    return float(total) / int(count) if int(count) else math.nan
