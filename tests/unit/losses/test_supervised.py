"""L_new against slow loops, and what "balanced" means for binary tasks."""

from __future__ import annotations

import loss_reference as reference
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from had_core.losses.supervised import supervised_loss
from had_core.tasks import DenseTask, TaskKind


def random_target(task, shape, generator, invalid_share):
    b, h, w = shape
    invalid = torch.rand(b, 1, h, w, generator=generator) < invalid_share
    if task.kind is TaskKind.LABELS:
        label = torch.randint(task.channels, (b, h, w), generator=generator)
        return label.where(~invalid[:, 0], int(task.invalid))
    value = torch.randn(b, task.channels, h, w, generator=generator, dtype=torch.float64)
    if task.kind is TaskKind.BINARY:
        value = (value > 0.5).double()
    elif task.kind is TaskKind.UNIT_VECTOR:
        value = F.normalize(value, dim=1)
    return value.where(~invalid, float(task.invalid or 0))


@given(data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_values_and_gradients(task, data):
    shape = tuple(data.draw(st.integers(1, limit)) for limit in (3, 5, 5))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**20)))
    share = data.draw(st.sampled_from([0.0, 0.3, 0.9, 1.0]))
    target = random_target(task, shape, generator, share)
    output = torch.randn(
        shape[0], task.channels, *shape[1:], dtype=torch.float64, generator=generator
    )
    weight_B = torch.rand(shape[0], dtype=torch.float64, generator=generator)
    results = []
    for loss in (supervised_loss, reference.supervised):
        leaf = output.clone().requires_grad_()
        value_B = loss(task, leaf, target)
        (value_B @ weight_B + 0 * leaf.sum()).backward()
        results.append((value_B.detach(), leaf.grad))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


def test_the_output_decides_the_dtype(task):
    generator = torch.Generator().manual_seed(0)
    target = random_target(task, (2, 3, 4), generator, 0.3)
    target = target if task.kind is TaskKind.LABELS else target.float()
    for dtype in (torch.float32, torch.float64):
        output = torch.ones(2, task.channels, 3, 4, dtype=dtype)
        assert supervised_loss(task, output, target).dtype == dtype


def test_rare_edges_weigh_as_much_as_the_rest():
    task = DenseTask("edge", TaskKind.BINARY, 1)
    target = torch.zeros(1, 1, 10, 10)
    target[..., 0, :2] = 1
    logit = torch.randn(1, 1, 10, 10, generator=torch.Generator().manual_seed(0))
    bce = F.binary_cross_entropy_with_logits(logit, target, reduction="none")
    expected = (bce[target == 1].mean() + bce[target == 0].mean()) / 2
    torch.testing.assert_close(supervised_loss(task, logit, target)[0], expected)


def test_one_and_two_workers_give_the_same_gradient(task):
    """The global loss is a mean of per-image terms over the images that have a valid pixel."""
    generator = torch.Generator().manual_seed(1)
    target = random_target(task, (4, 5, 6), generator, 0.5)
    target[3] = int(task.invalid) if task.kind is TaskKind.LABELS else float(task.invalid or 0)
    output = torch.randn(4, task.channels, 5, 6, dtype=torch.float64, generator=generator)

    def gradient(parts):
        leaf = output.clone().requires_grad_()
        losses = [supervised_loss(task, leaf[part], target[part]).sum() / 3 for part in parts]
        sum(losses).backward()
        return leaf.grad

    whole, split = gradient([slice(0, 4)]), gradient([slice(0, 3), slice(3, 4)])
    torch.testing.assert_close(whole, split, rtol=1e-12, atol=0)
