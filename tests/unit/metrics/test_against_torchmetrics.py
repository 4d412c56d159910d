"""The pooled meters agree with torchmetrics, fed batch by batch."""

from __future__ import annotations

import pytest
import torch

from had_core.metrics.meters import meter_for
from had_core.tasks import DenseTask, TaskKind


@pytest.fixture
def torchmetrics():
    """Slow to import (it brings SciPy and Matplotlib): where these tests are run alone."""
    import torchmetrics

    return torchmetrics


def batches(channels: int, labels: bool):
    generator = torch.Generator().manual_seed(channels)
    for size in (3, 1, 4):
        output = torch.randn(size, channels, 9, 7, generator=generator)
        if labels:
            # Class 4 never occurs in the truth; -1 is unlabelled.
            yield output, torch.randint(-1, 4, (size, 9, 7), generator=generator)
        else:
            yield output, torch.rand(size, 1, 9, 7, generator=generator)


def test_labels(torchmetrics):
    task = DenseTask("semantic", TaskKind.LABELS, 5, invalid=-1)
    meter = meter_for(task)
    settings = {"num_classes": 5, "ignore_index": -1}
    miou = torchmetrics.JaccardIndex(task="multiclass", average="macro", **settings)
    accuracy = torchmetrics.Accuracy(task="multiclass", average="micro", **settings)
    for output, target in batches(5, labels=True):
        meter.update(output, target)
        miou.update(output.argmax(1), target)
        accuracy.update(output.argmax(1), target)
    assert meter.compute()["miou"] == pytest.approx(miou.compute().item(), abs=1e-6)
    assert meter.compute()["pixel_acc"] == pytest.approx(accuracy.compute().item(), abs=1e-6)


def test_scalar(torchmetrics):
    meter = meter_for(DenseTask("reshading", TaskKind.SCALAR, 1))
    error = torchmetrics.MeanAbsoluteError()
    for output, target in batches(1, labels=False):
        meter.update(output, target)
        error.update(output, target)
    assert meter.compute()["abs_err"] == pytest.approx(error.compute().item(), rel=1e-5)


def test_binary(torchmetrics):
    meter = meter_for(DenseTask("edge", TaskKind.BINARY, 1))
    iou = torchmetrics.JaccardIndex(task="binary")
    for output, target in batches(1, labels=False):
        target = (target > 0.7).float()
        meter.update(output, target)
        iou.update((output > 0).long(), target.long())
    assert meter.compute()["iou"] == pytest.approx(iou.compute().item(), abs=1e-6)
