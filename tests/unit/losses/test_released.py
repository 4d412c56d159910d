"""The variant ``released`` where no recorded results reach: raw outputs, binary tasks, dispatch."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from had_core.losses.distillation import pseudo_label
from had_core.losses.had import had_loss
from had_core.losses.released import (
    released_prediction,
    released_supervised_loss,
    released_terms,
)
from had_core.losses.supervised import supervised_loss
from had_core.methods.had import HadLossConfig, Variant
from had_core.tasks import DenseTask, TaskKind

RELEASED = HadLossConfig(variant=Variant.RELEASED, k=0.5)


def outputs(task, images=3):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, images, task.channels, 6, 7, generator=generator)


def test_dispatch_takes_raw_outputs_and_repeats_the_pooled_value(task):
    student, teacher = outputs(task)
    db_B, sg_B = had_loss(task, student, teacher, RELEASED)
    db, sg = released_terms(
        task, released_prediction(task, student), pseudo_label(task, teacher), bar=0.5, k=0.5
    )
    assert torch.equal(db_B, db.expand(3)) and torch.equal(sg_B, sg.expand(3))
    paper = had_loss(task, student, teacher, HadLossConfig(k=0.5))
    assert not torch.allclose(db_B, paper[0]) and not torch.allclose(sg_B, paper[1])


def test_pools_the_batch_whatever_the_order_of_its_images(task):
    student, teacher = outputs(task)
    order = torch.tensor([2, 0, 1])
    for ours, moved in zip(
        had_loss(task, student, teacher, RELEASED),
        had_loss(task, student[order], teacher[order], RELEASED),
        strict=True,
    ):
        torch.testing.assert_close(ours, moved)


def test_a_binary_task_is_one_of_two_classes():
    task = DenseTask("edge", TaskKind.BINARY, 1)
    two = DenseTask("edge", TaskKind.LABELS, 2)
    student, teacher = outputs(task)
    pair = [torch.cat([torch.zeros_like(x), x], 1) for x in (student, teacher)]
    for ours, expected in zip(
        had_loss(task, student, teacher, RELEASED), had_loss(two, *pair, RELEASED), strict=True
    ):
        torch.testing.assert_close(ours, expected)


def test_supervised_loss_pools_the_pixels_of_the_batch():
    """An image with one valid pixel does not weigh as much as one full of them."""
    output = torch.randn(2, 1, 4, 5, generator=torch.Generator().manual_seed(0))
    target = torch.rand(2, 1, 4, 5, generator=torch.Generator().manual_seed(1)) + 0.1
    target[1, :, 1:] = 0
    for task in (
        DenseTask("depth", TaskKind.SCALAR, 1, invalid=0),
        DenseTask("edge", TaskKind.BINARY, 1, invalid=0),
    ):
        truth = target if task.kind is TaskKind.SCALAR else target.ceil()
        pooled = released_supervised_loss(task, released_prediction(task, output), truth)
        tall = (x.reshape(1, 1, 8, 5) for x in (output, truth))
        torch.testing.assert_close(pooled, supervised_loss(task, *tall)[0])
        assert not torch.isclose(pooled, supervised_loss(task, output, truth).mean())


def test_supervised_labels_ignore_their_invalid_value():
    task = DenseTask("semantic", TaskKind.LABELS, 3, invalid=255)
    logits = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([[[0, 255], [2, 255]]])
    loss = released_supervised_loss(task, released_prediction(task, logits), target)
    kept = logits[0, :, :, 0].T
    torch.testing.assert_close(loss, F.cross_entropy(kept, target[0, :, 0]))
