"""LwF's distances against torch.distributions, an implementation of its own."""

from __future__ import annotations

import torch
from torch.distributions import Bernoulli, Categorical, kl_divergence

from had_core.losses.distillation import distillation_map
from had_core.losses.lwf import hard_loss, soft_loss
from had_core.tasks import TaskKind


def outputs(task):
    generator = torch.Generator().manual_seed(0)
    shape = (2, 3, task.channels, 4, 5)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def test_soft_loss(task):
    student, teacher = outputs(task)
    temperature = 2.0
    if task.kind is TaskKind.LABELS:
        s, t = (Categorical(logits=x.movedim(1, -1) / temperature) for x in (student, teacher))
        expected = kl_divergence(t, s)
    elif task.kind is TaskKind.BINARY:
        s, t = (Bernoulli(logits=x[:, 0] / temperature) for x in (student, teacher))
        expected = kl_divergence(t, s)
    elif task.kind is TaskKind.SCALAR:
        expected = (student - teacher).abs()[:, 0]
    else:
        expected = 1 - torch.cosine_similarity(student, teacher)
    loss_B = soft_loss(task, student, teacher, temperature)
    torch.testing.assert_close(loss_B, expected.mean((1, 2)), rtol=1e-12, atol=1e-12)


def test_hard_loss_is_the_mean_of_hads_map(task):
    student, teacher = outputs(task)
    expected = distillation_map(task, student, teacher).mean((1, 2))
    torch.testing.assert_close(hard_loss(task, student, teacher), expected)


def test_identical_outputs_cost_nothing(task):
    student, _ = outputs(task)
    loss_B = soft_loss(task, student, student, 2.0)
    torch.testing.assert_close(loss_B, torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)


def test_gradcheck(task):
    student, teacher = outputs(task)
    assert torch.autograd.gradcheck(
        lambda s: soft_loss(task, s, teacher, 2.0), student.requires_grad_()
    )
